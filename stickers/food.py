"""A food's name becomes its body, toppings and little limbs."""

import numpy as np

from minuet.stickers import faces, shapes
from minuet.stickers.drawing import Anchors, Drawing
from minuet.stickers.faces import Face
from minuet.stickers.limbs import limbs
from minuet.stickers.palette import deep, is_dark, light, shade
from minuet.stickers.rig import Color

LEAF: Color = (104.0, 186.0, 92.0)
STEM: Color = (140.0, 92.0, 60.0)
WAFER: Color = (234.0, 182.0, 112.0)
CHERRY: Color = (232.0, 62.0, 82.0)
SPRINKLES: tuple[Color, ...] = ((255, 226, 96), (112, 208, 248), (255, 255, 255))
FOOD = ("strawberry", "apple", "egg", "cupcake", "avocado", "icecream", "mushroom", "pumpkin")


def draw_food(drawing: Drawing, name: str, color: Color, expression: str) -> None:
    """Draw one of FOOD."""
    _FOOD[name](drawing, color, expression)


def shine(drawing: Drawing, x: float, y: float, color: Color, degrees: float = 28.0) -> None:
    """A glint on something smooth."""
    glint = shapes.ellipse(x, y, 0.055, 0.11, degrees=degrees, count=24)
    drawing.mark("body", glint, light(color, 0.62), 2.6)
    dot = shapes.ellipse(x - 0.045, y + 0.17, 0.03, 0.034, count=16)
    drawing.mark("body", dot, light(color, 0.62), 2.6)


def _strawberry(drawing: Drawing, color: Color, expression: str) -> None:
    right = [(0.0, -0.5), (0.36, -0.49), (0.53, -0.24), (0.4, 0.28), (0.0, 0.68)]
    drawing.fill("body", shapes.blob(shapes.both_sides(right)), color, 2.0)
    seeds = [(0.33, -0.27), (0.42, -0.02), (0.3, 0.22), (0.12, 0.34), (0.18, 0.5), (0.0, 0.46)]
    for x, y in [*seeds, *((-x, y) for x, y in seeds if x)]:
        seed = shapes.ellipse(x, y, 0.022, 0.036, count=16)
        drawing.mark("body", seed, (255.0, 232.0, 150.0), 2.2)
    leaves = shapes.scaled(shapes.rounded(shapes.star(0, 0, 0.42, 0.2, 7), 3), 1.0, 0.56)
    drawing.fill("head", leaves - np.array([0.0, 0.5]), _leaf(color), 3.0)
    since = len(drawing.parts)
    drawing.fill("head", shapes.capsule((0, -0.54), (0.05, -0.72), 0.04), _leaf(color), 2.9)
    drawing.topper(since)
    limbs(drawing, color, arm_x=0.41, arm_y=0.18, leg_x=0.15, leg_y=0.6)
    drawing.anchors.top, drawing.anchors.neck = -0.52, (0.36, 0.28)
    faces.draw(drawing, Face(y=-0.08, scale=1.15, skin=color), expression)


def _leaf(color: Color) -> Color:
    green = color[1] > 1.1 * color[0] and color[1] > 1.1 * color[2]
    return deep(LEAF, 0.5) if green else LEAF


def _apple(drawing: Drawing, color: Color, expression: str) -> None:
    right = [(0.0, -0.42), (0.27, -0.5), (0.54, -0.28), (0.52, 0.2), (0.27, 0.6), (0.0, 0.56)]
    drawing.fill("body", shapes.blob(shapes.both_sides(right)), color, 2.0)
    since = len(drawing.parts)
    stem = shapes.curve([(0, -0.38), (0.0, -0.54), (0.06, -0.7)])
    drawing.line("head", stem, STEM, 0.07, 1.9, silhouette=True)
    leaf = shapes.blob([(0.03, -0.54), (0.18, -0.74), (0.4, -0.7), (0.27, -0.55)])
    drawing.fill("head", leaf, _leaf(color), 1.95)
    drawing.topper(since)
    shine(drawing, -0.36, -0.22, color)
    limbs(drawing, color, arm_x=0.46, arm_y=0.18, leg_x=0.17, leg_y=0.6)
    drawing.anchors = _with_hand(drawing, top=-0.46, neck=(0.46, 0.3))
    faces.draw(drawing, Face(y=-0.02, scale=1.2, skin=color), expression)


def _with_hand(drawing: Drawing, *, top: float, neck: tuple[float, float]) -> Anchors:
    drawing.anchors.top, drawing.anchors.neck = top, neck
    return drawing.anchors


def _egg(drawing: Drawing, color: Color, expression: str) -> None:
    right = [(0.0, -0.66), (0.29, -0.48), (0.49, 0.02), (0.44, 0.45), (0.0, 0.66)]
    drawing.fill("body", shapes.blob(shapes.both_sides(right)), color, 2.0)
    for x, y, r in (
        (-0.2, -0.42, 0.035),
        (0.3, -0.24, 0.028),
        (0.1, -0.5, 0.024),
        (-0.3, 0.36, 0.03),
        (0.3, 0.4, 0.036),
    ):
        drawing.mark("body", shapes.ellipse(x, y, r, count=20), shade(color, 0.16), 2.2)
    limbs(drawing, color, arm_x=0.43, arm_y=0.2, leg_x=0.17, leg_y=0.62)
    drawing.anchors = _with_hand(drawing, top=-0.58, neck=(0.46, 0.27))
    drawing.anchors.hat_width = 0.9
    faces.draw(drawing, Face(y=-0.04, scale=1.18, skin=color), expression)


def _cupcake(drawing: Drawing, color: Color, expression: str) -> None:
    case = shapes.rounded([(-0.43, 0.04), (0.43, 0.04), (0.33, 0.65), (-0.33, 0.65)], 2)
    drawing.fill("body", case, (228.0, 178.0, 120.0), 2.0)
    for x in (-0.24, -0.08, 0.08, 0.24):
        pleat = [(1.08 * x, 0.16), (0.88 * x, 0.58)]
        drawing.line("body", pleat, (200.0, 144.0, 92.0), 0.035, 2.1)
    right = [
        (0.0, -0.62),
        (0.16, -0.59),
        (0.32, -0.42),
        (0.38, -0.24),
        (0.52, -0.12),
        (0.53, 0.1),
        (0.28, 0.17),
        (0.0, 0.11),
    ]
    drawing.fill("body", shapes.blob(shapes.both_sides(right)), color, 3.0)
    spots = (
        (-0.34, -0.06),
        (0.38, -0.04),
        (-0.14, -0.45),
        (0.18, -0.42),
        (-0.42, 0.06),
        (0.43, 0.07),
        (0.02, -0.34),
    )
    for index, (x, y) in enumerate(spots):
        slant = 0.024 * (-1) ** index
        sprinkle = shapes.capsule((x - 0.026, y - slant), (x + 0.026, y + slant), 0.019, count=6)
        drawing.mark("body", sprinkle, SPRINKLES[index % 3], 3.2)
    since = len(drawing.parts)
    drawing.fill("head", shapes.ellipse(0, -0.66, 0.1), CHERRY, 2.9)
    drawing.mark("head", shapes.ellipse(-0.035, -0.7, 0.024), light(CHERRY), 2.95)
    drawing.topper(since)
    limbs(drawing, color, arm_x=0.4, arm_y=0.24, leg_x=0.15, leg_y=0.64)
    drawing.anchors = _with_hand(drawing, top=-0.58, neck=(0.4, 0.27))
    drawing.anchors.hat_width = 0.85
    faces.draw(drawing, Face(y=-0.13, scale=1.1, skin=color), expression)


def _avocado(drawing: Drawing, color: Color, expression: str) -> None:
    right = [(0.0, -0.68), (0.2, -0.6), (0.34, -0.24), (0.5, 0.18), (0.41, 0.55), (0.0, 0.69)]
    outline = shapes.both_sides(right)
    skin = color if is_dark(color) else deep(color, 0.4)
    drawing.fill("body", shapes.blob(outline), skin, 2.0)
    flesh = shapes.scaled(shapes.blob(outline), 0.85, 0.88, (0.0, 0.03))
    flesh_color = (246.0, 246.0, 178.0)
    drawing.mark("body", flesh, flesh_color, 2.2, shade=True)
    drawing.mark("body", shapes.ellipse(0, 0.36, 0.2), (160.0, 104.0, 62.0), 2.4, shade=True)
    drawing.mark(
        "body", shapes.ellipse(-0.07, 0.28, 0.05, 0.035, degrees=-30), (208.0, 156.0, 114.0), 2.5
    )
    limbs(drawing, skin, arm_x=0.43, arm_y=0.2, leg_x=0.17, leg_y=0.64)
    drawing.anchors = _with_hand(drawing, top=-0.61, neck=(0.4, 0.18))
    drawing.anchors.hat_width = 0.75
    faces.draw(drawing, Face(y=-0.14, scale=0.98, skin=flesh_color), expression)


def _icecream(drawing: Drawing, color: Color, expression: str) -> None:
    cone = shapes.rounded([(-0.36, 0.0), (0.36, 0.0), (0.06, 0.72), (-0.06, 0.72)], 2)
    drawing.fill("body", cone, WAFER, 2.0)
    for side in (-1.0, 1.0):
        for row in (0, 1):
            groove = [
                (side * (0.27 - 0.2 * row), 0.1),
                (side * (-0.02 - 0.1 * row), 0.52 - 0.18 * row),
            ]
            drawing.line("body", groove, deep(WAFER, 0.35), 0.026, 2.1)
    right = [
        (0.0, -0.64),
        (0.31, -0.53),
        (0.5, -0.2),
        (0.48, 0.06),
        (0.32, 0.13),
        (0.17, 0.06),
        (0.0, 0.14),
    ]
    drawing.fill("body", shapes.blob(shapes.both_sides(right)), color, 3.0)
    since = len(drawing.parts)
    stick = shapes.capsule((0.16, -0.48), (0.27, -0.76), 0.045, count=8)
    drawing.fill("head", stick, STEM, 2.9)
    drawing.topper(since)
    limbs(drawing, color, arm_x=0.33, arm_y=0.2, leg_x=0.13, leg_y=0.66)
    drawing.anchors = _with_hand(drawing, top=-0.59, neck=(0.3, 0.24))
    faces.draw(drawing, Face(y=-0.2, scale=1.15, skin=color), expression)


def _mushroom(drawing: Drawing, color: Color, expression: str) -> None:
    stalk_color = (252.0, 238.0, 218.0)
    right = [(0.0, -0.1), (0.3, -0.06), (0.3, 0.3), (0.37, 0.58), (0.2, 0.7), (0.0, 0.71)]
    drawing.fill("body", shapes.blob(shapes.both_sides(right)), stalk_color, 2.0)
    cap = [(0.0, -0.66), (0.36, -0.56), (0.64, -0.22), (0.66, 0.0), (0.46, 0.09), (0.0, 0.04)]
    drawing.fill("body", shapes.blob(shapes.both_sides(cap)), color, 3.0)
    dot = light(color, 0.8) if not is_dark(color) else light(color, 0.6)
    for x, y, r in (
        (-0.33, -0.22, 0.12),
        (0.1, -0.4, 0.14),
        (0.42, -0.12, 0.09),
        (0.0, -0.12, 0.07),
    ):
        drawing.mark("body", shapes.ellipse(x, y, r, 0.9 * r), dot, 3.2)
    drawing.anchors = Anchors(top=-0.58, neck=(0.3, 0.15), hand=(0.4, 0.44), side=0.64, ear_y=-0.1)
    faces.draw(drawing, Face(y=0.3, scale=1.0, spacing=0.16, skin=stalk_color), expression)


def _pumpkin(drawing: Drawing, color: Color, expression: str) -> None:
    groove = shade(color, 0.22)
    for x, rx in ((-0.36, 0.3), (0.36, 0.3), (-0.18, 0.32), (0.18, 0.32), (0.0, 0.32)):
        lobe = shapes.superellipse(x, 0.12, rx, 0.5 - 0.16 * abs(x), 2.3)
        drawing.fill("body", lobe, color, 2.0 + (0.4 - abs(x)), rim=True)
    since = len(drawing.parts)
    stem = shapes.blob(
        [(-0.09, -0.34), (-0.06, -0.52), (0.08, -0.64), (0.17, -0.57), (0.07, -0.48), (0.1, -0.34)]
    )
    drawing.fill("head", stem, deep(LEAF, 0.35), 1.8)
    drawing.line(
        "head",
        shapes.curve([(0.06, -0.4), (0.24, -0.5), (0.32, -0.42), (0.26, -0.36)]),
        LEAF,
        0.045,
        1.7,
        silhouette=True,
    )
    drawing.topper(since)
    drawing.line("body", shapes.arc(0, 0.12, 0.2, 0.42, 60, 120), groove, 0.02, 2.5)
    drawing.anchors = Anchors(top=-0.33, neck=(0.5, 0.42), hand=(0.54, 0.36), side=0.6)
    faces.draw(drawing, Face(y=0.08, scale=1.25, skin=color), expression)


_FOOD = {
    "strawberry": _strawberry,
    "apple": _apple,
    "egg": _egg,
    "cupcake": _cupcake,
    "avocado": _avocado,
    "icecream": _icecream,
    "mushroom": _mushroom,
    "pumpkin": _pumpkin,
}
