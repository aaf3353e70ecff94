"""A sticker's skeleton: parts bound to nodes, nodes in a tree, one affine a node a frame."""

# Canvas units: x and y in [-1, 1], y down; (0, 0) is the middle. Shapes: K nodes, N points.

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float64]  # (N, 2)
Matrix = NDArray[np.float64]  # (3, 3)
Color = tuple[float, float, float]  # red, green, blue in 0..255

PARENT: dict[str, str | None] = {
    "root": None,
    "body": "root",
    "head": "body",
    "arm_left": "body",  # left and right as the viewer sees them
    "arm_right": "body",
    "leg_left": "root",
    "leg_right": "root",
    "ear_left": "head",
    "ear_right": "head",
    "tail": "body",
    "eyes": "head",
    "accessory": "head",
}
NODES = tuple(PARENT)
NODE_ID = {name: index for index, name in enumerate(NODES)}

BORDER = 0.078  # white around the silhouette


@dataclass(frozen=True, slots=True, kw_only=True)
class Joint:
    """How far a node has moved from rest, about its pivot."""

    dx: float = 0.0
    dy: float = 0.0
    degrees: float = 0.0  # clockwise as seen, since y points down
    scale_x: float = 1.0
    scale_y: float = 1.0


Pose = Mapping[str, Joint]


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One painted shape bound to a node."""

    node: str
    points: Points
    color: Color
    kind: str = "fill"  # fill: closed polygon; line: open stroke; ring: closed stroke
    width: float = 0.0  # stroke width of line and ring, in canvas units
    z: float = 0.0  # painted in rising order
    silhouette: bool = True  # grows the white border and, in the outline styles, has an outline
    shade: bool = True  # may take the gradient style's gradient


@dataclass(frozen=True, slots=True, kw_only=True)
class Rig:
    """A character ready to be posed: parts in painting order and the nodes' pivots."""

    parts: tuple[Part, ...]
    pivots: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    border: float = BORDER  # 0: as an emoji has none

    def matrices(self, pose: Pose) -> dict[str, Matrix]:
        """Rest-to-posed affine of every node (3 x 3, canvas units)."""
        found: dict[str, Matrix] = {}
        for node, parent in PARENT.items():
            local = joint_matrix(pose.get(node, Joint()), self.pivots[node])
            found[node] = found[parent] @ local if parent else local
        return found


def joint_matrix(joint: Joint, pivot: tuple[float, float]) -> Matrix:
    """Scale, turn, then shift about a pivot."""
    cos, sin = math.cos(math.radians(joint.degrees)), math.sin(math.radians(joint.degrees))
    linear = np.array(
        [[cos * joint.scale_x, -sin * joint.scale_y], [sin * joint.scale_x, cos * joint.scale_y]]
    )
    matrix = np.eye(3)
    matrix[:2, :2] = linear
    place = np.asarray(pivot)
    matrix[:2, 2] = place + np.array([joint.dx, joint.dy]) - linear @ place
    return matrix
