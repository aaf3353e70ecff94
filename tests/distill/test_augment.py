"""However a clip is seen, its flow still takes the first frame to every frame."""

from dataclasses import replace

import pytest
import torch
from torch.testing import assert_close

from minuet.distill.augment import Augment, _moved, augmented
from minuet.distill.batch import Batch
from minuet.models.compose import grid, warp
from tests.distill.squares import MIRROR, NOTHING, squares

RESAMPLED = 0.012  # mean error of bilinear sampling twice over soft edges, of 1
STRONG = Augment(mirror=0.5, recolour=0.5, scale=(0.7, 1.4), degrees=30.0, shift=0.1, forget=0.5)


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def warp_error(batch: Batch) -> float:
    first = batch.sticker_BCHW.repeat_interleave(batch.frames, dim=0)
    return float((warp(first, batch.flow_N2HW) - batch.clean_NCHW).abs().mean())


def still_error(batch: Batch) -> float:
    first = batch.sticker_BCHW.repeat_interleave(batch.frames, dim=0)
    return float((first - batch.clean_NCHW).abs().mean())


def test_the_truth_is_true_before_anything_happens() -> None:
    batch = squares()
    assert warp_error(batch) < RESAMPLED < still_error(batch) / 3


@pytest.mark.parametrize("seed", range(6))
def test_the_flow_follows_mirror_turn_scale_shift_and_colour(seed: int) -> None:
    batch = augmented(squares(), STRONG, MIRROR, rng(seed))
    assert warp_error(batch) < min(RESAMPLED, still_error(batch) / 2)


def test_a_moved_clips_flow_is_the_old_flow_between_the_old_places() -> None:
    batch = squares(clips=1)
    turn = torch.tensor(0.4)
    place = torch.tensor(
        [[-1.2 * turn.cos(), -1.2 * turn.sin(), 0.1], [-1.2 * turn.sin(), 1.2 * turn.cos(), -0.2]]
    )
    place = torch.cat([place, torch.tensor([[0.0, 0.0, 1.0]])])
    moved = _moved(batch, place[None], 2)
    new = grid(32).reshape(3, -1)
    old = place @ new  # where each new pixel was
    for frame in range(batch.frames):
        for part in (1, 2):
            theta = batch.affine_NK6[frame, part].reshape(2, 3) + torch.eye(3)[:2]
            source = torch.cat([theta @ old, torch.ones(1, old.shape[1])])
            expected = (torch.linalg.inv(place) @ source - new)[:2]
            here = (moved.part_NHW[frame] == part).flatten()
            assert here.any()
            got = moved.flow_N2HW[frame].reshape(2, -1)
            assert_close(got[:, here], expected[:, here], atol=1e-5, rtol=1e-4)


def test_a_mirror_reverses_columns_and_sideways_motion_and_swaps_twins() -> None:
    batch = squares()
    seen = augmented(batch, replace(NOTHING, mirror=1.0), MIRROR, rng())
    other = torch.tensor(MIRROR.parts, dtype=torch.uint8)
    assert_close(seen.clean_NCHW, batch.clean_NCHW.flip(-1), atol=1e-5, rtol=0)
    assert torch.equal(seen.part_NHW, other[batch.part_NHW.flip(-1).long()])
    assert torch.equal(seen.mask_NHW, batch.mask_NHW.flip(-1))
    sign = torch.tensor([-1.0, 1.0])[:, None, None]
    assert_close(seen.flow_N2HW, batch.flow_N2HW.flip(-1) * sign, atol=1e-5, rtol=0)


def test_a_mirror_swaps_left_and_right_in_the_caption() -> None:
    seen = augmented(squares(), replace(NOTHING, mirror=1.0), MIRROR, rng())
    assert seen.tokens_BL[:, :3].tolist() == [[6, 9, 0], [5, 9, 6]]
    assert seen.tokens_BL.dtype == torch.int32


def test_nothing_asked_changes_nothing() -> None:
    batch = squares()
    seen = augmented(batch, NOTHING, MIRROR, rng())
    assert_close(seen.clean_NCHW, batch.clean_NCHW, atol=1e-5, rtol=0)
    assert_close(seen.affine_NK6, batch.affine_NK6, atol=1e-5, rtol=0)
    assert torch.equal(seen.part_NHW, batch.part_NHW)
    assert torch.equal(seen.tokens_BL, batch.tokens_BL)


def test_recolouring_leaves_alpha_and_stays_premultiplied() -> None:
    batch = squares()
    seen = augmented(batch, replace(NOTHING, recolour=1.0), MIRROR, rng())
    assert_close(seen.clean_NCHW[:, 3], batch.clean_NCHW[:, 3], atol=1e-5, rtol=0)
    assert (seen.clean_NCHW[:, :3] <= seen.clean_NCHW[:, 3:] + 1e-5).all()
    assert (seen.clean_NCHW[:, :3] - batch.clean_NCHW[:, :3]).abs().max() > 0.1
    assert warp_error(seen) < RESAMPLED


def test_forgetting_leaves_no_word() -> None:
    assert not augmented(squares(), replace(NOTHING, forget=1.0), MIRROR, rng()).tokens_BL.any()


def test_landmarks_go_where_their_pixels_go_and_hands_change_names() -> None:
    """A turn about a landmark still leaves it where it is, in the mirrored and moved clip."""
    batch = squares()
    joint = torch.tensor([0.45, 0.1])
    turn = torch.tensor([[0.8, -0.6], [0.6, 0.8]])
    motion = torch.cat([turn - torch.eye(2), (joint - turn @ joint)[:, None]], dim=1).reshape(6)
    affine = batch.affine_NK6.clone()
    affine[:, 2] = motion
    other = torch.tensor([-0.45, 0.0])
    label = torch.cat([other, joint, torch.tensor([0.8, 1.0, 0.0])])
    batch = replace(batch, affine_NK6=affine, anatomy_BV=label.repeat(batch.clips, 1))
    seen = augmented(batch, replace(STRONG, mirror=1.0), MIRROR, rng())
    points = seen.anatomy_BV[:, :4].reshape(-1, 2, 2)
    for clip in range(batch.clips):
        theta = seen.affine_NK6[clip * batch.frames, 1].reshape(2, 3) + torch.eye(2, 3)
        place = torch.cat([points[clip, 0], torch.ones(1)])
        assert_close(theta @ place, points[clip, 0], atol=1e-5, rtol=0)
        factor = (points[clip, 0] - points[clip, 1]).norm() / (joint - other).norm()
        assert_close(seen.anatomy_BV[clip, 4], 0.8 * factor, atol=1e-5, rtol=0)
    assert seen.anatomy_BV[:, 5:].tolist() == [[0.0, 1.0]] * batch.clips
