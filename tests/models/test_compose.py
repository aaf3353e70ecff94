"""Warp, part motions and composition against plain loops."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch.testing import assert_close

from minuet.models import compose as composing
from minuet.models.compose import Fields, compose, flow_from_parts, premultiply, unpremultiply


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def fields(side: int = 8, n: int = 3, parts: int = 4) -> Fields:
    return Fields(
        affine_NK6=random(n, parts, 6) * 0.1,
        parts_NKHW=random(n, parts, side, side),
        dense_N2HW=random(n, 2, side, side),
        gate_N1HW=random(n, 1, side, side),
        paint_NCHW=random(n, 4, side, side, seed=1),
    )


def bilinear(image_CHW: NDArray[np.float64], x: float, y: float) -> NDArray[np.float64]:
    """The value at normalised (x, y): pixel centres at (2 i + 1) / S - 1, zero outside."""
    side = image_CHW.shape[-1]
    column, row = ((place + 1) * side / 2 - 0.5 for place in (x, y))
    total = np.zeros(len(image_CHW))
    for i in (int(np.floor(row)), int(np.floor(row)) + 1):
        for j in (int(np.floor(column)), int(np.floor(column)) + 1):
            if 0 <= i < side and 0 <= j < side:
                total += image_CHW[:, i, j] * (1 - abs(row - i)) * (1 - abs(column - j))
    return total


def test_warp_is_bilinear_sampling_at_each_pixels_source() -> None:
    image, flow = random(2, 4, 6, 6), random(2, 2, 6, 6, seed=1) * 0.4
    moved = composing.warp(image, flow).numpy()
    for n, i, j in np.ndindex(2, 6, 6):
        x = (2 * j + 1) / 6 - 1 + float(flow[n, 0, i, j])
        y = (2 * i + 1) / 6 - 1 + float(flow[n, 1, i, j])
        expected = bilinear(image[n].double().numpy(), x, y)
        np.testing.assert_allclose(moved[n, :, i, j], expected, atol=1e-5)


def test_a_crisp_warp_is_shifted_linear_interpolation() -> None:
    from scipy.signal import lfilter

    image, flow = random(1, 4, 24, 24), random(1, 2, 24, 24, seed=1) * 0.2
    moved = composing.warp_crisp(composing.crisp(image), flow).numpy()
    shift, knots = composing.SHIFT, image[0].double().numpy()
    for axis in (1, 2):
        knots = lfilter([1 / (1 - shift)], [1.0, shift / (1 - shift)], knots, axis=axis)
    for i, j in np.ndindex(24, 24):
        x = (2 * (j - shift) + 1) / 24 - 1 + float(flow[0, 0, i, j])
        y = (2 * (i - shift) + 1) / 24 - 1 + float(flow[0, 1, i, j])
        np.testing.assert_allclose(moved[0, :, i, j], bilinear(knots, x, y), rtol=1e-5, atol=1e-5)


def test_half_a_pixel_aside_a_crisp_warp_keeps_what_a_bilinear_one_blurs() -> None:
    stripes = (torch.arange(32) % 4 < 2).float().expand(1, 4, 32, 32).contiguous()
    flow = torch.zeros(1, 2, 32, 32)
    flow[:, 0] = 1 / 32
    inner = (..., slice(8, -8), slice(8, -8))
    crisp = composing.warp_crisp(composing.crisp(stripes), flow)[inner].std()
    blurred = composing.warp(stripes, flow)[inner].std()
    assert 1.25 * blurred < crisp <= 1.05 * stripes[inner].std()


def test_flow_from_parts_mixes_the_parts_motions_by_their_weights() -> None:
    affine, weights = random(2, 3, 6), random(2, 3, 4, 4, seed=1).exp()
    flow = flow_from_parts(affine, weights)
    for n, i, j in np.ndindex(2, 4, 4):
        place = torch.tensor([(2 * j + 1) / 4 - 1, (2 * i + 1) / 4 - 1, 1.0])
        share = weights[n, :, i, j] / weights[n, :, i, j].sum()
        each = torch.stack([affine[n, k].reshape(2, 3) @ place for k in range(3)])
        assert_close(flow[n, :, i, j], (share[:, None] * each).sum(0))


def test_no_motion_and_an_open_gate_give_the_sticker_back_at_any_size() -> None:
    still = fields() * 0.0
    opened = Fields(
        affine_NK6=still.affine_NK6,
        parts_NKHW=still.parts_NKHW,
        dense_N2HW=still.dense_N2HW,
        gate_N1HW=still.gate_N1HW + 20,
        paint_NCHW=still.paint_NCHW,
    )
    for side in (8, 16, 512):
        sticker = random(1, 4, side, side).sigmoid()
        frames = compose(sticker, opened, 3)
        assert_close(frames, sticker.expand(3, -1, -1, -1), atol=1e-4, rtol=0)


def test_a_closed_gate_gives_the_paint() -> None:
    f = fields()
    shut = Fields(
        affine_NK6=f.affine_NK6,
        parts_NKHW=f.parts_NKHW,
        dense_N2HW=f.dense_N2HW,
        gate_N1HW=f.gate_N1HW * 0 - 30,
        paint_NCHW=f.paint_NCHW,
    )
    assert_close(compose(random(1, 4, 8, 8), shut, 3), f.paint_NCHW)


def test_frames_of_a_clip_are_made_from_that_clips_sticker() -> None:
    still = fields(n=4) * 0.0
    stickers = torch.stack([torch.zeros(4, 8, 8), torch.ones(4, 8, 8)])
    frames = compose(stickers, still, 2)
    assert_close(frames.mean((1, 2, 3)), torch.tensor([0.0, 0.0, 0.5, 0.5]), atol=1e-6, rtol=0)


def test_a_shift_moves_as_far_at_a_large_size_as_at_a_small_one() -> None:
    f = fields(n=1, parts=1) * 0.0
    f.affine_NK6[0, 0, 2] = 0.25
    for side in (8, 64, 512):
        flow = composing.total_flow(f, side)
        assert_close(flow[:, 0], torch.full((1, side, side), 0.25))
        assert_close(flow[:, 1], torch.zeros(1, side, side))


def test_flow_stays_finite_in_half_precision_whatever_the_logits() -> None:
    f = fields(parts=12)
    huge = torch.full_like(f.parts_NKHW, 1e4)
    flow = flow_from_parts(f.affine_NK6.half(), composing.part_weights(huge.half()))
    assert flow.isfinite().all()


def test_fields_add_and_scale_every_member() -> None:
    f = fields()
    twice, double = f + f, f * 2.0
    assert_close(twice.paint_NCHW, double.paint_NCHW)
    assert_close(twice.affine_NK6, 2 * f.affine_NK6)
    assert_close(twice.gate_N1HW, double.gate_N1HW)


def test_straight_alpha_survives_a_round_trip_where_anything_is_seen() -> None:
    image = random(1, 4, 8, 8).sigmoid()
    assert_close(unpremultiply(premultiply(image)), image)
    image[:, 3] = 0
    assert unpremultiply(premultiply(image)).abs().max() == 0


@pytest.mark.parametrize("side", [64, 256])
def test_rendering_is_composing_and_giving_straight_alpha_back(side: int) -> None:
    f = fields(parts=12)
    first = torch.zeros(1, dtype=torch.long)
    f.affine_NK6[first] = 0.0
    f.dense_N2HW[first] = 0.0
    f.gate_N1HW[first] = 20.0
    image = torch.rand(1, 4, side, side, generator=torch.Generator().manual_seed(3))
    sticker = premultiply(image)
    slow = unpremultiply(composing.compose(sticker, f, len(f.affine_NK6)).clamp(0, 1)) * 255
    quick = composing.render(image, sticker, f)
    assert torch.equal(quick[0], (image[0] * 255 + 0.5).to(torch.uint8))
    seen = slow[1:, 3] > 8
    apart = (quick[1:].float() - slow[1:]).abs().amax(1)[seen]
    assert apart.median() <= 1.0


def test_a_decided_gate_is_open_or_shut() -> None:
    f = fields()
    sure = composing.decided(f)
    assert torch.equal(sure.parts_NKHW, f.parts_NKHW)
    before, after = f.gate_N1HW.sigmoid(), sure.gate_N1HW.sigmoid()
    doubt = torch.minimum(after, 1 - after).mean()
    assert doubt < 0.5 * torch.minimum(before, 1 - before).mean()
    assert bool((after[before > 0.5] > before[before > 0.5]).all())


def test_decided_paint_is_there_or_not_and_keeps_its_colour() -> None:
    alpha = torch.tensor([0.05, 0.3, 0.5, 0.62, 0.9]).reshape(5, 1, 1, 1).expand(5, 1, 8, 8)
    colour = torch.tensor([0.2, 0.6, 1.0]).reshape(1, 3, 1, 1)
    f = replace(fields(n=5), paint_NCHW=torch.cat([colour * alpha, alpha], dim=1))
    paint = composing.decided(f).paint_NCHW
    expected = torch.tensor([0.0, 0.0, 0.5, 0.98, 1.0])
    assert_close(paint[:, 3, 0, 0], expected, atol=1e-6, rtol=0)
    assert_close(paint[2:, :3] / paint[2:, 3:], colour.expand(3, 3, 8, 8))
