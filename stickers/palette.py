"""A colour's name becomes numbers, and a part in a style becomes paint."""

import colorsys
from dataclasses import dataclass

from minuet.stickers.rig import Color, Part

COLORS: dict[str, Color] = {
    "red": (235, 77, 78),
    "orange": (248, 150, 62),
    "yellow": (253, 209, 74),
    "green": (112, 192, 96),
    "teal": (66, 188, 180),
    "blue": (88, 156, 238),
    "purple": (154, 114, 222),
    "pink": (248, 146, 182),
    "brown": (168, 116, 78),
    "grey": (160, 168, 182),
    "white": (246, 244, 243),
    "black": (74, 72, 90),
}
STYLES = ("flat", "gradient", "outline", "pastel")

WHITE: Color = (255.0, 255.0, 255.0)
INK: Color = (54.0, 42.0, 54.0)
MOUTH: Color = (154.0, 42.0, 62.0)
TONGUE: Color = (255.0, 128.0, 138.0)
BLUSH: Color = (255.0, 134.0, 148.0)
PLUM: Color = (70.0, 34.0, 72.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Paint:
    """How one part is painted: stroke widths are whole widths, to which a line adds its own."""

    fill: Color
    gradient: tuple[Color, Color] | None = None  # from the part's top to its bottom
    outline: Color | None = None
    outline_width: float = 0.0


def mix(first: Color, second: Color, amount: float) -> Color:
    """`first` at 0, `second` at 1."""
    red, green, blue = (a * (1.0 - amount) + b * amount for a, b in zip(first, second, strict=True))
    return (red, green, blue)


def light(color: Color, amount: float = 0.5) -> Color:
    """Mixed with white."""
    return mix(color, WHITE, amount)


def luminance(color: Color) -> float:
    """Perceived lightness, 0 to 255 (ITU-R BT.601 weights)."""
    return 0.299 * color[0] + 0.587 * color[1] + 0.114 * color[2]


def is_dark(color: Color) -> bool:
    """Whether dark ink would be lost on it."""
    return luminance(color) < 95.0


def deep(color: Color, amount: float = 0.25) -> Color:
    """A darker, richer tone of the same hue; yellows lean to orange, and greys stay cool."""
    hue, saturation, value = colorsys.rgb_to_hsv(*(channel / 255.0 for channel in color))
    if saturation < 0.12:
        return mix(color, (118.0, 112.0, 146.0), 1.15 * amount)
    if 0.1 < hue < 0.19:
        hue -= 0.11 * amount
    rich = colorsys.hsv_to_rgb(
        hue, min(1.0, saturation * (1.0 + 0.28 * amount)), value * (1.0 - 0.6 * amount)
    )
    return (rich[0] * 255.0, rich[1] * 255.0, rich[2] * 255.0)


def apart(tone: Color, color: Color, other: Color) -> Color:
    """`tone`, or `other` where `tone` would be lost on `color`."""
    distance = sum((a - b) ** 2 for a, b in zip(tone, color, strict=True)) ** 0.5
    return other if distance < 88.0 else tone


def shade(color: Color, amount: float = 0.25) -> Color:
    """A tone that can be told from `color`: deeper, or lighter when it is dark already."""
    return light(color, 0.9 * amount) if is_dark(color) else deep(color, amount)


def paint(part: Part, style: str) -> Paint:
    """The paint of a part in one of STYLES."""
    if style == "pastel":
        soft = mix(part.color, WHITE, 0.24 if luminance(part.color) < 60.0 else 0.4)
        edge = mix(mix(part.color, PLUM, 0.34), WHITE, 0.22) if part.silhouette else None
        return Paint(fill=soft, outline=edge, outline_width=0.03 if edge else 0.0)
    if style == "outline":
        edge = INK if part.silhouette else None
        return Paint(fill=part.color, outline=edge, outline_width=0.048 if edge else 0.0)
    if style == "gradient" and part.shade:
        return Paint(fill=part.color, gradient=(light(part.color, 0.36), deep(part.color, 0.3)))
    return Paint(fill=part.color)
