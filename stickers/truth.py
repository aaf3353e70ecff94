"""Part numbers and matrices become exact flow: where every pixel of a frame was in frame 0."""

# Shapes: T frames, K nodes, H = W = size; (K, 2, 3) affines act on (x, y, 1). Coordinates are
# normalised: x = (2 column + 1) / size - 1, y down, as with align_corners=False.

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from minuet.contracts.errors import MissingBackendError
from minuet.stickers.view import Matrices


@dataclass(frozen=True, slots=True, kw_only=True)
class Truth:
    """A clip and everything known about its motion."""

    frames_THWC: NDArray[np.uint8]  # straight alpha
    part_THW: NDArray[np.int16]  # the node of every pixel; outside, of the nearest sticker pixel
    mask_THW: NDArray[np.bool_]  # the sticker with its white border
    affine_TK23: NDArray[np.float32]  # of every node, from frame t back to frame 0
    flow_THW2: NDArray[np.float32]  # (x, y) to add to a pixel's place to find it in frame 0


def truth(
    frames_THWC: NDArray[np.uint8], parts_THW: NDArray[np.int16], matrices: Matrices
) -> Truth:
    """The truth of rendered frames; parts are -1 outside, matrices lead from rest to canvas.

    Raises MissingBackendError where SciPy, which finds the nearest parts, is not installed.
    """
    part_THW = spread(parts_THW)
    affine_TK23 = backward(matrices)
    return Truth(
        frames_THWC=frames_THWC,
        part_THW=part_THW,
        mask_THW=parts_THW >= 0,
        affine_TK23=affine_TK23.astype(np.float32),
        flow_THW2=flow(affine_TK23, part_THW),
    )


def backward(matrices: Matrices) -> NDArray[np.float64]:
    """From every frame back to frame 0, for every node (T, K, 2, 3)."""
    return np.asarray((matrices[:1] @ np.linalg.inv(matrices))[..., :2, :])


def spread(parts_THW: NDArray[np.int16]) -> NDArray[np.int16]:
    """Give every outside pixel the number of the nearest sticker pixel of its frame.

    The border and the uncovered background so move with the part they belong to.
    """
    edt = _distance_transform()
    found = parts_THW.copy()
    for frame, outside in zip(found, parts_THW < 0, strict=True):
        rows, columns = edt(outside, return_distances=False, return_indices=True)
        frame[:] = frame[rows, columns]
    return found


def flow(affine_TK23: NDArray[np.float64], part_THW: NDArray[np.int16]) -> NDArray[np.float32]:
    """affine_part(p) - p at every pixel centre (T, H, W, 2)."""
    places = pixel_places(part_THW.shape[-1])
    steps = affine_TK23 - np.eye(2, 3)
    chosen = steps[np.arange(len(steps))[:, None, None], part_THW]  # (T, H, W, 2, 3)
    x, y = places[..., 0, None], places[..., 1, None]
    moved = chosen[..., 0] * x + chosen[..., 1] * y + chosen[..., 2]
    return np.asarray(moved, np.float32)


@functools.cache
def pixel_places(size: int) -> NDArray[np.float64]:
    """The normalised (x, y) of every pixel centre (H, W, 2), read-only."""
    at = (2.0 * np.arange(size) + 1.0) / size - 1.0
    places = np.stack(np.meshgrid(at, at), -1)
    places.setflags(write=False)
    return places


def _distance_transform() -> Callable[..., Any]:
    try:
        from scipy.ndimage import distance_transform_edt
    except ImportError as error:
        raise MissingBackendError(
            "exact flow needs SciPy to find the nearest parts, and it is not installed; "
            "install scipy"
        ) from error
    found: Callable[..., Any] = distance_transform_edt
    return found
