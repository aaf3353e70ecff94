"""A thing's name becomes its body: stars, weather, a robot, and things without limbs."""

import math

import numpy as np

from minuet.stickers import faces, shapes
from minuet.stickers.drawing import Anchors, Drawing
from minuet.stickers.faces import Face
from minuet.stickers.food import shine
from minuet.stickers.limbs import SIDES, arms, legs, limbs
from minuet.stickers.palette import deep, is_dark, light, mix, shade
from minuet.stickers.rig import Color

POT: Color = (222.0, 132.0, 88.0)
THINGS = (
    "star",
    "heart",
    "cloud",
    "ghost",
    "sun",
    "cactus",
    "robot",
    "smiley",
    "mug",
    "donut",
    "moon",
)


def draw_thing(drawing: Drawing, name: str, color: Color, expression: str) -> None:
    """Draw one of THINGS."""
    _THINGS[name](drawing, color, expression)


def _star(drawing: Drawing, color: Color, expression: str) -> None:
    drawing.fill("body", shapes.rounded(shapes.star(0, 0.0, 0.9, 0.52), 3), color, 2.0)
    limbs(drawing, color, arm_x=0.44, arm_y=0.17, leg_x=0.19, leg_y=0.58)
    drawing.anchors.top, drawing.anchors.hat_width, drawing.anchors.neck = -0.56, 0.75, (0.42, 0.24)
    faces.draw(drawing, Face(y=-0.07, scale=1.1, skin=color), expression)


def _heart(drawing: Drawing, color: Color, expression: str) -> None:
    drawing.fill("body", shapes.heart(0, 0.03, 0.68), color, 2.0)
    shine(drawing, -0.42, -0.28, color, 38.0)
    limbs(drawing, color, arm_x=0.45, arm_y=0.16, leg_x=0.14, leg_y=0.56)
    drawing.anchors.top, drawing.anchors.neck = -0.4, (0.42, 0.28)
    faces.draw(drawing, Face(y=-0.08, scale=1.2, skin=color), expression)


def _cloud(drawing: Drawing, color: Color, expression: str) -> None:
    puffs = [(0.06, -0.22, 0.38), (-0.34, -0.08, 0.29), (0.44, -0.02, 0.26), (-0.48, 0.2, 0.27)]
    puffs += [(0.52, 0.22, 0.25), (0.0, 0.22, 0.27), (-0.26, 0.24, 0.25), (0.27, 0.24, 0.25)]
    drawing.fill("body", shapes.merged_circles(puffs, (0.0, 0.1)), color, 2.0)
    limbs(drawing, color, arm_x=0.6, arm_y=0.2, leg_x=0.2, leg_y=0.48)
    drawing.anchors.top, drawing.anchors.neck = -0.56, (0.52, 0.33)
    faces.draw(drawing, Face(y=0.04, scale=1.2, skin=color), expression)


def _ghost(drawing: Drawing, color: Color, expression: str) -> None:
    right = [
        (0.0, -0.68),
        (0.36, -0.52),
        (0.46, -0.1),
        (0.48, 0.4),
        (0.55, 0.68),
        (0.36, 0.6),
        (0.18, 0.73),
        (0.0, 0.62),
    ]
    drawing.fill("body", shapes.blob(shapes.both_sides(right)), color, 2.0)
    arms(drawing, color, x=0.42, y=0.12, reach=(0.17, 0.15), radius=0.09)
    for side, name in SIDES:
        drawing.pivots[f"leg_{name}"] = (side * 0.2, 0.58)
        foot = shapes.ellipse(side * 0.2, 0.68, 0.1, 0.12)
        drawing.fill(f"leg_{name}", foot, shade(color, 0.14), 1.0)
    drawing.anchors.top, drawing.anchors.neck = -0.6, (0.46, 0.24)
    faces.draw(drawing, Face(y=-0.14, scale=1.25, skin=color), expression)


def _sun(drawing: Drawing, color: Color, expression: str) -> None:
    rays = shapes.rounded(shapes.star(0, -0.02, 0.84, 0.6, 12), 2)
    drawing.fill("body", rays, shade(color, 0.26), 1.8)
    drawing.fill("body", shapes.ellipse(0, -0.02, 0.56), color, 2.0)
    limbs(drawing, shade(color, 0.14), arm_x=0.53, arm_y=0.24, leg_x=0.18, leg_y=0.68)
    drawing.anchors.top, drawing.anchors.neck = -0.52, (0.5, 0.34)
    faces.draw(drawing, Face(y=-0.04, scale=1.3, skin=color), expression)


def _cactus(drawing: Drawing, color: Color, expression: str) -> None:
    drawing.fill("body", shapes.superellipse(0, 0.03, 0.36, 0.6, 2.7), color, 2.0)
    spine = light(color, 0.7)
    for x, y in (
        (-0.2, -0.34),
        (0.0, -0.44),
        (0.2, -0.34),
        (-0.24, 0.22),
        (0.24, 0.22),
        (0.0, 0.3),
    ):
        drawing.line("body", [(x, y), (x, y + 0.06)], spine, 0.026, 2.2)
    for side, name in SIDES:
        node = f"arm_{name}"
        drawing.pivots[node] = (side * 0.32, 0.14)
        arm = shapes.curve([(side * 0.3, 0.13), (side * 0.47, 0.2), (side * 0.58, 0.3)])
        drawing.line(node, arm, color, 0.17, 1.6, silhouette=True)
        drawing.line(node, [(side * 0.47, 0.2), (side * 0.5, 0.225)], spine, 0.026, 1.7)
    drawing.anchors = Anchors(
        top=-0.5, neck=(0.34, 0.26), hand=(0.58, 0.3), hand_color=color, side=0.36
    )
    drawing.anchors.hat_width = 0.85
    pot = shapes.rounded([(-0.42, 0.46), (0.42, 0.46), (0.33, 0.82), (-0.33, 0.82)], 2)
    drawing.fill("root", pot, POT, 2.6)
    drawing.fill(
        "root", shapes.superellipse(0, 0.5, 0.45, 0.085, 4), light(POT, 0.2), 2.7, rim=True
    )
    for side, name in SIDES:
        drawing.pivots[f"leg_{name}"] = (side * 0.17, 0.76)
        foot = shapes.ellipse(side * 0.18, 0.83, 0.11, 0.075)
        drawing.fill(f"leg_{name}", foot, deep(POT, 0.3), 2.5)
    since = len(drawing.parts)
    petals = shapes.rounded(shapes.star(0, -0.58, 0.17, 0.09), 2)
    drawing.fill("head", petals, (252.0, 132.0, 172.0), 2.3)
    drawing.mark("head", shapes.ellipse(0, -0.58, 0.045), (255.0, 216.0, 92.0), 2.35)
    drawing.topper(since)
    drawing.pivots.update(root=(0.0, 0.86), body=(0.0, 0.6))
    faces.draw(drawing, Face(y=-0.1, scale=1.08, spacing=0.165, skin=color), expression)


def _robot(drawing: Drawing, color: Color, expression: str) -> None:
    drawing.fill("body", shapes.superellipse(0, 0.46, 0.31, 0.27, 4), shade(color, 0.16), 2.0)
    drawing.mark("body", shapes.superellipse(0, 0.49, 0.19, 0.13, 4), light(color, 0.5), 2.2)
    for index, lamp in enumerate(((255, 112, 112), (255, 208, 88), (112, 206, 130))):
        drawing.mark("body", shapes.ellipse(-0.1 + 0.1 * index, 0.49, 0.036, count=20), lamp, 2.3)
    limb = shade(color, 0.38)
    arms(drawing, limb, x=0.28, y=0.36)
    legs(drawing, limb)
    drawing.fill("head", shapes.superellipse(0, -0.16, 0.53, 0.41, 4.6), color, 5.0)
    screen = light(color, 0.8)
    drawing.mark("head", shapes.superellipse(0, -0.14, 0.42, 0.295, 4), screen, 5.2)
    for side, name in SIDES:
        drawing.pivots[f"ear_{name}"] = (side * 0.5, -0.16)
        ear = shapes.superellipse(side * 0.55, -0.16, 0.075, 0.14, 3)
        drawing.fill(f"ear_{name}", ear, limb, 4.0)
    since = len(drawing.parts)
    drawing.line("head", [(0, -0.54), (0, -0.7)], limb, 0.055, 4.5, silhouette=True)
    drawing.fill("head", shapes.ellipse(0, -0.74, 0.08), (255.0, 112.0, 112.0), 4.6)
    drawing.topper(since)
    drawing.pivots.update(body=(0.0, 0.7), head=(0.0, 0.24))
    drawing.anchors.top, drawing.anchors.neck, drawing.anchors.side = -0.54, (0.29, 0.27), 0.53
    faces.draw(drawing, Face(y=-0.17, scale=1.15, skin=screen), expression)


def _smiley(drawing: Drawing, color: Color, expression: str) -> None:
    drawing.fill("body", shapes.ellipse(0, -0.02, 0.62), color, 2.0)
    shine(drawing, -0.4, -0.32, color, 40.0)
    limbs(drawing, color, arm_x=0.52, arm_y=0.24, leg_x=0.2, leg_y=0.62)
    drawing.anchors.top, drawing.anchors.neck = -0.56, (0.52, 0.32)
    faces.draw(drawing, Face(y=-0.08, scale=1.42, skin=color), expression)


def _mug(drawing: Drawing, color: Color, expression: str) -> None:
    handle = shapes.arc(-0.46, 0.16, 0.22, 0.25, 80, 280, count=20)
    drawing.line("body", handle, shade(color, 0.14), 0.12, 1.0, silhouette=True)
    cup = shapes.blob(
        shapes.rounded([(-0.52, -0.34), (0.52, -0.34), (0.5, 0.66), (-0.5, 0.66)], 2), 2
    )
    drawing.fill("body", cup, color, 2.0)
    drawing.fill("body", shapes.ellipse(0, -0.3, 0.5, 0.13), light(color, 0.45), 2.3, rim=True)
    drawing.mark("body", shapes.ellipse(0, -0.28, 0.43, 0.095), (124.0, 76.0, 52.0), 2.4)
    drawing.mark("body", shapes.ellipse(-0.14, -0.3, 0.13, 0.025), (172.0, 118.0, 84.0), 2.5)
    since = len(drawing.parts)
    for x in (-0.16, 0.14):
        steam = shapes.curve([(x, -0.42), (x + 0.06, -0.52), (x - 0.03, -0.6), (x + 0.04, -0.7)])
        drawing.line("head", steam, (226.0, 232.0, 242.0), 0.055, 1.9, silhouette=True)
    drawing.topper(since)
    drawing.anchors = Anchors(top=-0.36, neck=(0.47, 0.46), hand=(0.5, 0.44), side=0.5)
    faces.draw(drawing, Face(y=0.14, scale=1.25, skin=color), expression)


def _donut(drawing: Drawing, color: Color, expression: str) -> None:
    drawing.fill("body", shapes.ellipse(0, 0.04, 0.68, 0.66, count=56), (232.0, 178.0, 116.0), 2.0)
    angles = np.linspace(0.0, 2.0 * math.pi, 26, endpoint=False)
    drip = 0.575 + 0.03 * np.sin(9.0 * angles)
    icing = np.stack([drip * np.cos(angles), 0.0 + 0.96 * drip * np.sin(angles)], axis=1)
    drawing.mark("body", shapes.blob(icing, 4), color, 2.2, shade=True)
    hole = shade((232.0, 178.0, 116.0), 0.35)
    drawing.mark("body", shapes.ellipse(0, -0.2, 0.205, 0.155), shade(color, 0.22), 2.3)
    drawing.mark("body", shapes.ellipse(0, -0.185, 0.175, 0.125), hole, 2.4)
    for index in range(11):
        angle = math.radians(150 + 24 * index)
        radius = 0.42 + 0.06 * (index % 2)
        x, y = radius * math.cos(angle), radius * math.sin(angle)
        dx, dy = 0.03 * math.cos(2.7 * index), 0.03 * math.sin(2.7 * index)
        tone = ((255, 232, 110), (126, 214, 250), (255, 255, 255))[index % 3]
        bar = shapes.capsule((x - dx, y - dy), (x + dx, y + dy), 0.021, count=6)
        drawing.mark("body", bar, tone, 2.5)
    drawing.anchors = Anchors(top=-0.54, neck=(0.5, 0.5), hand=(0.5, 0.4), side=0.6)
    faces.draw(drawing, Face(y=0.16, scale=1.15, skin=color), expression)


def _moon(drawing: Drawing, color: Color, expression: str) -> None:
    outline = [
        (0.12, -0.7),
        (-0.3, -0.62),
        (-0.62, -0.28),
        (-0.68, 0.12),
        (-0.5, 0.5),
        (-0.14, 0.72),
    ]
    outline += [(0.28, 0.68), (0.58, 0.44), (0.66, 0.28), (0.42, 0.32), (0.12, 0.2), (-0.02, -0.06)]
    outline += [(0.02, -0.4)]
    drawing.fill("body", shapes.blob(outline), color, 2.0)
    for x, y, r in ((-0.42, -0.2, 0.07), (-0.3, 0.44, 0.09), (-0.14, -0.5, 0.05), (0.2, 0.5, 0.06)):
        drawing.mark("body", shapes.ellipse(x, y, r, count=24), shade(color, 0.14), 2.2)
    twinkle = shapes.rounded(shapes.star(0.29, -0.34, 0.16, 0.078), 1)
    tone = (255.0, 240.0, 170.0) if not is_dark(color) else (255.0, 222.0, 110.0)
    drawing.fill("tail", twinkle, mix(tone, light(color, 0.7), 0.3), 1.5, rim=True)
    drawing.pivots["tail"] = (0.29, -0.34)
    drawing.anchors = Anchors(
        top=-0.62, hat_x=-0.14, hat_width=0.8, neck=(0.32, 0.42), hand=(0.48, 0.48), side=0.36
    )
    faces.draw(drawing, Face(x=-0.28, y=0.06, scale=1.0, spacing=0.165, skin=color), expression)


_THINGS = {
    "star": _star,
    "heart": _heart,
    "cloud": _cloud,
    "ghost": _ghost,
    "sun": _sun,
    "cactus": _cactus,
    "robot": _robot,
    "smiley": _smiley,
    "mug": _mug,
    "donut": _donut,
    "moon": _moon,
}
