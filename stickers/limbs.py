"""Arms and legs: capsules that hang at the side, with a faint edge to part them from the body."""

from minuet.stickers import shapes
from minuet.stickers.drawing import Drawing
from minuet.stickers.palette import shade
from minuet.stickers.rig import Color

SIDES = ((-1.0, "left"), (1.0, "right"))
ARM_Z = 9.2  # above the face, so that a waving arm is never lost behind a head


def arms(
    drawing: Drawing,
    color: Color,
    *,
    x: float = 0.25,
    y: float = 0.35,
    reach: tuple[float, float] = (0.15, 0.2),
    radius: float = 0.085,
) -> None:
    """Two arms from shoulders at (+-x, y); also says where the right hand is."""
    for side, name in SIDES:
        node = f"arm_{name}"
        shoulder = (side * x, y)
        hand = (side * (x + reach[0]), y + reach[1])
        drawing.pivots[node] = shoulder
        arm = shapes.capsule(shoulder, hand, radius * 0.9, radius)
        drawing.fill(node, arm, color, ARM_Z, rim=True)
    drawing.anchors.hand = (x + reach[0], y + reach[1])
    drawing.anchors.hand_radius = radius
    drawing.anchors.hand_color = color


def legs(
    drawing: Drawing,
    color: Color,
    *,
    x: float = 0.15,
    y: float = 0.64,
    length: float = 0.1,
    radius: float = 0.09,
    foot: Color | None = None,
    z: float = 1.0,
) -> None:
    """Two short legs with feet turned a little outwards."""
    for side, name in SIDES:
        node = f"leg_{name}"
        drawing.pivots[node] = (side * x, y)
        leg = shapes.capsule((side * x, y - 0.02), (side * x, y + length), radius)
        drawing.fill(node, leg, color, z)
        sole = shapes.ellipse(
            side * (x + 0.025), y + length + 0.035, radius * 1.38, radius * 0.86, count=28
        )
        drawing.fill(node, sole, foot or color, z + 0.1, rim=True)
    drawing.pivots["root"] = (0.0, y + length + 0.1)


def limbs(
    drawing: Drawing,
    color: Color,
    *,
    arm_x: float,
    arm_y: float,
    leg_x: float,
    leg_y: float,
    leg_z: float = 1.0,
    foot: Color | None = None,
) -> None:
    """Small arms and legs for food and things, a shade apart from the body."""
    limb = shade(color, 0.28)
    arms(drawing, limb, x=arm_x, y=arm_y, reach=(0.13, 0.19), radius=0.078)
    legs(drawing, limb, x=leg_x, y=leg_y, radius=0.08, foot=foot, z=leg_z)
