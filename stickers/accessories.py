"""An accessory's name becomes a hat, something worn, or something held."""

import math
from collections.abc import Callable

from minuet.stickers import shapes
from minuet.stickers.drawing import Drawing
from minuet.stickers.limbs import ARM_Z
from minuet.stickers.palette import apart, deep, light, shade
from minuet.stickers.rig import Color, Points

HATS = ("crown", "partyhat", "tophat")
WORN = ("bow", "glasses", "headphones", "scarf")
HELD = ("trumpet", "balloon", "flower", "heart", "star", "cup")
ACCESSORIES = ("none", *HATS, *WORN, *HELD)

LEAN = 30.0  # degrees outwards, clear of the head
GOLD: Color = (255.0, 208.0, 72.0)
PETAL: Color = (255.0, 160.0, 200.0)
SKY: Color = (92.0, 160.0, 240.0)
FRAME: Color = (58.0, 62.0, 84.0)
RED: Color = (238.0, 74.0, 92.0)


def draw(drawing: Drawing, accessory: str, expression: str) -> None:
    """Put an accessory on or into the hand of a drawn character."""
    if accessory in HATS:
        drawing.take_off_toppers()
        drawing.pivots["accessory"] = (drawing.anchors.hat_x, drawing.anchors.top)
    if accessory in HELD and drawing.anchors.hand_color is not None:
        _hold(drawing)
    if accessory != "none":
        _DRAW[accessory](drawing, expression)


def _hold(drawing: Drawing) -> None:
    """Fingers over what is held."""
    color = drawing.anchors.hand_color
    assert color is not None
    x, y = drawing.anchors.hand
    fingers = shapes.ellipse(x, y, drawing.anchors.hand_radius, count=24)
    drawing.fill("arm_right", fingers, color, ARM_Z + 1.0, rim=True)


def _held_node(drawing: Drawing) -> str:
    return "arm_right" if drawing.anchors.hand_color is not None else "body"


def _hat(drawing: Drawing, points: Points) -> Points:
    anchors = drawing.anchors
    return points * anchors.hat_width + (anchors.hat_x, anchors.top)


def _crown(drawing: Drawing, expression: str) -> None:
    tips = [
        (-0.25, 0.07),
        (-0.31, -0.2),
        (-0.14, -0.09),
        (0, -0.28),
        (0.14, -0.09),
        (0.31, -0.2),
        (0.25, 0.07),
    ]
    drawing.fill("accessory", _hat(drawing, shapes.rounded(tips, 1)), GOLD, 12.0, rim=True)
    for x, y, tone in ((-0.13, -0.01, RED), (0.0, -0.01, (98, 176, 240)), (0.13, -0.01, RED)):
        jewel = _hat(drawing, shapes.ellipse(x, y, 0.035, count=20))
        drawing.mark("accessory", jewel, tone, 12.2)


def _partyhat(drawing: Drawing, expression: str) -> None:
    cone = shapes.rounded([(-0.21, 0.07), (0.21, 0.07), (0.03, -0.36), (-0.03, -0.36)], 1)
    drawing.fill("accessory", _hat(drawing, cone), (126.0, 122.0, 244.0), 12.0)
    for row in range(3):
        stripe = [(-0.135 + 0.042 * row, 0.0 - 0.1 * row), (0.155 - 0.042 * row, -0.05 - 0.1 * row)]
        drawing.line(
            "accessory", _hat(drawing, shapes.curve(stripe)), (255.0, 224.0, 110.0), 0.034, 12.1
        )
    drawing.fill(
        "accessory", _hat(drawing, shapes.ellipse(0, -0.36, 0.075)), (255.0, 130.0, 162.0), 12.3
    )


def _tophat(drawing: Drawing, expression: str) -> None:
    felt: Color = (80.0, 74.0, 98.0)
    tall = shapes.rounded([(-0.19, 0.04), (-0.22, -0.33), (0.22, -0.33), (0.19, 0.04)], 1)
    drawing.fill("accessory", _hat(drawing, tall), felt, 12.0)
    band = shapes.rounded([(-0.2, -0.02), (-0.207, -0.13), (0.207, -0.13), (0.2, -0.02)], 1)
    drawing.mark("accessory", _hat(drawing, band), RED, 12.1)
    drawing.fill(
        "accessory", _hat(drawing, shapes.ellipse(0, 0.03, 0.34, 0.07)), felt, 12.2, rim=True
    )


def _bow(drawing: Drawing, expression: str) -> None:
    tone = apart((242.0, 84.0, 124.0), drawing.color, SKY)
    x, y = drawing.anchors.hat_x + 0.25 * drawing.anchors.hat_width, drawing.anchors.top + 0.09
    for side in (-1.0, 1.0):
        loop = [(x, y), (x + side * 0.25, y - 0.17), (x + side * 0.25, y + 0.17)]
        drawing.fill("accessory", shapes.rounded(loop, 3), tone, 12.0)
        fold = [(x + side * 0.05, y), (x + side * 0.12, y - 0.02)]
        drawing.line("accessory", fold, deep(tone, 0.35), 0.026, 12.1)
    drawing.fill("accessory", shapes.ellipse(x, y, 0.062), deep(tone, 0.22), 12.2)
    drawing.pivots["accessory"] = (x, y)


def _glasses(drawing: Drawing, expression: str) -> None:
    """Round frames; a cool face wears its sunglasses already."""
    if expression == "cool":
        return
    y, spread = drawing.anchors.eye_y, drawing.anchors.eye_x
    x = drawing.pivots["eyes"][0]
    radius = min(0.148, 0.82 * spread)
    for side in (-1.0, 1.0):
        lens = shapes.ellipse(x + side * spread, y, radius, count=32)
        drawing.line("eyes", lens, FRAME, 0.036, 11.0, closed=True)
    gap = spread - radius
    bridge = shapes.arc(x, y - 0.01, gap, 0.5 * gap, 200, 340)
    drawing.line("eyes", bridge, FRAME, 0.034, 11.0)


def _headphones(drawing: Drawing, expression: str) -> None:
    anchors = drawing.anchors
    x = drawing.pivots["eyes"][0] if anchors.hat_x else 0.0
    y = anchors.eye_y if anchors.ear_y is None else anchors.ear_y
    tone: Color = (84.0, 96.0, 132.0)
    height = min(y - anchors.top + 0.09, 1.3 * anchors.side)
    band = shapes.arc(x, y, anchors.side + 0.02, height, 182, 358, count=28)
    drawing.line("accessory", band, tone, 0.085, 11.5, silhouette=True)
    for side in (-1.0, 1.0):
        cup = shapes.superellipse(x + side * (anchors.side + 0.02), y + 0.04, 0.09, 0.155, 2.8)
        drawing.fill("accessory", cup, apart(RED, drawing.color, SKY), 11.7, rim=True)


def _scarf(drawing: Drawing, expression: str) -> None:
    width, y = drawing.anchors.neck
    x = drawing.pivots["eyes"][0] if drawing.anchors.hat_x else 0.0
    tail = [(x + 0.07, y + 0.02), (x + 0.22, y + 0.02), (x + 0.25, y + 0.31), (x + 0.1, y + 0.31)]
    wool = apart(RED, drawing.color, SKY)
    drawing.fill("body", shapes.rounded(tail, 1), deep(wool, 0.2), 8.9)
    drawing.line(
        "body", [(x + 0.125, y + 0.23), (x + 0.215, y + 0.23)], (255.0, 224.0, 150.0), 0.03, 8.95
    )
    wrap = shapes.superellipse(x, y, width, 0.085, 2.8)
    drawing.fill("body", wrap, wool, 9.0, rim=True)


def _trumpet(drawing: Drawing, expression: str) -> None:
    x, y = drawing.anchors.hand
    node = _held_node(drawing)
    brass: Color = (246.0, 190.0, 62.0)
    tube = shapes.capsule((x - 0.22, y), (x + 0.18, y), 0.04, count=8)
    drawing.fill(node, tube, brass, ARM_Z + 0.5, rim=True)
    bend = shapes.superellipse(x - 0.01, y + 0.045, 0.12, 0.075, 2.4)
    drawing.line(node, bend, deep(brass, 0.2), 0.042, ARM_Z + 0.4, silhouette=True, closed=True)
    for valve in (-0.07, 0.0, 0.07):
        cap = shapes.capsule((x + valve, y - 0.04), (x + valve, y - 0.105), 0.024, count=6)
        drawing.fill(node, cap, deep(brass, 0.25), ARM_Z + 0.45)
    half = [(0.12, 0.043), (0.24, 0.075), (0.34, 0.2)]
    bell = [(x + a, y - b) for a, b in half] + [(x + a, y + b) for a, b in half[::-1]]
    drawing.fill(node, shapes.rounded(bell, 2), brass, ARM_Z + 0.6, rim=True)
    mouth = shapes.ellipse(x + 0.325, y, 0.042, 0.175)
    drawing.fill(node, mouth, light(brass, 0.45), ARM_Z + 0.7, rim=True)


def _balloon(drawing: Drawing, expression: str) -> None:
    """On a string, beside the head rather than behind it."""
    x, y = drawing.anchors.hand
    node, side = _held_node(drawing), math.copysign(1.0, x)
    far = side * max(abs(x) + 0.1, drawing.anchors.side + 0.19)
    top = (far, min(y - 0.6, drawing.anchors.eye_y - 0.12))
    string = shapes.curve(
        [(x, y), (0.35 * x + 0.65 * far, 0.6 * y + 0.4 * top[1]), (far, top[1] + 0.2)]
    )
    drawing.line(node, string, (150.0, 150.0, 168.0), 0.026, ARM_Z + 0.7, silhouette=True)
    rubber = apart(RED, drawing.color, SKY)
    knot = [(far - 0.05, top[1] + 0.28), (far + 0.05, top[1] + 0.28), (far, top[1] + 0.19)]
    drawing.fill(node, knot, deep(rubber, 0.2), ARM_Z + 0.75)
    drawing.fill(node, shapes.ellipse(top[0], top[1], 0.2, 0.235), rubber, ARM_Z + 0.8)
    glint = shapes.ellipse(far - 0.07, top[1] - 0.08, 0.038, 0.062, degrees=28, count=20)
    drawing.mark(node, glint, light(rubber, 0.65), ARM_Z + 0.85)


def _flower(drawing: Drawing, expression: str) -> None:
    x, y = drawing.anchors.hand
    node = _held_node(drawing)
    stem = shapes.curve([(x - 0.02, y + 0.14), (x + 0.01, y - 0.02), (x + 0.07, y - 0.22)])
    stem = shapes.turned(stem, LEAN, (x, y))
    drawing.line(node, stem, (96.0, 176.0, 92.0), 0.048, ARM_Z + 0.4, silhouette=True)
    (bloom,) = shapes.turned([(x + 0.08, y - 0.29)], LEAN, (x, y)).tolist()
    for petal in range(5):
        angle = 2.0 * math.pi * petal / 5.0 - 0.5 * math.pi
        centre = (bloom[0] + 0.115 * math.cos(angle), bloom[1] + 0.115 * math.sin(angle))
        drawing.fill(
            node, shapes.ellipse(centre[0], centre[1], 0.094, count=24), PETAL, ARM_Z + 0.5
        )
    drawing.mark(
        node, shapes.ellipse(bloom[0], bloom[1], 0.076, count=24), (255.0, 218.0, 96.0), ARM_Z + 0.6
    )


def _heart(drawing: Drawing, expression: str) -> None:
    x, y = drawing.anchors.hand
    node = _held_node(drawing)
    tone = apart((246.0, 76.0, 110.0), drawing.color, (255.0, 150.0, 186.0))
    ((hx, hy),) = shapes.turned([(x + 0.06, y - 0.16)], LEAN, (x, y)).tolist()
    outline = shapes.turned(shapes.heart(hx, hy, 0.215), 14.0, (hx, hy))
    drawing.fill(node, outline, tone, ARM_Z + 0.5, rim=True)
    glint = shapes.ellipse(hx - 0.09, hy - 0.07, 0.03, 0.05, degrees=40, count=20)
    drawing.mark(node, glint, light(tone, 0.65), ARM_Z + 0.6)


def _star(drawing: Drawing, expression: str) -> None:
    x, y = drawing.anchors.hand
    node = _held_node(drawing)
    wand = shapes.turned([(x - 0.035, y + 0.15), (x + 0.07, y - 0.22)], LEAN, (x, y))
    drawing.line(node, wand, (178.0, 128.0, 88.0), 0.052, ARM_Z + 0.4, silhouette=True)
    outline = shapes.rounded(shapes.star(x + 0.1, y - 0.31, 0.26, 0.135, degrees=-78), 2)
    outline = shapes.turned(outline, LEAN, (x, y))
    drawing.fill(node, outline, GOLD, ARM_Z + 0.5, rim=True)


def _cup(drawing: Drawing, expression: str) -> None:
    x, y = drawing.anchors.hand
    node = _held_node(drawing)
    x += 0.1
    china = apart((112.0, 184.0, 236.0), drawing.color, (255.0, 190.0, 110.0))
    handle = shapes.ellipse(x + 0.155, y - 0.03, 0.075, 0.085, count=24)
    drawing.line(node, handle, shade(china, 0.15), 0.044, ARM_Z + 0.4, silhouette=True, closed=True)
    body = [(x - 0.15, y - 0.2), (x + 0.15, y - 0.2), (x + 0.125, y + 0.14), (x - 0.125, y + 0.14)]
    drawing.fill(node, shapes.rounded(body, 1), china, ARM_Z + 0.5, rim=True)
    coffee = shapes.ellipse(x, y - 0.172, 0.115, 0.03, count=24)
    drawing.mark(node, coffee, (122.0, 76.0, 50.0), ARM_Z + 0.6)


_DRAW: dict[str, Callable[[Drawing, str], None]] = {
    "crown": _crown,
    "partyhat": _partyhat,
    "tophat": _tophat,
    "bow": _bow,
    "glasses": _glasses,
    "headphones": _headphones,
    "scarf": _scarf,
    "trumpet": _trumpet,
    "balloon": _balloon,
    "flower": _flower,
    "heart": _heart,
    "star": _star,
    "cup": _cup,
}
