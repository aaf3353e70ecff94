"""Skia draws a posed rig: antialiased frames, and hard-edged part numbers."""

# Shapes: T frames, K nodes, H = W = size.

from dataclasses import dataclass
from typing import Any

import numpy as np
import skia
from numpy.typing import NDArray

from minuet.stickers.palette import paint
from minuet.stickers.rig import NODE_ID, Color, Part, Rig
from minuet.stickers.view import Matrices, border_width, closed, gradient_ends, pixel_affines

WHITE: Color = (255.0, 255.0, 255.0)


@dataclass(slots=True)
class Stroke:
    """One drawing call: a path bound to a node, with its paint."""

    node: int
    path: Any
    paint: Any


class SkiaBackend:
    """Draws with skia-python on the CPU."""

    def draw(self, rig: Rig, style: str, matrices: Matrices, size: int) -> NDArray[np.uint8]:
        """Straight-alpha RGBA uint8 (T, H, W, 4)."""
        paths = [_path(part) for part in rig.parts]
        program = _borders(rig, paths, None)
        for part, path in zip(rig.parts, paths, strict=True):
            program += _painted(part, path, style)
        return _run(program, matrices, size)

    def number(self, rig: Rig, matrices: Matrices, size: int) -> NDArray[np.int16]:
        """The node seen at every pixel's centre (T, H, W), -1 outside of the sticker."""
        paths = [_path(part) for part in rig.parts]
        program = _borders(rig, paths, "number")
        for part, path in zip(rig.parts, paths, strict=True):
            width = 0.0 if part.kind == "fill" else part.width
            program.append(Stroke(NODE_ID[part.node], path, _numbered(part, width)))
        return _run(program, matrices, size)[..., 0].astype(np.int16) - 1


def _path(part: Part) -> Any:
    points = [skia.Point(x, y) for x, y in part.points.tolist()]
    path = skia.Path()
    path.addPoly(points, closed(part))
    return path


def _borders(rig: Rig, paths: list[Any], what: str | None) -> list[Stroke]:
    drawn = []
    for part, path in zip(rig.parts, paths, strict=True):
        if width := border_width(rig, part):
            brush = _numbered(part, width) if what else _brush(WHITE, width)
            drawn.append(Stroke(NODE_ID[part.node], path, brush))
    return drawn


def _painted(part: Part, path: Any, style: str) -> list[Stroke]:
    """The outline below, the fill above."""
    look, node = paint(part, style), NODE_ID[part.node]
    own = 0.0 if part.kind == "fill" else part.width
    strokes = []
    if look.outline is not None:
        strokes.append(Stroke(node, path, _brush(look.outline, own + look.outline_width)))
    fill = _brush(look.fill, own)
    if look.gradient is not None:
        fill.setShader(_shader(part, look.gradient))
    return [*strokes, Stroke(node, path, fill)]


def _brush(color: Color, width: float = 0.0, antialias: bool = True) -> Any:
    brush = skia.Paint(AntiAlias=antialias, Color=_color(color))
    if width:
        brush.setStyle(skia.Paint.kStroke_Style)
        brush.setStrokeWidth(width)
        brush.setStrokeCap(skia.Paint.kRound_Cap)
        brush.setStrokeJoin(skia.Paint.kRound_Join)
    return brush


def _numbered(part: Part, width: float) -> Any:
    return _brush((NODE_ID[part.node] + 1.0, 0.0, 0.0), width, antialias=False)


def _color(color: Color) -> int:
    red, green, blue = (min(255, max(0, round(channel))) for channel in color)
    return int(skia.Color(red, green, blue))


def _shader(part: Part, gradient: tuple[Color, Color]) -> Any:
    (x0, y0), (x1, y1) = gradient_ends(part)
    ends = [skia.Point(x0, y0), skia.Point(x1, y1)]
    return skia.GradientShader.MakeLinear(ends, [_color(color) for color in gradient])


def _run(program: list[Stroke], matrices: Matrices, size: int) -> NDArray[np.uint8]:
    """Draw every frame on one surface; (T, H, W, 4), straight alpha."""
    premultiplied = skia.ImageInfo.Make(
        size, size, skia.kRGBA_8888_ColorType, skia.kPremul_AlphaType
    )
    straight = premultiplied.makeAlphaType(skia.kUnpremul_AlphaType)
    surface = skia.Surface.MakeRaster(premultiplied)
    frames = np.zeros((len(matrices), size, size, 4), np.uint8)
    for frame, affines in zip(frames, pixel_affines(matrices, size).tolist(), strict=True):
        _draw(surface.getCanvas(), program, [skia.Matrix.MakeAll(*a) for a in affines])
        surface.readPixels(straight, frame)
    return frames


def _draw(canvas: Any, program: list[Stroke], affines: list[Any]) -> None:
    canvas.resetMatrix()
    canvas.clear(0)
    for stroke in program:
        canvas.setMatrix(affines[stroke.node])
        canvas.drawPath(stroke.path, stroke.paint)
