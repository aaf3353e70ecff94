"""Bricks against torch's own operators."""

import pytest
import torch
from torch import nn
from torch.nn.functional import scaled_dot_product_attention
from torch.testing import assert_close

from minuet.models.layers import (
    Attention,
    ChannelNorm,
    Frequencies,
    ResBlock,
    SpaceTimeAttention,
    TemporalConv,
    attend,
)
from tests.models.tiny import shaken


def test_attend_is_unscaled_attention() -> None:
    q, k, v = torch.randn(3, 2, 5, 8).unbind()
    heads = [x.reshape(2, 5, 4, 2).transpose(1, 2) for x in (q, k, v)]
    expected = scaled_dot_product_attention(heads[0], heads[1], heads[2], scale=1.0)
    expected = expected.transpose(1, 2).reshape(2, 5, 8)
    assert_close(attend(q, k, v, heads=4), expected)


def test_channel_norm_gives_every_pixel_mean_zero_and_variance_one() -> None:
    y = ChannelNorm(6)(torch.randn(2, 6, 3, 3) * 5 + 2)
    assert_close(y.mean(1), torch.zeros(2, 3, 3), atol=1e-5, rtol=0)
    assert_close(y.var(1, unbiased=False), torch.ones(2, 3, 3), atol=1e-3, rtol=0)


def test_temporal_conv_is_a_circular_three_frame_convolution() -> None:
    brick = TemporalConv(4, frames=5)
    shaken(brick)
    x = torch.randn(10, 4, 2, 2)
    inside = nn.functional.silu(brick.norm(x)).reshape(2, 5, 4, 2, 2).transpose(1, 2)
    # (out, 3 * in) -> (out, in, 3): the concatenation is before, now, after.
    kernel = brick.mix.weight[:, :, 0, 0].reshape(4, 3, 4).permute(0, 2, 1)[..., None, None]
    looped = torch.cat([inside[:, :, -1:], inside, inside[:, :, :1]], dim=2)
    expected = nn.functional.conv3d(looped, kernel, brick.mix.bias)
    assert_close(brick(x), x + expected.transpose(1, 2).reshape(10, 4, 2, 2))


def test_new_blocks_change_nothing() -> None:
    x, film, text = torch.randn(8, 6, 4, 4), torch.randn(8, 5), torch.randn(2, 3, 7)
    assert_close(ResBlock(6, 6, film=5, frames=4)(x, film), x)
    assert_close(SpaceTimeAttention(6, 2, side=4, frames=4, text=7)(x, text), x)


def test_a_clips_words_reach_its_own_frames_only() -> None:
    brick = Attention(8, heads=2, tokens=3, text=5)
    shaken(brick)
    x, text = torch.randn(6, 3, 8), torch.randn(2, 4, 5)
    other = text.clone()
    other[1] += 1
    changed = (brick(x, text) - brick(x, other)).abs().amax((1, 2)) > 1e-6
    assert changed.tolist() == [False, False, False, True, True, True]


def test_frames_of_one_clip_do_not_see_another_clip() -> None:
    brick = SpaceTimeAttention(8, heads=2, side=2, frames=3, text=5)
    shaken(brick)
    x, text = torch.randn(6, 8, 2, 2), torch.randn(2, 4, 5)
    other = x.clone()
    other[4] += torch.randn(8, 2, 2)  # a constant would vanish in the norm
    changed = (brick(x, text) - brick(other, text)).abs().amax((1, 2, 3)) > 1e-6
    assert changed.tolist() == [False, False, False, True, True, True]


@pytest.mark.parametrize("level", [0.0, 0.25, 1.0])
def test_frequencies_are_sines_and_cosines(level: float) -> None:
    brick = Frequencies(8)
    y = brick(torch.tensor([level]))
    assert_close(y[:, :4] ** 2 + y[:, 4:] ** 2, torch.ones(1, 4))
    assert_close(brick.freqs, 100 * torch.exp(torch.tensor([0.0, -2.0, -4.0, -6.0])))
    assert "freqs" not in brick.state_dict()
