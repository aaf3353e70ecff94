"""A motion's name and a phase become a pose: key frames on tracks, joined by smooth loops."""

# Eight key frames a track, one a frame of a clip; key 0 is always rest, so that the first frame
# of a clip cannot tell which motion follows, and no two keys of a motion make the same pose.
# Shapes: P poses, K nodes, 5 = (dx, dy, degrees, scale_x, scale_y).

import functools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from minuet.contracts.errors import RequestError
from minuet.stickers.rig import NODE_ID, NODES, Joint, Pose

FIELDS = ("dx", "dy", "degrees", "scale_x", "scale_y")
SIDES = ("left", "right")
SIDED = ("wave", "spin", "shake", "walk", "wobble", "dance")
CENTRED = ("spin", "pulse")  # these turn and grow about the middle of the art, not its feet
REST = np.array([0.0, 0.0, 0.0, 1.0, 1.0])

Keys = tuple[float, float, float, float, float, float, float, float]


@dataclass(frozen=True, slots=True)
class Track:
    """One field of one node over a loop, as it goes toward the right."""

    node: str
    field: str
    keys: Keys
    gain: float = 1.0  # how much of the amplitude it follows; raised arms follow little


def _both(node: str, field: str, keys: Keys, gain: float = 1.0) -> tuple[Track, Track]:
    """The same track on the left node and, mirrored, on the right node."""
    sign = -1.0 if field in ("dx", "degrees") else 1.0
    mirrored: Keys = tuple(sign * key for key in keys)  # type: ignore[assignment]
    return (
        Track(f"{node}_left", field, keys, gain),
        Track(f"{node}_right", field, mirrored, gain),
    )


def _squash(node: str, keys: Keys, give: float = 0.75, gain: float = 1.0) -> tuple[Track, Track]:
    """Taller by the keys and thinner by `give` of them, so that the volume seems to stay."""
    thinner: Keys = tuple(-give * key for key in keys)  # type: ignore[assignment]
    return Track(node, "scale_y", keys, gain), Track(node, "scale_x", thinner, gain)


TRACKS: dict[str, tuple[Track, ...]] = {
    "bounce": (  # a big one, then a small one
        Track("root", "dy", (0, 0, -0.15, -0.23, -0.10, 0, -0.09, 0)),
        *_squash("root", (0, -0.17, 0.08, 0.01, 0.07, -0.13, 0.03, -0.06)),
        *_both("arm", "degrees", (0, -12, 38, 60, 34, -8, 24, -5)),
        *_both("ear", "degrees", (0, 5, -12, -4, 9, 11, -5, 4)),
        *_both("leg", "degrees", (0, 0, 6, 10, 4, 0, 5, 0)),
        Track("tail", "degrees", (0, 10, -14, -6, 12, 14, -8, 5)),
    ),
    "jump": (  # crouch, fly, land
        Track("root", "dy", (0, 0, -0.13, -0.28, -0.33, -0.24, -0.09, 0), 0.8),
        *_squash("root", (0, -0.21, 0.12, 0.05, -0.02, 0.05, 0.08, -0.14), 0.7, 0.8),
        *_both("arm", "degrees", (0, -16, 55, 92, 104, 86, 48, 8), 0.3),
        *_both("leg", "degrees", (0, 4, 2, 20, 30, 18, 4, 2)),
        *_both("ear", "degrees", (0, 8, -14, -10, 4, 12, 14, 6)),
        Track("tail", "degrees", (0, 8, -18, -14, 4, 16, 18, 6)),
    ),
    "wave": (
        Track("arm_right", "degrees", (0, -62, -100, -100, -100, -100, -96, -52), 0.15),
        Track("arm_right", "degrees", (0, 4, -18, 22, -22, 20, -14, 6)),
        Track("arm_left", "degrees", (0, 5, 10, 4, 9, 3, 8, 4)),
        Track("head", "degrees", (0, -3, -7, -4, -8, -3, -6, -2)),
        Track("body", "degrees", (0, -1, -3, -1, -3.5, -1, -2.5, -0.5)),
        Track("root", "dy", (0, 0.01, -0.02, 0, -0.025, 0, -0.02, 0.005)),
        Track("ear_right", "degrees", (0, 4, 9, -2, 8, -4, 6, -2)),
        Track("tail", "degrees", (0, 10, 15, -6, -14, 9, 14, -5)),
    ),
    "spin": (  # pose() adds the turn itself
        Track("root", "scale_x", (0, -0.05, -0.09, -0.12, -0.13, -0.11, -0.08, -0.03), 0.3),
        Track("root", "scale_y", (0, -0.05, -0.09, -0.12, -0.13, -0.11, -0.08, -0.03), 0.3),
        Track("root", "degrees", (0, -7, -5, 2, 6, 5, 3, 1)),
        *_both("arm", "degrees", (0, 10, 18, 22, 20, 16, 10, 4)),
        Track("ear_left", "degrees", (0, -6, -10, -11, -10, -8, -5, -2)),
        Track("ear_right", "degrees", (0, -6, -10, -11, -10, -8, -5, -2)),
        Track("tail", "degrees", (0, -10, -16, -18, -16, -12, -8, -3)),
    ),
    "shake": (  # to and fro twice, the second time less
        Track("root", "dx", (0, 0.12, 0.03, -0.13, -0.06, 0.09, 0.03, -0.07)),
        Track("root", "degrees", (0, 4, -2, -5, 2, 3, -2, -3)),
        Track("head", "degrees", (0, 3, 8, -1, -10, -2, 7, 1)),
        Track("arm_left", "degrees", (0, 4, 16, 2, -14, 0, 12, 2)),
        Track("arm_right", "degrees", (0, -2, 14, 4, -16, -2, 12, 1)),
        Track("ear_left", "degrees", (0, -8, -12, 8, 14, -4, -10, 4)),
        Track("ear_right", "degrees", (0, -8, -12, 8, 14, -4, -10, 4)),
        Track("tail", "degrees", (0, -10, -14, 10, 16, -6, -12, 5)),
    ),
    "pulse": (  # breathe in, swell, settle
        Track("root", "scale_x", (0, -0.12, -0.21, -0.08, 0.06, 0.09, 0.05, 0.015)),
        Track("root", "scale_y", (0, -0.12, -0.21, -0.08, 0.06, 0.09, 0.05, 0.015)),
        *_both("arm", "degrees", (0, -4, -6, 4, 14, 16, 8, 2)),
        *_both("ear", "degrees", (0, 3, 6, 4, -4, -6, -3, -1)),
    ),
    "walk": (
        Track("root", "dx", (0, 0.03, 0.06, 0.05, 0.02, -0.03, -0.06, -0.04)),
        Track("root", "dy", (0, -0.035, -0.05, -0.015, 0.01, -0.03, -0.05, -0.02)),
        Track("root", "degrees", (0, 5, 6, 2, -1, -4, -5, -3)),
        Track("leg_left", "degrees", (0, -22, -32, -18, 4, 22, 28, 12)),
        Track("leg_right", "degrees", (0, 18, 28, 20, -4, -24, -32, -14)),
        Track("leg_left", "dy", (0, 0, 0, 0, 0, -0.05, -0.07, -0.03)),
        Track("leg_right", "dy", (0, -0.05, -0.07, -0.03, 0, 0, 0, 0)),
        Track("arm_left", "degrees", (0, 24, 40, 26, 0, -20, -26, -12)),
        Track("arm_right", "degrees", (0, 20, 26, 14, -6, -32, -40, -18)),
        Track("head", "degrees", (0, -1, -5, -5, -2, 2, 5, 3)),
        *_both("ear", "degrees", (0, 4, -3, -5, 3, 5, -2, -4)),
        Track("tail", "degrees", (0, 8, 15, 12, 0, -10, -15, -8)),
    ),
    "wobble": (
        Track("root", "degrees", (0, 12, 18, 11, -4, -16, -18, -9)),
        *_squash("root", (0, 0.02, -0.02, 0.03, 0.04, 0.01, -0.03, 0.02)),
        Track("head", "degrees", (0, -4, 4, 9, 7, -1, -8, -6)),
        *_both("arm", "degrees", (0, 10, 22, 14, 6, 14, 24, 10)),
        Track("ear_left", "degrees", (0, -6, 3, 9, 8, -2, -9, -5)),
        Track("ear_right", "degrees", (0, -6, 3, 9, 8, -2, -9, -5)),
        Track("tail", "degrees", (0, -12, -14, -2, 12, 16, 8, 3)),
    ),
    "dance": (
        Track("root", "dx", (0, 0.06, 0.09, 0.05, -0.02, -0.08, -0.10, -0.04)),
        Track("root", "dy", (0, -0.07, -0.02, 0.01, -0.01, -0.09, -0.03, 0.005)),
        *_squash("root", (0, 0.04, -0.05, -0.02, 0.01, 0.05, -0.06, -0.02)),
        Track("body", "degrees", (0, 7, 10, 4, -3, -9, -11, -4)),
        Track("head", "degrees", (0, -10, -13, -4, 5, 12, 14, 5)),
        Track("arm_right", "degrees", (0, -52, -104, -66, -5, 12, 18, 6), 0.4),
        Track("arm_left", "degrees", (0, -10, -16, -4, 20, 70, 104, 46), 0.4),
        Track("leg_left", "degrees", (0, 8, 14, 5, 0, 0, 2, 0)),
        Track("leg_right", "degrees", (0, 0, -2, 0, -3, -10, -14, -6)),
        *_both("ear", "degrees", (0, -8, 5, 4, -2, -9, 6, 3)),
        Track("tail", "degrees", (0, 12, 20, 8, -6, -16, -20, -8)),
    ),
    "nod": (  # a deep one, then a small one
        Track("head", "dy", (0, 0.07, 0.12, 0.06, -0.02, 0.05, 0.08, 0.02)),
        *_squash("head", (0, -0.06, -0.11, -0.04, 0.02, -0.03, -0.07, -0.01), 0.4),
        *_squash("body", (0, -0.02, -0.05, -0.02, 0.01, -0.01, -0.03, 0), 0.6),
        Track("eyes", "dy", (0, 0.05, 0.08, 0.03, -0.02, 0.03, 0.05, 0.01)),
        *_both("ear", "degrees", (0, -6, 6, 12, 4, -4, 5, 6)),
        *_both("arm", "degrees", (0, 3, 9, 6, 0, 3, 6, 2)),
    ),
    "cheer": (
        *_both("arm", "degrees", (0, 55, 100, 114, 94, 118, 104, 50), 0.15),
        Track("root", "dy", (0, 0.0, -0.11, -0.02, -0.14, -0.03, -0.08, 0)),
        *_squash("root", (0, -0.10, 0.06, -0.04, 0.08, -0.02, 0.05, -0.05)),
        Track("head", "dy", (0, 0.02, -0.02, 0, -0.025, 0.005, -0.015, 0.01)),
        *_both("leg", "degrees", (0, 0, 9, 2, 13, 3, 7, 0)),
        *_both("ear", "degrees", (0, 6, -10, 3, -8, 4, -6, 5)),
        Track("tail", "degrees", (0, 12, 18, -8, -18, 8, 14, -4)),
    ),
    "blink": (  # a long one, then a quick one
        Track("eyes", "scale_y", (0, -0.45, -0.90, -0.84, -0.05, 0.05, -0.88, -0.3), 0.1),
        Track("eyes", "scale_x", (0, 0.04, 0.10, 0.09, 0, -0.02, 0.10, 0.03)),
        Track("head", "dy", (0, 0.010, 0.025, 0.018, -0.010, -0.014, 0.012, 0.004)),
        *_squash("head", (0, -0.01, -0.035, -0.025, 0.02, 0.03, -0.02, -0.005)),
        *_both("ear", "degrees", (0, 5, 12, 7, -7, -5, 9, 3)),
    ),
}
MOTIONS = tuple(TRACKS)

LIMBLESS_TRACKS: dict[str, tuple[Track, ...]] = {  # told with the whole art, where no arm helps
    "wave": (
        Track("root", "degrees", (0, 9, 19, 7, 20, 6, 16, 5)),
        Track("root", "dy", (0, 0.01, -0.09, -0.01, -0.10, 0, -0.06, 0)),
        *_squash("root", (0, -0.06, 0.05, -0.05, 0.05, -0.04, 0.03, -0.03)),
        Track("head", "degrees", (0, -3, 5, -3, 5, -2, 3, -1)),
    ),
    "walk": (
        Track("root", "degrees", (0, 9, 12, 5, -2, -9, -12, -6)),
        Track("root", "dx", (0, 0.05, 0.09, 0.08, 0.03, -0.05, -0.09, -0.05)),
        Track("root", "dy", (0, -0.06, -0.04, 0, 0.005, -0.05, -0.035, 0)),
        *_squash("root", (0, 0.02, -0.01, -0.05, -0.01, 0.03, 0, -0.04)),
    ),
    "dance": (
        Track("root", "dx", (0, 0.07, 0.11, 0.05, -0.03, -0.09, -0.12, -0.05)),
        Track("root", "degrees", (0, -9, -13, -3, 5, 12, 15, 5)),
        Track("root", "dy", (0, -0.10, -0.01, 0, -0.02, -0.12, -0.02, 0)),
        *_squash("root", (0, 0.09, -0.10, -0.04, 0.02, 0.10, -0.13, -0.05)),
        Track("head", "degrees", (0, 5, 6, -2, -4, -6, -7, -2)),
    ),
    "nod": (
        *_squash("root", (0, -0.10, -0.19, -0.09, 0.04, -0.06, -0.12, -0.03), 0.45),
        Track("head", "dy", (0, 0.03, 0.06, 0.03, -0.01, 0.025, 0.04, 0.01)),
        Track("eyes", "dy", (0, 0.02, 0.04, 0.01, -0.01, 0.015, 0.03, 0.005)),
    ),
    "cheer": (
        Track("root", "dy", (0, 0, -0.14, -0.04, -0.18, -0.06, -0.11, 0)),
        *_squash("root", (0, -0.14, 0.16, -0.02, 0.19, 0.0, 0.12, -0.08)),
        Track("head", "dy", (0, 0.02, -0.03, 0, -0.04, 0, -0.025, 0.01)),
    ),
}
EYELESS_BLINK: tuple[Track, ...] = (
    *_squash("root", (0, -0.09, -0.22, -0.16, 0.05, 0.03, -0.18, -0.05), 0.5),
)


def pose(
    motion: str,
    phase: float,
    amplitude: float = 1.0,
    toward: str = "",
    limbless: bool = False,
    eyeless: bool = False,
) -> Pose:
    """The pose at a phase of the loop, in [0, 1); phase 0 is rest for every motion.

    toward: "left" mirrors a sided motion, anything else is its right-hand form; the others
    ignore it. Raises RequestError for a motion that is not in MOTIONS.
    """
    values = joint_values(motion, (phase % 1.0,), amplitude, toward, limbless, eyeless)[0]
    moved = [k for k in range(len(NODES)) if not np.array_equal(values[k], REST)]
    return {NODES[k]: Joint(**dict(zip(FIELDS, map(float, values[k]), strict=True))) for k in moved}


def joint_values(
    motion: str,
    phases: tuple[float, ...],
    amplitude: float = 1.0,
    toward: str = "",
    limbless: bool = False,
    eyeless: bool = False,
) -> NDArray[np.float64]:
    """Poses as one read-only array (P, K, 5), for many phases at once."""
    check_motion(motion)
    mirror = toward == "left" and motion in SIDED
    return _joints(motion, phases, float(amplitude), mirror, limbless, eyeless)


def check_motion(motion: str) -> None:
    """Raise RequestError unless the motion is known."""
    if motion not in TRACKS:
        known = ", ".join(MOTIONS)
        raise RequestError(f"unknown motion {motion!r}; the motions are {known}")


@functools.lru_cache(maxsize=4096)
def _joints(
    motion: str,
    phases: tuple[float, ...],
    amplitude: float,
    mirror: bool,
    limbless: bool,
    eyeless: bool,
) -> NDArray[np.float64]:
    values = np.tile(REST, (len(phases), len(NODES), 1))
    for track in tracks_of(motion, limbless, eyeless):
        curve = _loop(track.keys, phases) * (1.0 + (amplitude - 1.0) * track.gain)
        values[:, NODE_ID[track.node], FIELDS.index(track.field)] += curve
    if motion == "spin":
        values[:, NODE_ID["root"], 2] += 360.0 * np.asarray(phases)
    values = _mirrored(values) if mirror else values
    values.setflags(write=False)
    return values


def tracks_of(motion: str, limbless: bool, eyeless: bool) -> tuple[Track, ...]:
    """The tracks that tell a motion on art with or without arms and eyes."""
    if motion == "blink" and eyeless:
        return EYELESS_BLINK
    return LIMBLESS_TRACKS.get(motion, TRACKS[motion]) if limbless else TRACKS[motion]


def _loop(keys: Keys, phases: tuple[float, ...]) -> NDArray[np.float64]:
    """A closed Catmull-Rom curve through the keys."""
    at = np.asarray(phases) * len(keys)
    start = np.floor(at).astype(int)
    t = at - start
    before, here, there, after = (
        np.take(np.asarray(keys, float), start + step, mode="wrap") for step in (-1, 0, 1, 2)
    )
    cubic = (there - before) * t + (2 * before - 5 * here + 4 * there - after) * t**2
    return np.asarray(here + 0.5 * (cubic + (3 * here - before - 3 * there + after) * t**3))


def _mirrored(values_PK5: NDArray[np.float64]) -> NDArray[np.float64]:
    """Left for right: swap the paired nodes, turn dx and degrees round."""
    other = [NODE_ID[_other_side(node)] for node in NODES]
    return np.asarray(values_PK5[:, other] * np.array([-1.0, 1.0, -1.0, 1.0, 1.0]))


def _other_side(node: str) -> str:
    stem, _, side = node.rpartition("_")
    return f"{stem}_{'left' if side == 'right' else 'right'}" if side in SIDES else node


def phases_of(frames: int) -> tuple[float, ...]:
    """Evenly spaced phases of one loop."""
    return tuple(frame / frames for frame in range(frames))
