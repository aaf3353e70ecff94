"""An expression becomes eyes, brows, a mouth and cheeks."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from minuet.stickers import shapes
from minuet.stickers.drawing import Drawing
from minuet.stickers.palette import BLUSH, INK, MOUTH, TONGUE, WHITE, apart, is_dark
from minuet.stickers.rig import Color, Points

EXPRESSIONS = ("happy", "joy", "sad", "angry", "surprised", "sleepy", "love", "cool")

LENS: Color = (44.0, 42.0, 58.0)
TEAR: Color = (126.0, 202.0, 255.0)
ROSE: Color = (238.0, 58.0, 92.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Face:
    """Where a face lies; lengths are multiples of `scale`."""

    x: float = 0.0
    y: float = -0.1  # height of the eyes
    scale: float = 1.15
    spacing: float = 0.2  # of an eye from the middle
    skin: Color = WHITE  # the colour under mouth and cheeks
    eye_skin: Color | None = None  # the colour under the eyes, when another
    ringed: bool = True  # an open eye on dark skin has a white ring
    muzzle: bool = False  # a cat's mouth below a nose
    beak: bool = False  # something else is the mouth
    mouth_drop: float = 0.0
    z: float = 7.0

    def at(self, x: float, y: float) -> tuple[float, float]:
        """A point of the face in the art's units."""
        return self.x + x * self.scale, self.y + y * self.scale

    @property
    def ink(self) -> Color:
        """The colour of mouth and brows."""
        return (250.0, 244.0, 246.0) if is_dark(self.skin) else INK

    @property
    def eye_ink(self) -> Color:
        """The colour of closed eyes."""
        return (250.0, 244.0, 246.0) if is_dark(self.eye_skin or self.skin) else INK


def draw(drawing: Drawing, face: Face, expression: str) -> None:
    """Draw a face; eyes are bound to the eyes' node, the rest to the head."""
    drawing.anchors.eye_y = face.y
    drawing.anchors.eye_x = face.spacing * face.scale
    drawing.anchors.mouth = face.at(0.0, 0.15 + face.mouth_drop)
    drawing.pivots["eyes"] = (face.x, face.y)
    _cheeks(drawing, face)
    for side in (-1.0, 1.0):
        _EYES[expression](drawing, face, side)
    _brows(drawing, face, expression)
    if not face.beak:
        _mouth(drawing, face, expression)


def _oval(face: Face, x: float, y: float, rx: float, ry: float) -> Points:
    centre = face.at(x, y)
    return shapes.ellipse(*centre, rx * face.scale, ry * face.scale, count=28)


def _bow(face: Face, x: float, y: float, rx: float, ry: float, start: float, stop: float) -> Points:
    centre = face.at(x, y)
    return shapes.arc(*centre, rx * face.scale, ry * face.scale, start, stop)


def _cheeks(drawing: Drawing, face: Face) -> None:
    for side in (-1.0, 1.0):
        cheek = _oval(face, side * (face.spacing * 1.1 + 0.1), 0.115, 0.068, 0.045)
        drawing.mark("head", cheek, BLUSH, face.z - 0.5)


def _open_eye(drawing: Drawing, face: Face, side: float) -> None:
    x = side * face.spacing
    if face.ringed and is_dark(face.eye_skin or face.skin):
        drawing.mark("eyes", _oval(face, x, 0.0, 0.085, 0.102), WHITE, face.z + 0.9)
    drawing.mark("eyes", _oval(face, x, 0.0, 0.066, 0.083), INK, face.z + 1.0)
    drawing.mark("eyes", _oval(face, x + 0.021, -0.031, 0.026, 0.027), WHITE, face.z + 1.2)
    drawing.mark("eyes", _oval(face, x - 0.022, 0.034, 0.014, 0.014), WHITE, face.z + 1.2)


def _laughing_eye(drawing: Drawing, face: Face, side: float) -> None:
    lid = _bow(face, side * face.spacing, 0.025, 0.076, 0.084, 198, 342)
    drawing.line("eyes", lid, face.eye_ink, 0.042 * face.scale, face.z + 1.0)


def _closed_eye(drawing: Drawing, face: Face, side: float) -> None:
    x = side * face.spacing
    lid = _bow(face, x, -0.015, 0.078, 0.054, 14, 166)
    drawing.line("eyes", lid, face.eye_ink, 0.038 * face.scale, face.z + 1.0)


def _wide_eye(drawing: Drawing, face: Face, side: float) -> None:
    x = side * face.spacing
    drawing.mark("eyes", _oval(face, x, -0.005, 0.096, 0.11), INK, face.z + 1.0)
    drawing.mark("eyes", _oval(face, x, -0.005, 0.08, 0.094), WHITE, face.z + 1.1)
    drawing.mark("eyes", _oval(face, x, 0.0, 0.046, 0.056), INK, face.z + 1.2)
    drawing.mark("eyes", _oval(face, x + 0.014, -0.022, 0.018, 0.018), WHITE, face.z + 1.3)


def _heart_eye(drawing: Drawing, face: Face, side: float) -> None:
    x, y = face.at(side * face.spacing, 0.0)
    drawing.mark("eyes", shapes.heart(x, y, 0.112 * face.scale, count=36), ROSE, face.z + 1.0)
    if apart(ROSE, face.skin, WHITE) == WHITE:
        edge = shapes.heart(x, y, 0.112 * face.scale, count=36)
        drawing.line("eyes", edge, WHITE, 0.026, face.z + 0.95, closed=True)
    glint = _oval(face, side * face.spacing - 0.045, -0.045, 0.02, 0.026)
    drawing.mark("eyes", glint, (255.0, 190.0, 205.0), face.z + 1.1)


def _shaded_eye(drawing: Drawing, face: Face, side: float) -> None:
    x, y = face.at(side * face.spacing, 0.0)
    width = min(0.145, face.spacing * 0.86) * face.scale
    lens = shapes.superellipse(x, y, width, 0.1 * face.scale, 3.4, count=40)
    drawing.mark("eyes", lens, LENS, face.z + 3.0)
    if is_dark(face.skin):
        drawing.line("eyes", lens, (150.0, 150.0, 172.0), 0.02, face.z + 3.05, closed=True)
    glint = [(x - 0.3 * width, y - 0.05 * face.scale), (x - 0.6 * width, y + 0.015 * face.scale)]
    drawing.line("eyes", glint, (235.0, 240.0, 255.0), 0.024 * face.scale, face.z + 3.1)
    if side > 0.0:
        bridge = [face.at(-face.spacing, -0.045), face.at(face.spacing, -0.045)]
        drawing.line("eyes", bridge, LENS, 0.036 * face.scale, face.z + 2.9)


def _brows(drawing: Drawing, face: Face, expression: str) -> None:
    if expression not in ("sad", "angry"):
        return
    inner, outer = (-0.075, -0.145) if expression == "angry" else (-0.175, -0.125)
    for side in (-1.0, 1.0):
        x = side * face.spacing
        brow = [face.at(x - side * 0.08, inner), face.at(x + side * 0.085, outer)]
        drawing.line("head", brow, face.eye_ink, 0.038 * face.scale, face.z + 1.6)
    if expression == "sad":
        x, y = face.at(face.spacing + 0.035, 0.075)
        s = face.scale
        tear = [
            (x, y),
            (x + 0.035 * s, y + 0.075 * s),
            (x, y + 0.115 * s),
            (x - 0.035 * s, y + 0.075 * s),
        ]
        drawing.mark("head", shapes.blob(tear), TEAR, face.z + 1.7)


def _mouth(drawing: Drawing, face: Face, expression: str) -> None:
    y = 0.115 + face.mouth_drop + (0.04 if face.muzzle else 0.0)
    width = 0.036 * face.scale
    if expression in ("joy", "love"):
        _laugh(drawing, face, y)
    elif expression == "surprised":
        drawing.mark("head", _oval(face, 0.0, y + 0.045, 0.046, 0.058), MOUTH, face.z)
    elif expression in ("sad", "angry"):
        frown = _bow(face, 0.0, y + 0.072, 0.068, 0.052, 205, 335)
        drawing.line("head", frown, face.ink, width, face.z)
    elif expression == "sleepy":
        drawing.mark("head", _oval(face, 0.0, y + 0.03, 0.036, 0.03), MOUTH, face.z)
    elif expression == "cool":
        smirk = shapes.curve([face.at(-0.07, y + 0.03), face.at(0.01, y + 0.05), face.at(0.085, y)])
        drawing.line("head", smirk, face.ink, width, face.z)
    elif face.muzzle:
        for side in (-1.0, 1.0):
            half = _bow(face, side * 0.05, y - 0.012, 0.05, 0.052, 8, 172)
            drawing.line("head", half, face.ink, 0.9 * width, face.z)
    else:
        drawing.line(
            "head", _bow(face, 0.0, y - 0.02, 0.08, 0.07, 15, 165), face.ink, width, face.z
        )


def _laugh(drawing: Drawing, face: Face, y: float) -> None:
    opening = _bow(face, 0.0, y - 0.012, 0.098, 0.13, 0, 180)
    tongue = np.concatenate(
        [
            _bow(face, 0.0, y + 0.062, 0.06, 0.042, 180, 360),
            _bow(face, 0.0, y + 0.05, 0.064, 0.06, 20, 160),
        ]
    )
    drawing.mark("head", opening, MOUTH, face.z)
    drawing.mark("head", tongue, TONGUE, face.z + 0.1)
    drawing.line("head", opening, MOUTH, 0.02 * face.scale, face.z - 0.01, closed=True)


_EYES: dict[str, Callable[[Drawing, Face, float], None]] = {
    "happy": _open_eye,
    "joy": _laughing_eye,
    "sad": _open_eye,
    "angry": _open_eye,
    "surprised": _wide_eye,
    "sleepy": _closed_eye,
    "love": _heart_eye,
    "cool": _shaded_eye,
}
