"""Straight RGBA bytes -> what is seen of them, and how it moves around the loop."""

# Shapes: T frames, H rows, W columns, C = 4 channels (red, green, blue, alpha).

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

STILL = 1e-4  # mean change a frame below which nothing moves


def premultiplied(straight: NDArray[np.uint8]) -> Floats:
    """Straight uint8 (..., C) -> premultiplied float32 in 0..1: invisible colours do not count."""
    frames = straight.astype(np.float32) / np.float32(255)
    frames[..., :3] *= frames[..., 3:]
    return frames


def change(frames_THWC: Floats) -> float:
    """Mean absolute change from frame to frame around the loop."""
    return float(np.abs(frames_THWC - np.roll(frames_THWC, 1, axis=0)).mean())


def seam(frames_THWC: Floats) -> float:
    """The loop's last step over its mean step; 1 where nothing moves.

    A loop that closes has a seam like its other steps. Between 0 and T: the last step is part of
    the mean, so that a clip that only jumps at its end is no infinity.
    """
    last = float(np.abs(frames_THWC[-1] - frames_THWC[0]).mean())
    mean = change(frames_THWC)
    return last / mean if mean > STILL else 1.0
