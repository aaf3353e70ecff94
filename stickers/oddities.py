"""A seed becomes a sticker the named characters never drew: odd shapes, patterns and faces."""

import colorsys
import math

import numpy as np

from minuet.stickers import faces, shapes
from minuet.stickers.drawing import Anchors, Drawing
from minuet.stickers.faces import Face
from minuet.stickers.limbs import arms, legs
from minuet.stickers.palette import light, shade
from minuet.stickers.rig import Color, Points, Rig

Random = np.random.Generator

BARE = 0.4  # without a white border, as emoji are


def build(seed: int) -> Rig:
    """A rig of one or two random bodies, perhaps with a pattern, a face, limbs and toppings."""
    random = np.random.default_rng((0x0DD, seed))
    drawing = Drawing(anchors=Anchors())
    color = _color(random)
    centre, size = (
        (0.0, 0.05),
        (float(random.uniform(0.34, 0.66)), float(random.uniform(0.36, 0.66))),
    )
    outline = _outline(random, centre, size)
    _limbs(drawing, random, color, size)
    drawing.fill("body", outline, color, 2.0, rim=bool(random.random() < 0.3))
    if random.random() < 0.7:
        _pattern(drawing, random, outline, color)
    if random.random() < 0.35:
        _second_body(drawing, random, color, size)
    for _ in range(int(random.integers(0, 4))):
        _attachment(drawing, random, color, outline)
    if random.random() < 0.62:
        _face(drawing, random, color, size)
    if random.random() < BARE:
        drawing.border = 0.0
    return drawing.finish()


def _color(random: Random) -> Color:
    hue, value = random.random(), random.uniform(0.42, 1.0)
    saturation = random.choice([random.uniform(0.35, 0.9), random.uniform(0.0, 0.15)], p=[0.8, 0.2])
    red, green, blue = colorsys.hsv_to_rgb(hue, float(saturation), float(value))
    return (255.0 * red, 255.0 * green, 255.0 * blue)


def _outline(random: Random, centre: tuple[float, float], size: tuple[float, float]) -> Points:
    kind = int(random.integers(0, 6))
    (x, y), (rx, ry) = centre, size
    if kind == 0:
        return shapes.superellipse(x, y, rx, ry, float(random.uniform(1.6, 5.0)))
    if kind == 1:
        sides = int(random.integers(3, 9))
        polygon = shapes.rounded(shapes.regular(0, 0, 1.1, sides), int(random.integers(1, 4)))
        return polygon * (rx, ry) + (x, y)
    if kind == 2:
        tips = int(random.integers(4, 12))
        polygon = shapes.star(0, 0, 1.2, float(random.uniform(0.55, 0.9)), tips)
        return shapes.rounded(polygon, int(random.integers(1, 4))) * (rx, ry) + (x, y)
    if kind == 3:
        return _fruit(random) * (rx, ry) + (x, y)
    knots = int(random.integers(5, 12))
    angles = np.linspace(0.0, 2.0 * math.pi, knots, endpoint=False) + random.random()
    radii = random.uniform(0.72, 1.12, knots)
    return shapes.blob(
        np.stack([rx * radii * np.cos(angles) + x, ry * radii * np.sin(angles) + y], 1), 6
    )


def _fruit(random: Random) -> Points:
    """A mirror-symmetric shape of unit size."""
    heights = np.linspace(-1.0, 1.0, int(random.integers(5, 8)))
    widths = np.sqrt(np.clip(1.0 - heights**2, 0.0, 1.0)) * random.uniform(0.6, 1.3, len(heights))
    widths[0] = widths[-1] = 0.0
    return shapes.blob(
        shapes.both_sides([(float(w), float(h)) for w, h in zip(widths, heights, strict=True)]), 6
    )


def _shrunk(outline: Points, amount: float) -> Points:
    return shapes.scaled(outline, amount, amount, tuple(outline.mean(axis=0)))


def _pattern(drawing: Drawing, random: Random, outline: Points, color: Color) -> None:
    tone = (
        _color(random)
        if random.random() < 0.5
        else (light(color, 0.5) if random.random() < 0.5 else shade(color, 0.3))
    )
    middle, reach = outline.mean(axis=0), np.abs(outline - outline.mean(axis=0)).max(axis=0)
    kind = int(random.integers(0, 4))
    if kind == 0:
        drawing.mark(
            "body", _shrunk(outline, float(random.uniform(0.55, 0.88))), tone, 2.2, shade=True
        )
    elif kind == 1:
        for height in np.linspace(-0.62, 0.62, int(random.integers(2, 6))):
            _stripe(drawing, outline, float(middle[1] + height * reach[1]), tone)
    elif kind == 2:
        for _ in range(int(random.integers(3, 12))):
            x, y = middle + random.uniform(-0.55, 0.55, 2) * reach
            drawing.mark(
                "body",
                shapes.ellipse(float(x), float(y), float(random.uniform(0.02, 0.09)), count=20),
                tone,
                2.2,
            )
    else:
        x, y = middle + random.uniform(-0.3, 0.3, 2) * reach
        patch = _outline(
            random, (float(x), float(y)), (float(0.35 * reach[0]), float(0.35 * reach[1]))
        )
        drawing.mark("body", patch, tone, 2.2)


def _stripe(drawing: Drawing, outline: Points, height: float, tone: Color) -> None:
    near = outline[np.abs(outline[:, 1] - height) < 0.09]
    left, right = near[near[:, 0] < 0.0], near[near[:, 0] >= 0.0]
    if len(left) and len(right):
        ends = [(float(left[:, 0].max()) + 0.05, height), (float(right[:, 0].min()) - 0.05, height)]
        if ends[0][0] < ends[1][0]:
            drawing.line("body", ends, tone, 0.06, 2.2)


def _second_body(drawing: Drawing, random: Random, color: Color, size: tuple[float, float]) -> None:
    above = random.random() < 0.6
    tone = color if random.random() < 0.4 else _color(random)
    centre = (0.0, 0.05 - size[1]) if above else (float(random.uniform(-0.3, 0.3)), 0.05 + size[1])
    scale = float(random.uniform(0.4, 0.8))
    outline = _outline(random, centre, (scale * size[0], scale * 0.8 * size[1]))
    drawing.fill("head" if above else "body", outline, tone, float(random.choice([1.5, 3.0])))
    drawing.pivots["head"] = (0.0, 0.05 - 0.6 * size[1])


def _attachment(drawing: Drawing, random: Random, color: Color, outline: Points) -> None:
    """Something small on the edge: an ear, a leaf, a handle, a tail, both sides or one."""
    x, y = outline[int(random.integers(0, len(outline)))]
    small = (float(random.uniform(0.08, 0.24)), float(random.uniform(0.08, 0.24)))
    shape = _outline(random, (float(x), float(y)), small)
    tone = color if random.random() < 0.5 else _color(random)
    z = float(random.choice([1.2, 3.4]))
    if random.random() < 0.5:
        drawing.fill("tail", shape, tone, z)
        drawing.pivots["tail"] = (0.8 * float(x), 0.8 * float(y))
        return
    for side, node in ((1.0, "ear_right"), (-1.0, "ear_left")):
        placed = shape if x * side >= 0 else shapes.mirrored(shape)
        drawing.fill(node, placed, tone, z)
        drawing.pivots[node] = (side * 0.8 * abs(float(x)), 0.8 * float(y))


def _limbs(drawing: Drawing, random: Random, color: Color, size: tuple[float, float]) -> None:
    tone = (
        shade(color, float(random.uniform(0.0, 0.5))) if random.random() < 0.7 else _color(random)
    )
    if random.random() < 0.35:
        reach = (float(random.uniform(0.1, 0.2)), float(random.uniform(0.05, 0.24)))
        arms(
            drawing,
            tone,
            x=0.82 * size[0],
            y=0.15,
            reach=reach,
            radius=float(random.uniform(0.05, 0.1)),
        )
    if random.random() < 0.35:
        legs(
            drawing,
            tone,
            x=0.35 * size[0],
            y=0.05 + 0.9 * size[1],
            radius=float(random.uniform(0.06, 0.1)),
        )


def _face(drawing: Drawing, random: Random, color: Color, size: tuple[float, float]) -> None:
    spacing = float(random.uniform(0.13, 0.24))
    scale = float(random.uniform(0.6, 1.0)) * size[0] / 0.4
    face = Face(
        x=float(random.uniform(-0.06, 0.06)),
        y=float(random.uniform(-0.12, 0.1)),
        scale=min(scale, 1.6),
        spacing=spacing,
        skin=color,
        muzzle=bool(random.random() < 0.2),
    )
    faces.draw(drawing, face, str(random.choice(faces.EXPRESSIONS)))
