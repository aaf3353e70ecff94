"""What a batch derives from its truth, on cases made by hand."""

import torch
from torch.testing import assert_close

from minuet.distill.batch import Batch, batch_from_arrays
from tests.distill.squares import squares


def row(part: list[int], sticker: list[int]) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.tensor(part, dtype=torch.uint8), torch.tensor(sticker, dtype=torch.float32)


def moved_by_one_pixel() -> Batch:
    """Four rows alike: part 1 moves a pixel to the right, parts 0 and 2 stand still."""
    part_0, mask_0 = row([1, 1, 1, 0], [1, 1, 0, 0])
    part_1, mask_1 = row([0, 1, 2, 1], [0, 1, 1, 0])
    affine = torch.zeros(2, 3, 6)
    affine[1, 1, 2] = -0.5  # one pixel of four
    return Batch(
        clean_NCHW=torch.zeros(2, 4, 4, 4),
        part_NHW=torch.stack([part_0, part_1])[:, None].repeat(1, 4, 1),
        mask_NHW=torch.stack([mask_0, mask_1])[:, None].repeat(1, 4, 1),
        affine_NK6=affine,
        tokens_BL=torch.zeros(1, 4, dtype=torch.int32),
        noise_B=torch.tensor([-1]),
        anatomy_BV=torch.zeros(1, 0),
        frames=2,
    )


def test_visible_is_what_the_first_frame_shows() -> None:
    batch = moved_by_one_pixel()
    visible = batch.visible_NHW(batch.flow_N2HW)
    # Uncovered background; moved sticker; a part that was not there; background from background.
    assert visible[1].tolist() == [[0, 1, 0, 1]] * 4
    assert visible[0].tolist() == [[1, 1, 1, 1]] * 4


def test_what_comes_from_beyond_the_canvas_is_visible_only_as_background() -> None:
    batch = moved_by_one_pixel()
    batch.affine_NK6[1, 1, 2] = -4.0
    assert batch.visible_NHW(batch.flow_N2HW)[1].tolist() == [[0, 0, 0, 1]] * 4


def test_flow_is_each_pixels_parts_motion() -> None:
    flow = moved_by_one_pixel().flow_N2HW
    assert flow[1, 0].tolist() == [[0, -0.5, 0, -0.5]] * 4
    assert not flow[0].any() and not flow[:, 1].any()


def test_near_holds_the_sticker_and_two_pixels_around() -> None:
    batch = squares(clips=1, side=16)
    batch.mask_NHW.zero_()
    batch.mask_NHW[0, 8, 8] = 1
    near = batch.near_NHW[0]
    assert_close(near[6:11, 6:11], torch.ones(5, 5))
    near[6:11, 6:11] = 0.05
    assert_close(near, torch.full((16, 16), 0.05))


def test_arrays_become_premultiplied_frames_and_small_motions() -> None:
    frames = torch.zeros(1, 2, 4, 4, 4, dtype=torch.uint8)
    frames[..., 0], frames[..., 3] = 255, 51
    flat = torch.zeros(1, 2, 4, 4, dtype=torch.uint8)
    affine = torch.eye(3)[:2].repeat(1, 2, 3, 1, 1)
    tokens = torch.ones(1, 4, dtype=torch.int32)
    batch = batch_from_arrays(
        frames, flat, flat, affine, tokens, torch.tensor([7]), torch.zeros(1, 0)
    )
    pixel = batch.clean_NCHW[:, :, 0, 0]
    assert_close(pixel, torch.tensor([[0.2, 0.0, 0.0, 0.2]] * 2))
    assert not batch.affine_NK6.any() and batch.noise_B.tolist() == [7]
    assert batch.clip_BTCHW.shape == (1, 2, 4, 4, 4)
    assert_close(batch.sticker_BCHW, batch.clean_NCHW[:1])
