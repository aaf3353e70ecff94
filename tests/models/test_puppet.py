"""The puppet: every part's mask goes where the part goes, and what is in front stays in front."""

import torch
from torch.nn import functional as F
from torch.testing import assert_close

from minuet.models.puppet import FOUND_BOUND, Puppet

CLIPS, FRAMES, PARTS, SIDE = 2, 3, 4, 16


def random_case() -> tuple[torch.Tensor, ...]:
    rng = torch.Generator().manual_seed(5)
    n = CLIPS * FRAMES
    found = 3 * torch.randn(CLIPS, PARTS, SIDE, SIDE, generator=rng)
    parts = 3 * torch.randn(n, PARTS, SIDE, SIDE, generator=rng)
    affine = 0.2 * torch.randn(n, PARTS, 6, generator=rng)
    alpha = torch.rand(CLIPS, 1, SIDE, SIDE, generator=rng)
    return found, parts, affine, alpha


def test_a_mask_is_the_stickers_read_where_its_part_came_from() -> None:
    found, parts, affine, alpha = random_case()
    puppet = Puppet(PARTS)
    torch.nn.init.normal_(puppet.front)
    logits, _ = puppet(found, parts, affine, alpha)
    clip, frame, part = 1, 2, 3
    at = clip * FRAMES + frame
    mask = found[clip, part].clamp(-FOUND_BOUND, FOUND_BOUND)
    mask = mask + alpha[clip, 0] * (puppet.solid + puppet.front[part])
    theta = affine[at, part].reshape(1, 2, 3) + torch.eye(2, 3)
    grid = F.affine_grid(theta, [1, 1, SIDE, SIDE], align_corners=False)
    moved = F.grid_sample(mask[None, None], grid, padding_mode="border", align_corners=False)
    assert_close(logits[at, part], moved[0, 0] + parts[at, part])


def test_a_part_moved_by_half_the_canvas_is_found_there() -> None:
    found = torch.full((1, 2, SIDE, SIDE), -9.0)
    found[0, 1, :, :4], found[0, 0, :, 4:] = 9.0, 9.0
    nothing = torch.zeros(FRAMES, 2, SIDE, SIDE)
    affine = torch.zeros(FRAMES, 2, 6)
    affine[1, 1, 2] = -1.0  # backward: half the canvas to the right
    solid = torch.zeros(1, 1, SIDE, SIDE)
    solid[..., :4] = 1.0
    logits, seen = Puppet(2)(found, nothing, affine, solid)
    where = logits[1].argmax(0)[0]
    assert where[SIDE // 2 : SIDE // 2 + 4].tolist() == [1, 1, 1, 1]
    assert (seen[1, 0, :, SIDE // 2 : SIDE // 2 + 4] > 0).all()


def test_a_place_that_no_part_comes_from_was_not_seen() -> None:
    found = torch.full((1, 2, SIDE, SIDE), 9.0)
    found[0, 1] = -9.0
    parts = torch.zeros(2, 2, SIDE, SIDE)
    parts[1, 0], parts[1, 1] = -40.0, 40.0  # a part that the sticker does not show
    _, seen = Puppet(2)(found, parts, torch.zeros(2, 2, 6), torch.ones(1, 1, SIDE, SIDE))
    assert (seen[0] > 1.9).all() and (seen[1] < -1.9).all()


def test_masks_do_not_teach_motions() -> None:
    found, parts, affine, alpha = random_case()
    logits, seen = Puppet(PARTS)(found.requires_grad_(), parts, affine.requires_grad_(), alpha)
    (logits.sum() + seen.sum()).backward()
    assert affine.grad is None and found.grad is not None
