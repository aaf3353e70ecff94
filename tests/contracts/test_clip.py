"""A clip holds frames of one kind, and its hash is that of what is seen and said."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from minuet.contracts.clip import Clip


def frames() -> NDArray[np.uint8]:
    return np.random.default_rng(1).integers(0, 256, (8, 6, 5, 4), dtype=np.uint8)


CLIP = Clip(frames_THWC=frames(), caption="a cat waves", motion="wave", seed=3)


def test_the_hash_sees_frames_caption_and_motion() -> None:
    changed = frames()
    changed[7, 5, 4, 3] ^= 1
    others = [
        replace(CLIP, frames_THWC=changed),
        replace(CLIP, frames_THWC=frames().transpose(0, 2, 1, 3)),
        replace(CLIP, frames_THWC=frames().reshape(8, 5, 6, 4)),
        replace(CLIP, caption="a cat waved"),
        replace(CLIP, motion="walk"),
    ]
    assert len({CLIP.sha256, *(other.sha256 for other in others)}) == 6


def test_the_hash_does_not_see_where_a_clip_comes_from_or_how_it_lies_in_memory() -> None:
    strided = np.asfortranarray(frames())
    told = replace(CLIP, frames_THWC=strided, source="x", seed=9, kept_by="y", scores={"z": 1.0})
    assert told.sha256 == CLIP.sha256


@pytest.mark.parametrize(
    "wrong",
    [
        np.zeros((8, 6, 5, 3), np.uint8),
        np.zeros((6, 5, 4), np.uint8),
        np.zeros((8, 6, 5, 4), np.float32),
    ],
    ids=["no alpha", "one frame", "floats"],
)
def test_other_frames_are_refused_with_their_shape(wrong: NDArray[np.uint8]) -> None:
    with pytest.raises(ValueError, match=r"uint8 of shape \(T, H, W, 4\), got "):
        replace(CLIP, frames_THWC=wrong)
