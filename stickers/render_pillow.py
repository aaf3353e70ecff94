"""Pillow draws a posed rig: supersampled frames, and hard-edged part numbers."""

# Shapes: T frames, K nodes, H = W = size. Coordinates are pixels of the supersampled picture.

import math

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from minuet.stickers.palette import Paint, paint
from minuet.stickers.rig import NODE_ID, Color, Part, Rig
from minuet.stickers.view import Matrices, border_width, closed, gradient_ends, pixel_affines

SUPERSAMPLE = 4
FINE = 256  # from this size on, half of it is enough
WHITE: Color = (255.0, 255.0, 255.0)

Ink = int | tuple[int, int, int, int]


class PillowBackend:
    """Draws with Pillow alone."""

    def draw(self, rig: Rig, style: str, matrices: Matrices, size: int) -> NDArray[np.uint8]:
        """Straight-alpha RGBA uint8 (T, H, W, 4)."""
        factor = SUPERSAMPLE if size < FINE else SUPERSAMPLE // 2
        looks = [paint(part, style) for part in rig.parts]
        affines = pixel_affines(matrices, size * factor).reshape(*matrices.shape)
        frames = [_frame(rig, looks, affine, size, factor) for affine in affines]
        return np.stack(frames)

    def number(self, rig: Rig, matrices: Matrices, size: int) -> NDArray[np.int16]:
        """The node seen at every pixel's centre (T, H, W), -1 outside of the sticker."""
        affines = pixel_affines(matrices, size * 2).reshape(*matrices.shape)
        return np.stack([_numbers(rig, affine, size * 2) for affine in affines])


def _frame(
    rig: Rig, looks: list[Paint], affine_K33: NDArray[np.float64], size: int, factor: int
) -> NDArray[np.uint8]:
    picture = Image.new("RGBA", (size * factor, size * factor))
    pen = Pen(picture)
    for part in rig.parts:
        if width := border_width(rig, part):
            _border(pen, part, width, affine_K33[NODE_ID[part.node]], _rgba(WHITE))
    for part, look in zip(rig.parts, looks, strict=True):
        _paint(pen, part, look, affine_K33[NODE_ID[part.node]])
    pixels = np.asarray(picture.reduce(factor))
    return np.where(pixels[..., 3:] > 0, pixels, 0).astype(np.uint8)


def _numbers(rig: Rig, affine_K33: NDArray[np.float64], size: int) -> NDArray[np.int16]:
    """Drawn at twice the size: the odd pixels' corners are the pixel centres wanted."""
    picture = Image.new("L", (size, size))
    pen = Pen(picture)
    for part in rig.parts:
        if width := border_width(rig, part):
            _border(pen, part, width, affine_K33[NODE_ID[part.node]], NODE_ID[part.node] + 1)
    for part in rig.parts:
        _fill(pen, part, affine_K33[NODE_ID[part.node]], NODE_ID[part.node] + 1)
    return np.asarray(picture)[1::2, 1::2].astype(np.int16) - 1


class Pen:
    """Fills polygons and strokes paths, with round caps and joins."""

    def __init__(self, picture: Image.Image) -> None:
        self.picture = picture
        self.draw = ImageDraw.Draw(picture)

    def fill(self, points: NDArray[np.float64], ink: Ink) -> None:
        """A closed polygon."""
        self.draw.polygon(points.ravel().tolist(), fill=ink)

    def stroke(self, points: NDArray[np.float64], width: float, ink: Ink) -> None:
        """Segments, and a disc wherever their corners would show."""
        self.draw.line(points.ravel().tolist(), fill=ink, width=max(1, round(width)))
        radius = width / 2
        if radius < 0.75:
            return
        for x, y in points[_corners(points, radius)].tolist():
            self.draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=ink)


def _corners(points: NDArray[np.float64], radius: float) -> NDArray[np.bool_]:
    """Ends, and the points at which the path turns enough to open a gap of half a pixel."""
    way = np.diff(points, axis=0)
    angle = np.unwrap(np.arctan2(way[:, 1], way[:, 0]))
    return np.concatenate([[True], np.abs(np.diff(angle)) * radius > 0.5, [True]])


def _posed(part: Part, affine: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(part.points @ affine[:2, :2].T + affine[:2, 2])


def _path(part: Part, affine: NDArray[np.float64]) -> NDArray[np.float64]:
    points = _posed(part, affine)
    return np.concatenate([points, points[:1]]) if closed(part) else points


def _scale(affine: NDArray[np.float64]) -> float:
    return math.sqrt(abs(np.linalg.det(affine[:2, :2])))


def _border(pen: Pen, part: Part, width: float, affine: NDArray[np.float64], ink: Ink) -> None:
    pen.stroke(_path(part, affine), width * _scale(affine), ink)
    if part.kind == "fill":
        pen.fill(_posed(part, affine), ink)


def _fill(pen: Pen, part: Part, affine: NDArray[np.float64], ink: Ink) -> None:
    if part.kind == "fill":
        pen.fill(_posed(part, affine), ink)
    else:
        pen.stroke(_path(part, affine), part.width * _scale(affine), ink)


def _paint(pen: Pen, part: Part, look: Paint, affine: NDArray[np.float64]) -> None:
    """The outline below, the fill above."""
    own = 0.0 if part.kind == "fill" else part.width
    if look.outline is not None:
        width = (own + look.outline_width) * _scale(affine)
        pen.stroke(_path(part, affine), width, _rgba(look.outline))
    if look.gradient is None:
        _fill(pen, part, affine, _rgba(look.fill))
    else:
        _shade(pen, part, look.gradient, affine)


def _shade(
    pen: Pen, part: Part, gradient: tuple[Color, Color], affine: NDArray[np.float64]
) -> None:
    """Fill with a gradient that turns and stretches with the part."""
    points = _posed(part, affine)
    away = 1 + part.width * _scale(affine)
    low = np.floor(np.maximum(points.min(0) - away, 0)).astype(int)
    high = np.ceil(np.minimum(points.max(0) + away, pen.picture.size)).astype(int)
    if (high <= low).any():
        return
    mask = Image.new("L", (int(high[0] - low[0]), int(high[1] - low[1])))
    shift = np.eye(3)
    shift[:2, 2] = -low
    _fill(Pen(mask), part, shift @ affine, 255)
    colors = _gradient(part, gradient, shift @ affine, mask.size)
    pen.picture.paste(Image.fromarray(colors, "RGBA"), (int(low[0]), int(low[1])), mask)


def _gradient(
    part: Part, gradient: tuple[Color, Color], affine: NDArray[np.float64], size: tuple[int, int]
) -> NDArray[np.uint8]:
    """Colours (H, W, 4) by how far each pixel, taken back to rest, lies along the gradient."""
    start, end = (np.asarray(point) for point in gradient_ends(part))
    along = (end - start) / ((end - start) @ (end - start))
    back = np.linalg.inv(affine)
    row = along @ back[:2, :2]
    offset = along @ (back[:2, 2] - start)
    x, y = np.arange(size[0]) + 0.5, np.arange(size[1]) + 0.5
    amount = np.clip(row[0] * x[None] + row[1] * y[:, None] + offset, 0, 1)[..., None]
    first, last = (np.array([*color, 255.0]) for color in gradient)
    return np.asarray(np.clip(np.rint(first + (last - first) * amount), 0, 255), np.uint8)


def _rgba(color: Color) -> tuple[int, int, int, int]:
    red, green, blue = (min(255, max(0, round(channel))) for channel in color)
    return (red, green, blue, 255)
