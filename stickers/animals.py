"""An animal's name becomes its ears, tail, markings and body."""

import math
from collections.abc import Callable

import numpy as np

from minuet.stickers import faces, shapes
from minuet.stickers.drawing import Drawing
from minuet.stickers.faces import Face
from minuet.stickers.limbs import SIDES, arms, legs
from minuet.stickers.palette import INK, WHITE, is_dark, light, luminance, mix, shade
from minuet.stickers.rig import Color

HEAD_Y = -0.15
SNOUT: Color = (74.0, 54.0, 62.0)
ROSY: Color = (242.0, 112.0, 134.0)
PANDA: Color = (70.0, 62.0, 80.0)
PATCH: Color = (94.0, 84.0, 104.0)
ANIMALS = ("rabbit", "cat", "dog", "bear", "panda", "fox", "pig", "frog", "mouse", "koala", "lion")
MUZZLED = frozenset(ANIMALS) - {"pig", "frog"}


def inner_ear(color: Color) -> Color:
    """The pink of an ear, told apart from a pink coat."""
    pink = color[0] > 225.0 and color[1] < 165.0 and color[2] > 120.0
    return (255.0, 214.0, 226.0) if pink else (255.0, 178.0, 192.0)


def draw_animal(drawing: Drawing, name: str, color: Color, expression: str) -> None:
    """A big head on a small body with four limbs."""
    limb = PANDA if name == "panda" else color
    TAILS.get(name, _no_tail)(drawing, color)
    _body(drawing, name, color)
    arms(drawing, limb, x=0.25, y=0.34)
    legs(drawing, limb)
    EARS[name](drawing, color)
    width, height = (0.54, 0.41) if name == "frog" else (0.53, 0.435)
    drawing.fill("head", shapes.superellipse(0, HEAD_Y, width, height, 2.35), color, 5.0)
    MARKINGS.get(name, _no_tail)(drawing, color)
    drawing.pivots.update(body=(0.0, 0.7), head=(0.0, 0.22), accessory=(0.0, -0.5))
    drawing.anchors.top = -0.5 if name == "frog" else -0.54
    drawing.anchors.neck = (0.27, 0.27)
    drawing.anchors.side = width
    faces.draw(drawing, _face(name, color), expression)
    if name in MUZZLED:
        _nose(drawing, name, color)


def _face(name: str, color: Color) -> Face:
    if name == "frog":
        return Face(y=-0.2, scale=1.2, spacing=0.21, skin=color)
    if name == "fox":
        return Face(y=HEAD_Y, scale=1.15, skin=WHITE, eye_skin=color, muzzle=True)
    if name == "panda":
        return Face(
            y=HEAD_Y, scale=1.15, spacing=0.2, skin=color, eye_skin=PATCH, ringed=False, muzzle=True
        )
    if name == "pig":
        return Face(y=HEAD_Y - 0.015, scale=1.15, skin=color, mouth_drop=0.11)
    muzzled = name in ("bear", "dog", "lion")
    skin = light(color, 0.66) if muzzled else color
    return Face(y=HEAD_Y, scale=1.15, skin=skin, eye_skin=color, muzzle=name in MUZZLED)


def _body(drawing: Drawing, name: str, color: Color) -> None:
    right = [(0.2, 0.16), (0.285, 0.42), (0.255, 0.66), (0.0, 0.74)]
    body = shapes.blob([(-0.2, 0.16), *right, (-0.255, 0.66), (-0.285, 0.42)])
    drawing.fill("body", body, color, 2.0)
    belly = WHITE if name in ("panda", "fox") else light(color, 0.6)
    if luminance(color) > 225.0:
        belly = (255.0, 236.0, 232.0)
    drawing.mark("body", shapes.ellipse(0, 0.51, 0.17, 0.19), belly, 2.2)


# ------------------------------------------------------------------ tails


def _no_tail(drawing: Drawing, color: Color) -> None:
    return None


def _ball_tail(drawing: Drawing, color: Color) -> None:
    tail = shapes.ellipse(0.31, 0.58, 0.1)
    drawing.fill("tail", tail, WHITE if luminance(color) < 225.0 else color, 0.0, rim=True)


def _stub_tail(drawing: Drawing, color: Color) -> None:
    drawing.fill("tail", shapes.ellipse(0.29, 0.6, 0.085), shade(color, 0.2), 0.0)


def _cat_tail(drawing: Drawing, color: Color) -> None:
    path = shapes.curve([(0.16, 0.64), (0.4, 0.66), (0.54, 0.5), (0.5, 0.3)])
    drawing.line("tail", path, color, 0.13, 0.0, silhouette=True)
    drawing.line("tail", path[-4:], shade(color, 0.22), 0.13, 0.1)


def _dog_tail(drawing: Drawing, color: Color) -> None:
    drawing.fill("tail", shapes.capsule((0.2, 0.6), (0.45, 0.42), 0.08, 0.06), color, 0.0)


def _fox_tail(drawing: Drawing, color: Color) -> None:
    brush = [(0.16, 0.64), (0.38, 0.7), (0.6, 0.56), (0.66, 0.24), (0.49, 0.31), (0.34, 0.46)]
    drawing.fill("tail", shapes.blob(brush), color, 0.0)
    tip = [(0.53, 0.44), (0.625, 0.43), (0.66, 0.25), (0.505, 0.31)]
    drawing.mark("tail", shapes.blob(tip), WHITE, 0.1)


def _pig_tail(drawing: Drawing, color: Color) -> None:
    curl = [(0.22, 0.62), (0.36, 0.6), (0.43, 0.5), (0.37, 0.45), (0.36, 0.54), (0.48, 0.53)]
    drawing.line("tail", shapes.curve(curl), shade(color, 0.25), 0.055, 0.0, silhouette=True)


def _mouse_tail(drawing: Drawing, color: Color) -> None:
    path = shapes.curve([(0.18, 0.64), (0.38, 0.68), (0.5, 0.6), (0.6, 0.64)])
    drawing.line("tail", path, inner_ear(color), 0.058, 0.0, silhouette=True)


def _lion_tail(drawing: Drawing, color: Color) -> None:
    path = shapes.curve([(0.18, 0.63), (0.42, 0.64), (0.52, 0.46)])
    drawing.line("tail", path, color, 0.08, 0.0, silhouette=True)
    tuft = [(0.45, 0.48), (0.58, 0.5), (0.6, 0.34), (0.52, 0.25), (0.45, 0.35)]
    drawing.fill("tail", shapes.blob(tuft), mane(color), 0.1)


TAILS: dict[str, Callable[[Drawing, Color], None]] = {
    "rabbit": _ball_tail,
    "cat": _cat_tail,
    "dog": _dog_tail,
    "bear": _stub_tail,
    "fox": _fox_tail,
    "pig": _pig_tail,
    "mouse": _mouse_tail,
    "lion": _lion_tail,
}

# ------------------------------------------------------------------ ears


def _long_ears(drawing: Drawing, color: Color) -> None:
    for side, name in SIDES:
        node = f"ear_{name}"
        drawing.pivots[node] = (side * 0.2, -0.46)
        tilt = side * 11.0
        drawing.fill(node, shapes.ellipse(side * 0.25, -0.66, 0.12, 0.3, degrees=tilt), color, 4.0)
        inner = shapes.ellipse(side * 0.25, -0.64, 0.062, 0.21, degrees=tilt)
        drawing.mark(node, inner, inner_ear(color), 4.1)


def _pointed_ears(drawing: Drawing, color: Color, inner: Color, tall: float) -> None:
    for side, name in SIDES:
        node = f"ear_{name}"
        drawing.pivots[node] = (side * 0.3, -0.42)
        outer = [(side * 0.52, -0.16), (side * 0.47, -0.76 * tall), (side * 0.08, -0.5)]
        drawing.fill(node, shapes.rounded(outer, 3), color, 4.0)
        inside = [(side * 0.45, -0.28), (side * 0.43, -0.65 * tall), (side * 0.18, -0.5)]
        drawing.mark(node, shapes.rounded(inside, 3), inner, 4.1)


def _cat_ears(drawing: Drawing, color: Color) -> None:
    _pointed_ears(drawing, color, inner_ear(color), 1.0)


def _fox_ears(drawing: Drawing, color: Color) -> None:
    _pointed_ears(drawing, color, INK if not is_dark(color) else light(color, 0.3), 1.1)


def _flop_ears(drawing: Drawing, color: Color) -> None:
    for side, name in SIDES:
        node = f"ear_{name}"
        drawing.pivots[node] = (side * 0.36, -0.46)
        ear = [
            (0.29, -0.55),
            (0.48, -0.52),
            (0.63, -0.2),
            (0.57, 0.04),
            (0.45, -0.06),
            (0.38, -0.3),
        ]
        outline = shapes.blob([(side * x, y) for x, y in ear])
        drawing.fill(node, outline, shade(color, 0.5), 6.6)


def _round_ears(drawing: Drawing, color: Color) -> None:
    _two_round_ears(drawing, color, inner_ear(color))


def _panda_ears(drawing: Drawing, color: Color) -> None:
    _two_round_ears(drawing, PANDA, light(PANDA, 0.2))


def _two_round_ears(drawing: Drawing, color: Color, inner: Color) -> None:
    for side, name in SIDES:
        node = f"ear_{name}"
        drawing.pivots[node] = (side * 0.34, -0.44)
        drawing.fill(node, shapes.ellipse(side * 0.38, -0.5, 0.165), color, 4.0)
        drawing.mark(node, shapes.ellipse(side * 0.38, -0.5, 0.092), inner, 4.1)


def _mouse_ears(drawing: Drawing, color: Color) -> None:
    for side, name in SIDES:
        node = f"ear_{name}"
        drawing.pivots[node] = (side * 0.36, -0.4)
        drawing.fill(node, shapes.ellipse(side * 0.46, -0.47, 0.25), color, 4.0)
        drawing.mark(node, shapes.ellipse(side * 0.46, -0.47, 0.165), inner_ear(color), 4.1)


def _koala_ears(drawing: Drawing, color: Color) -> None:
    fluff = [(0.34, -0.58), (0.5, -0.65), (0.68, -0.56), (0.75, -0.36), (0.66, -0.16), (0.42, -0.1)]
    for side, name in SIDES:
        node = f"ear_{name}"
        drawing.pivots[node] = (side * 0.44, -0.34)
        drawing.fill(node, shapes.blob([(side * x, y) for x, y in fluff]), color, 4.0)
        inner = shapes.ellipse(side * 0.55, -0.37, 0.115, 0.15, degrees=-side * 12)
        drawing.mark(node, inner, light(color, 0.62), 4.1)


def _pig_ears(drawing: Drawing, color: Color) -> None:
    for side, name in SIDES:
        node = f"ear_{name}"
        drawing.pivots[node] = (side * 0.33, -0.46)
        fold = [(side * 0.14, -0.56), (side * 0.54, -0.72), (side * 0.54, -0.26)]
        drawing.fill(node, shapes.rounded(fold, 3), shade(color, 0.22), 5.2)


def _frog_eyes(drawing: Drawing, color: Color) -> None:
    for side, name in SIDES:
        node = f"ear_{name}"
        drawing.pivots[node] = (side * 0.26, -0.42)
        drawing.fill(node, shapes.ellipse(side * 0.27, -0.47, 0.175), color, 4.0)


def _lion_ears(drawing: Drawing, color: Color) -> None:
    for side, name in SIDES:
        node = f"ear_{name}"
        drawing.pivots[node] = (side * 0.34, -0.44)
        drawing.fill(node, shapes.ellipse(side * 0.39, -0.47, 0.14), color, 5.2, rim=True)
        drawing.mark(node, shapes.ellipse(side * 0.39, -0.47, 0.08), inner_ear(color), 5.3)


EARS: dict[str, Callable[[Drawing, Color], None]] = {
    "rabbit": _long_ears,
    "cat": _cat_ears,
    "dog": _flop_ears,
    "bear": _round_ears,
    "panda": _panda_ears,
    "fox": _fox_ears,
    "pig": _pig_ears,
    "frog": _frog_eyes,
    "mouse": _mouse_ears,
    "koala": _koala_ears,
    "lion": _lion_ears,
}

# ------------------------------------------------------------------ markings


def mane(color: Color) -> Color:
    """A lion's mane goes with any coat."""
    warm = color[0] > 150.0 and color[2] < 0.6 * color[0]
    return (190.0, 108.0, 58.0) if warm else shade(color, 0.4)


def _lion_mane(drawing: Drawing, color: Color) -> None:
    angle = np.linspace(0.0, 2.0 * math.pi, 104, endpoint=False)
    radius = 0.6 + 0.06 * np.abs(np.cos(6.5 * angle + 0.5 * math.pi))
    ruff = np.stack([1.06 * radius * np.cos(angle), 0.94 * radius * np.sin(angle) + HEAD_Y], 1)
    drawing.fill("head", ruff, mane(color), 4.5)


def _panda_patches(drawing: Drawing, color: Color) -> None:
    for side in (-1.0, 1.0):
        patch = shapes.ellipse(side * 0.24, HEAD_Y + 0.015, 0.13, 0.16, degrees=side * 28)
        drawing.mark("head", patch, PATCH, 5.2)


def _fox_cheeks(drawing: Drawing, color: Color) -> None:
    right = [
        (0.0, 0.02),
        (0.13, 0.1),
        (0.3, 0.05),
        (0.53, 0.02),
        (0.46, 0.22),
        (0.27, 0.37),
        (0.0, 0.434),
    ]
    outline = shapes.both_sides([(x, HEAD_Y + y) for x, y in right])
    drawing.mark("head", shapes.blob(outline, 4), WHITE, 5.2)


def _cat_stripes(drawing: Drawing, color: Color) -> None:
    tone = shade(color, 0.32)
    for x in (-0.12, 0.0, 0.12):
        stripe = [(x, HEAD_Y - 0.385 + 0.25 * abs(x)), (0.8 * x, HEAD_Y - 0.27)]
        drawing.line("head", stripe, tone, 0.045, 5.2)
    _whiskers(drawing, color)


def _whiskers(drawing: Drawing, color: Color) -> None:
    tone = mix(shade(color, 0.5), INK, 0.25)
    for side in (-1.0, 1.0):
        for row in (0, 1):
            hair = [
                (side * 0.4, HEAD_Y + 0.15 + 0.05 * row),
                (side * 0.555, HEAD_Y + 0.125 + 0.085 * row),
            ]
            drawing.line("head", hair, tone, 0.02, 6.7)


def _dog_patch(drawing: Drawing, color: Color) -> None:
    patch = shapes.ellipse(0.235, HEAD_Y - 0.03, 0.155, 0.19, degrees=14)
    drawing.mark("head", patch, light(color, 0.6), 5.2, shade=True)


def _pig_snout(drawing: Drawing, color: Color) -> None:
    drawing.mark("head", shapes.ellipse(0, HEAD_Y + 0.115, 0.14, 0.1), shade(color, 0.22), 6.6)
    for side in (-1.0, 1.0):
        hole = shapes.ellipse(side * 0.05, HEAD_Y + 0.115, 0.026, 0.04)
        drawing.mark("head", hole, shade(color, 0.75), 6.7)


MARKINGS: dict[str, Callable[[Drawing, Color], None]] = {
    "lion": _lion_mane,
    "panda": _panda_patches,
    "fox": _fox_cheeks,
    "cat": _cat_stripes,
    "mouse": _whiskers,
    "rabbit": _whiskers,
    "dog": _dog_patch,
    "pig": _pig_snout,
}


def _nose(drawing: Drawing, name: str, color: Color) -> None:
    dark_nose = name in ("bear", "dog", "koala", "lion", "fox", "panda")
    tone = SNOUT if dark_nose else ROSY
    if name in ("bear", "dog", "lion"):
        muzzle = shapes.ellipse(0, HEAD_Y + 0.185, 0.19, 0.145)
        drawing.mark("head", muzzle, light(color, 0.66), 6.0, shade=True)
    if name == "koala":
        drawing.mark("head", shapes.ellipse(0, HEAD_Y + 0.08, 0.085, 0.12), tone, 7.6)
        drawing.mark("head", shapes.ellipse(-0.025, HEAD_Y + 0.02, 0.02, 0.035), light(tone), 7.7)
        return
    wide = 0.075 if dark_nose else 0.06
    nose = [(-wide, HEAD_Y + 0.085), (wide, HEAD_Y + 0.085), (0.0, HEAD_Y + 0.17)]
    drawing.mark("head", shapes.rounded(nose, 3), tone, 7.6)
