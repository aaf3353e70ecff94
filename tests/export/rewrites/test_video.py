"""A convolution over video is one over frames."""

from typing import Any

import pytest
from torch import nn

from minuet.export.rewrites.video import FrameConvolutions
from tests.export.rewrites.rewriting import random, rewriting

KINDS: dict[str, dict[str, Any]] = {
    "patches": {"kernel_size": (1, 2, 2), "stride": (1, 2, 2)},
    "causal": {"kernel_size": (3, 3, 3), "padding": (0, 1, 1)},
    "padded": {"kernel_size": 3, "padding": 1},
    "strided": {"kernel_size": (3, 1, 1), "stride": (2, 1, 1), "padding": (1, 0, 0)},
    "dilated": {"kernel_size": (2, 3, 3), "dilation": (3, 1, 1), "bias": False},
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_convolution_over_video_is_one_over_frames(kind: str) -> None:
    done = rewriting(
        lambda self, x: self.conv(x),
        (random(2, 3, 7, 6, 8),),
        FrameConvolutions(),
        conv=nn.Conv3d(3, 4, **KINDS[kind]),
    )
    done.assert_equal()
    assert (done.count("conv2d"), done.count("conv3d")) == (1, 0)


def test_a_convolution_in_groups_is_refused() -> None:
    conv = nn.Conv3d(4, 4, 3, groups=2)
    done = rewriting(
        lambda self, x: self.conv(x), (random(1, 4, 4, 4, 4),), FrameConvolutions(), conv=conv
    )
    (place,) = done.log.refused
    assert place.refusal is not None and "2 groups" in place.refusal.reason
