"""A rig and a motion become matrices: posed, and fitted into the canvas."""

# Shapes: T frames, P poses, K nodes. A view keeps the art inside the canvas in every motion, and
# is the same for all of them: a sticker at rest must not tell which motion follows.

import functools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from minuet.stickers.motions import CENTRED, MOTIONS, joint_values, phases_of
from minuet.stickers.rig import NODE_ID, NODES, PARENT, Part, Rig

SAFE = 0.975  # how far from the middle the art may come in any motion
LARGEST_VIEW = 1.06
AMPLITUDES = (0.6, 1.0, 1.3)
ARMS = ("arm_left", "arm_right")
LADEN = 0.35  # of its swing is left to an arm that holds something

Matrices = NDArray[np.float64]  # (T, K, 3, 3), rest to canvas


@dataclass(frozen=True, slots=True)
class View:
    """Rig units to the canvas: scale, then shift."""

    scale: float
    x: float
    y: float


def has(rig: Rig, node: str) -> bool:
    """Whether anything is bound to the node."""
    return any(part.node == node for part in rig.parts)


def matrices(
    rig: Rig,
    motion: str,
    amplitude: float,
    toward: str,
    view: View,
    frames: int = 8,
) -> Matrices:
    """Rest-to-canvas affines of every node in every frame (T, K, 3, 3)."""
    limbless, eyeless = _lacks(rig)
    joints = joint_values(motion, phases_of(frames), amplitude, toward, limbless, eyeless)
    return view_matrix(view) @ posed(_laden(joints, rig), pivots(rig, motion in CENTRED))


def _lacks(rig: Rig) -> tuple[bool, bool]:
    """Whether it has no arms, and no eyes."""
    return not (has(rig, "arm_left") or has(rig, "arm_right")), not has(rig, "eyes")


def _laden(joints_PK5: NDArray[np.float64], rig: Rig) -> NDArray[np.float64]:
    """An arm that holds something swings less, or what it holds would hide the face."""
    load = [sum(part.node == arm for part in rig.parts) for arm in ARMS]
    if load[0] == load[1]:
        return joints_PK5
    eased = joints_PK5.copy()
    eased[:, NODE_ID[ARMS[load[1] > load[0]]], 2] *= LADEN
    return eased


def anatomy(rig: Rig, view: View) -> NDArray[np.float64]:
    """What a motion has to know of a sticker at rest, all of it seen in its picture (V,).

    Joints in canvas coordinates, the middle of the art after them (K + 1 pairs); the scale; and 0
    or 1 for: has no arms, has no eyes, holds something in its left hand, in its right.
    """
    points = np.concatenate([pivots(rig, centred=False), centre(rig)[None]])
    places = points * view.scale + np.array([view.x, view.y])
    load = [sum(part.node == arm for part in rig.parts) for arm in ARMS]
    traits = [*_lacks(rig), load[0] > load[1], load[1] > load[0]]
    return np.concatenate([places.ravel(), [view.scale], np.asarray(traits, float)])


def pivots(rig: Rig, centred: bool) -> NDArray[np.float64]:
    """Every node's pivot; centred: the root's is the middle of the art."""
    pivots = np.array([rig.pivots[node] for node in NODES], float)
    if centred:
        pivots[NODE_ID["root"]] = centre(rig)
    return pivots


def centre(rig: Rig) -> NDArray[np.float64]:
    """The middle of the resting art's circle, near enough: half way between its extremes."""
    points = np.concatenate([part.points for part in rig.parts])
    return np.asarray((points.min(0) + points.max(0)) / 2)


def posed(joints_PK5: NDArray[np.float64], pivots_K2: NDArray[np.float64]) -> Matrices:
    """Joints become affines (P, K, 3, 3): each node's own, under its parent's."""
    local = _local(joints_PK5, pivots_K2)
    for k, node in enumerate(NODES):  # parents come first
        parent = PARENT[node]
        if parent is not None:
            local[:, k] = local[:, NODE_ID[parent]] @ local[:, k]
    return local


def _local(joints_PK5: NDArray[np.float64], pivots_K2: NDArray[np.float64]) -> Matrices:
    dx, dy, degrees, scale_x, scale_y = np.moveaxis(joints_PK5, -1, 0)
    cos, sin = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    matrix = np.zeros((*degrees.shape, 3, 3))
    matrix[..., 0, 0], matrix[..., 0, 1] = cos * scale_x, -sin * scale_y
    matrix[..., 1, 0], matrix[..., 1, 1] = sin * scale_x, cos * scale_y
    turned = np.einsum("pkij,kj->pki", matrix[..., :2, :2], pivots_K2)
    matrix[..., :2, 2] = pivots_K2 + np.stack([dx, dy], -1) - turned
    matrix[..., 2, 2] = 1.0
    return matrix


def view_matrix(view: View) -> NDArray[np.float64]:
    """The view as a 3 x 3 affine."""
    return np.array([[view.scale, 0, view.x], [0, view.scale, view.y], [0, 0, 1.0]])


def fit(rig: Rig, zoom: float = 1.0, slide: tuple[float, float] = (0.0, 0.0)) -> View:
    """The largest view in which no motion leaves the canvas, times zoom in (0, 1].

    slide, each in [-1, 1], uses up the room that is left on each axis.
    """
    low, high = extent(rig)
    scale = min(LARGEST_VIEW, float((2 * SAFE / (high - low)).min())) * zoom
    spare = np.maximum(0.0, SAFE - scale * (high - low) / 2)
    x, y = -scale * (low + high) / 2 + spare * np.asarray(slide)
    return View(scale, float(x), float(y))


def extent(rig: Rig) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Least and greatest x and y that the bordered art reaches in any motion at any amplitude."""
    feet, middle = (_laden(joints, rig) for joints in _all_joints(*_lacks(rig)))
    affines = [posed(feet, pivots(rig, False)), posed(middle, pivots(rig, True))]
    matrices_PK33 = np.concatenate(affines)
    low, high = np.full(2, np.inf), np.full(2, -np.inf)
    for k, points in _outlines(rig).items():
        for axis in (0, 1):
            row = matrices_PK33[:, k, axis]
            moved = row[:, :2] @ points.T + row[:, 2:]
            low[axis] = min(low[axis], moved.min())
            high[axis] = max(high[axis], moved.max())
    return low - rig.border, high + rig.border


@functools.cache
def _all_joints(limbless: bool, eyeless: bool) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Every pose there is: of the motions about the feet, and of those about the middle."""
    found: tuple[list[NDArray[np.float64]], list[NDArray[np.float64]]] = ([], [])
    for motion in MOTIONS:
        for amplitude in AMPLITUDES:
            for side in ("left", "right"):
                joints = joint_values(motion, phases_of(8), amplitude, side, limbless, eyeless)
                found[motion in CENTRED].append(joints)
    return (
        np.unique(np.concatenate(found[0]), axis=0),
        np.unique(np.concatenate(found[1]), axis=0),
    )


_DIRECTIONS = np.stack(
    [np.cos(np.arange(16) * np.pi / 8), np.sin(np.arange(16) * np.pi / 8)]
)  # (2, 16)


def _outlines(rig: Rig) -> dict[int, NDArray[np.float64]]:
    """Of every node, the outermost points in sixteen directions."""
    found: dict[int, list[NDArray[np.float64]]] = {}
    for part in rig.parts:
        found.setdefault(NODE_ID[part.node], []).append(_grown(part))
    stacked = {k: np.concatenate(points) for k, points in found.items()}
    return {k: p[np.unique((p @ _DIRECTIONS).argmax(0))] for k, p in stacked.items()}


def _grown(part: Part) -> NDArray[np.float64]:
    if part.kind == "fill":
        return part.points
    away = part.width / 2 * _DIRECTIONS.T[::4]
    return (part.points[:, None] + away).reshape(-1, 2)


def closed(part: Part) -> bool:
    """Whether the part's outline returns to its start."""
    return part.kind != "line"


def border_width(rig: Rig, part: Part) -> float:
    """The whole width of the white stroke under a part; 0 for none."""
    if not part.silhouette or not rig.border:
        return 0.0
    return 2 * rig.border + (part.width if part.kind != "fill" else 0.0)


def gradient_ends(part: Part) -> tuple[tuple[float, float], tuple[float, float]]:
    """Where a gradient starts and ends: down the part, a little to the right."""
    (x0, y0), (_, y1) = part.points.min(0).tolist(), part.points.max(0).tolist()
    return (x0, y0), (x0 + 0.2 * (y1 - y0), max(y1, y0 + 1e-3))


def pixel_affines(matrices: Matrices, size: int) -> NDArray[np.float64]:
    """Rest to pixel coordinates (T, K, 9): the canvas's -1..1 becomes 0..size."""
    half = size / 2
    to_pixels = np.array([[half, 0, half], [0, half, half], [0, 0, 1.0]])
    return np.asarray((to_pixels @ matrices).reshape(*matrices.shape[:2], 9))
