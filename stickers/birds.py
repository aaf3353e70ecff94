"""A bird's name becomes one tall body with wings, a beak and orange feet."""

from minuet.stickers import faces, shapes
from minuet.stickers.drawing import Anchors, Drawing
from minuet.stickers.faces import Face
from minuet.stickers.limbs import SIDES
from minuet.stickers.palette import WHITE, light, shade
from minuet.stickers.rig import Color

BEAK: Color = (252.0, 164.0, 56.0)
BIRDS = ("chick", "penguin", "owl")


def draw_bird(drawing: Drawing, name: str, color: Color, expression: str) -> None:
    """A tall round bird with flippers and orange feet."""
    right = [(0.0, -0.6), (0.36, -0.48), (0.51, -0.08), (0.48, 0.42), (0.3, 0.68), (0.0, 0.73)]
    drawing.fill("body", shapes.blob(shapes.both_sides(right)), color, 2.0)
    drawing.anchors = Anchors(top=-0.55, neck=(0.46, 0.24), side=0.48)
    {"chick": _chick, "penguin": _penguin, "owl": _owl}[name](drawing, color)
    _wings(drawing, color)
    _claws(drawing)
    eye_skin = {"penguin": WHITE, "owl": light(color, 0.75)}.get(name, color)
    skin = WHITE if name == "penguin" else color
    face = Face(y=-0.16, scale=1.15, skin=skin, eye_skin=eye_skin, beak=True)
    faces.draw(drawing, face, expression)
    _beak(drawing, expression)
    drawing.anchors.mouth = (0.0, -0.01)


def _wings(drawing: Drawing, color: Color) -> None:
    outline = [(0.4, 0.02), (0.5, 0.04), (0.64, 0.26), (0.64, 0.42), (0.54, 0.42), (0.42, 0.24)]
    for side, name in SIDES:
        node = f"arm_{name}"
        drawing.pivots[node] = (side * 0.43, 0.08)
        wing = shapes.blob([(side * x, y) for x, y in outline])
        drawing.fill(node, wing, shade(color, 0.22), 9.2, rim=True)
    drawing.anchors.hand = (0.6, 0.37)
    drawing.anchors.hand_radius = 0.07
    drawing.anchors.hand_color = shade(color, 0.22)


def _claws(drawing: Drawing) -> None:
    toes = [(-0.15, 0.79), (-0.1, 0.67), (0.1, 0.67), (0.15, 0.79), (0.05, 0.82), (-0.05, 0.82)]
    for side, name in SIDES:
        node = f"leg_{name}"
        drawing.pivots[node] = (side * 0.17, 0.66)
        drawing.fill(node, shapes.blob([(side * 0.17 + x, y) for x, y in toes], 4), BEAK, 1.0)
    drawing.pivots["root"] = (0.0, 0.82)


def _beak(drawing: Drawing, expression: str) -> None:
    if expression in ("joy", "love", "surprised"):
        below = [(-0.07, -0.03), (0.07, -0.03), (0.0, 0.09)]
        drawing.mark("head", shapes.rounded(below, 3), (206.0, 84.0, 58.0), 7.5)
    above = [(-0.105, -0.055), (0.105, -0.055), (0.0, 0.055)]
    if expression in ("sad", "angry"):
        above = [(-0.08, 0.02), (0.08, 0.02), (0.0, -0.085)]
    drawing.mark("head", shapes.rounded(above, 3), BEAK, 7.6)


def _chick(drawing: Drawing, color: Color) -> None:
    tuft = [
        (-0.05, -0.56),
        (-0.13, -0.7),
        (-0.01, -0.67),
        (0.06, -0.8),
        (0.09, -0.66),
        (0.19, -0.67),
        (0.07, -0.55),
    ]
    since = len(drawing.parts)
    drawing.fill("head", shapes.blob(tuft), color, 1.9)
    drawing.topper(since)
    drawing.mark("body", shapes.ellipse(0, 0.38, 0.3, 0.29), light(color, 0.55), 2.2)


def _penguin(drawing: Drawing, color: Color) -> None:
    for side in (-1.0, 1.0):
        drawing.mark("body", shapes.ellipse(side * 0.18, -0.15, 0.235, 0.26), WHITE, 2.2)
    drawing.mark("body", shapes.ellipse(0, 0.28, 0.36, 0.41), WHITE, 2.2)


def _owl(drawing: Drawing, color: Color) -> None:
    drawing.mark("body", shapes.ellipse(0, 0.37, 0.32, 0.31), light(color, 0.58), 2.2, shade=True)
    for row in range(3):
        count = 3 - row % 2
        for column in range(count):
            x = 0.15 * (column - 0.5 * (count - 1))
            feather = shapes.arc(x, 0.25 + 0.12 * row, 0.058, 0.052, 10, 170, count=8)
            drawing.line("body", feather, shade(color, 0.12), 0.032, 2.3)
    for side, name in SIDES:
        drawing.mark("body", shapes.ellipse(side * 0.215, -0.15, 0.24), light(color, 0.75), 2.2)
        tuft = [(side * 0.5, -0.26), (side * 0.47, -0.76), (side * 0.06, -0.56)]
        drawing.pivots[f"ear_{name}"] = (side * 0.34, -0.46)
        drawing.fill(f"ear_{name}", shapes.rounded(tuft, 3), color, 1.9)
