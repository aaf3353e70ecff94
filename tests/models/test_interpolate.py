"""Frames between frames: beside the true ones, and beside what plain averaging gives."""

import math

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from minuet.contracts.errors import RequestError
from minuet.models.compose import Fields, compose, grid
from minuet.models.interpolate import between, filled, middle
from tests.models.test_denoiser import inputs
from tests.models.tiny import denoiser

SIDE = 48


def art(x: float = 0.0, y: float = 0.0, turn: float = 0.0) -> Tensor:
    """Flat art with soft edges, premultiplied: a disc, two spots, a bar, moved and turned."""
    places = grid(SIDE)[:2]
    px, py = places[0] - 2 * x / SIDE, places[1] - 2 * y / SIDE
    cos, sin = math.cos(turn), math.sin(turn)
    px, py = cos * px + sin * py, -sin * px + cos * py

    def disc(cx: float, cy: float, radius: float) -> Tensor:
        far = ((px - cx) ** 2 + (py - cy) ** 2).sqrt()
        return torch.sigmoid((radius - far) * SIDE)

    def bar() -> Tensor:
        far = torch.maximum((px - 0.05).abs() - 0.3, (py - 0.2).abs() - 0.06)
        return torch.sigmoid(-far * SIDE)

    body, eyes = disc(0, 0, 0.55), disc(-0.2, -0.15, 0.1) + disc(0.22, -0.15, 0.13)
    red = body * (1 - eyes.clamp(max=1)) * (1 - bar())
    return torch.stack([red, body * 0.6, bar() * body, body])


def psnr(a: Tensor, b: Tensor) -> float:
    return float(-10 * torch.log10((a - b).square().mean()))


@pytest.mark.parametrize(
    ("move", "turn", "gain"),
    [((6, 0), 0.0, 40), ((-5, 4), 0.0, 15), ((0, 0), 0.5, 4), ((4, 3), 0.2, 15)],
)
def test_the_frame_between_is_nearer_the_truth_than_an_average(
    move: tuple[int, int], turn: float, gain: float
) -> None:
    a, b = art(-move[0] / 2, -move[1] / 2, -turn / 2), art(move[0] / 2, move[1] / 2, turn / 2)
    made = middle(a, b, 0.5, search=7)
    assert psnr(made, art()) > psnr((a + b) / 2, art()) + gain


def test_frames_at_other_shares_lie_where_they_should() -> None:
    a, b = art(-3), art(3)
    for share in (0.25, 0.75):
        made, true = middle(a, b, share, search=6), art(-3 + 6 * share)
        assert psnr(made, true) > psnr((1 - share) * a + share * b, true) + 8


def test_what_does_not_move_stays_what_it_is() -> None:
    for block in (4, 16):
        assert_close(middle(art(), art(), 0.5, block=block, search=3), art(), atol=1e-5, rtol=0)


def test_any_size_of_canvas_is_covered() -> None:
    wide = torch.rand(4, 23, 37)
    assert_close(middle(wide, wide, 0.5, search=2), wide, atol=1e-5, rtol=0)


def test_the_last_frame_leads_to_the_first() -> None:
    keys = torch.stack([art(-2), art(0), art(2)])
    made = filled(keys, 2, search=4)
    assert made.shape == (6, 4, SIDE, SIDE)
    assert torch.equal(made[::2], keys)
    assert_close(made[5], middle(keys[2], keys[0], 0.5, search=4))
    assert psnr(made[5], art(0)) > psnr((keys[2] + keys[0]) / 2, art(0)) + 8


def test_sizes_that_are_none_are_refused() -> None:
    for wrong in ({"gap": 0}, {"gap": 2, "block": 3}, {"gap": 2, "search": 0}):
        with pytest.raises(RequestError, match="interpolation needs"):
            filled(torch.zeros(2, 4, 8, 8), **wrong)


def fields_of(shifts: Tensor) -> Fields:
    """One part that is shifted (N, 2), nothing painted."""
    n = len(shifts)
    affine = torch.zeros(n, 1, 6)
    affine[:, 0, 2], affine[:, 0, 5] = shifts[:, 0], shifts[:, 1]
    return Fields(
        affine_NK6=affine,
        parts_NKHW=torch.zeros(n, 1, 8, 8),
        dense_N2HW=torch.zeros(n, 2, 8, 8),
        gate_N1HW=torch.full((n, 1, 8, 8), 20.0),
        paint_NCHW=torch.zeros(n, 4, 8, 8),
    )


def test_motion_that_is_linear_in_time_is_exact_and_beats_mixed_frames() -> None:
    keys = torch.tensor([[0.0, 0.0], [0.2, -0.1], [0.4, -0.2], [0.2, -0.1]])
    after = keys.roll(-1, dims=0)
    all_of_them = torch.stack([keys, (keys + after) / 2], dim=1).reshape(8, 2)
    sticker, made = art()[None], between(fields_of(keys), 1, 2)
    true = compose(sticker, fields_of(all_of_them), 8)
    assert_close(compose(sticker, made, 8), true, atol=1e-5, rtol=0)
    mixed = (true[0] + true[2]) / 2
    assert psnr(compose(sticker, made, 8)[1], true[1]) > psnr(mixed, true[1]) + 20


def test_clips_are_interpolated_each_by_itself() -> None:
    both = torch.randn(6, 2)
    together = between(fields_of(both), 2, 3)
    apart = [between(fields_of(part), 1, 3) for part in (both[:3], both[3:])]
    assert_close(together.affine_NK6, torch.cat([one.affine_NK6 for one in apart]))


@torch.no_grad()
def test_a_network_shows_its_own_frames_as_they_are() -> None:
    network = denoiser(gap=2)
    noisy, sticker, tokens = inputs()
    t_B, context = torch.tensor([0.9, 0.2]), network.encode(sticker, tokens)
    own = network.fields(noisy, t_B, sticker, context)
    shown = network.shown(noisy, t_B, sticker, context)
    assert_close(shown.affine_NK6[::2], own.affine_NK6)
    assert_close(shown.parts_NKHW[::2], own.parts_NKHW)
    assert_close(shown.gate_N1HW[::2], own.gate_N1HW)
    frames = compose(sticker, shown, 8).reshape(2, 8, 4, 16, 16)
    assert_close(frames[:, 0], sticker, atol=1e-5, rtol=0)
    assert (frames[:, 1] - sticker).abs().max() > 1e-3
