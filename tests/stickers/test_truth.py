"""Exact flow takes frame 0 to every frame, and reaches border and background too."""

import numpy as np
import pytest

from minuet.stickers import truth, world
from minuet.stickers.rig import NODES


def warped(first, flow):
    """Bilinear backward warp of premultiplied (H, W, 4), zeros outside."""
    size = len(first)
    at = (truth.pixel_places(size) + flow + 1) * size / 2 - 0.5
    low = np.floor(at).astype(int)
    part = at - low
    found = np.zeros_like(first)
    for dx, dy in ((0, 0), (0, 1), (1, 0), (1, 1)):
        x, y = low[..., 0] + dx, low[..., 1] + dy
        inside = (x >= 0) & (x < size) & (y >= 0) & (y < size)
        weight = np.abs(1 - dx - part[..., 0]) * np.abs(1 - dy - part[..., 1]) * inside
        found += first[y.clip(0, size - 1), x.clip(0, size - 1)] * weight[..., None]
    return found


def premultiplied(frames):
    frames = frames.astype(np.float64) / 255
    return np.concatenate([frames[..., :3] * frames[..., 3:], frames[..., 3:]], -1)


@pytest.mark.parametrize("index", range(12))
def test_warping_frame_zero_by_the_flow_gives_every_frame(index):
    known = world.render_truth(world.sample(3, index), 128)
    frames = premultiplied(known.frames_THWC)
    for t in range(1, 8):
        error = np.abs(warped(frames[0], known.flow_THW2[t]) - frames[t]).mean(-1)
        assert np.median(error[known.mask_THW[t]]) < 0.02
        assert error.mean() < 0.5 * np.abs(frames[0] - frames[t]).mean() + 0.004


def test_shapes_and_types_are_as_promised():
    known = world.render_truth(world.sample(3, 0), 64)
    assert known.part_THW.shape == known.mask_THW.shape == (8, 64, 64)
    assert known.affine_TK23.shape == (8, len(NODES), 2, 3)
    assert known.flow_THW2.dtype == known.affine_TK23.dtype == np.float32
    assert 0 <= known.part_THW.min() and known.part_THW.max() < len(NODES)


def test_frame_zero_stands_still():
    known = world.render_truth(world.sample(3, 4), 64)
    assert np.abs(known.flow_THW2[0]).max() < 1e-6


def test_the_mask_holds_the_white_border():
    known = world.render_truth(world.sample(3, 5), 128)
    alpha = known.frames_THWC[..., 3]
    assert known.mask_THW[alpha == 255].mean() > 0.999
    assert not known.mask_THW[alpha == 0].any()


def test_outside_pixels_take_the_nearest_part():
    parts = np.full((1, 5, 9), -1, np.int16)
    parts[0, 2, 1], parts[0, 2, 7] = 3, 5
    spread = truth.spread(parts)
    assert (spread[0, :, :4] == 3).all() and (spread[0, :, 5:] == 5).all()


def test_a_shift_to_the_right_flows_back_to_the_left():
    matrices = np.tile(np.eye(3), (2, 1, 1, 1))
    matrices[1, 0, 0, 2] = 0.25
    flow = truth.flow(truth.backward(matrices), np.zeros((2, 4, 4), np.int16))
    assert flow[1] == pytest.approx(np.tile([-0.25, 0.0], (4, 4, 1)))


def test_pixel_centres_follow_the_unaligned_corner_rule():
    places = truth.pixel_places(4)
    assert places[0, :, 0].tolist() == [-0.75, -0.25, 0.25, 0.75]
    assert places[3, 0].tolist() == [-0.75, 0.75]
