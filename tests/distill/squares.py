"""A world whose truth is a formula: two soft squares, each with its own motion."""

import torch
from torch import Tensor

from minuet.distill.augment import Augment, Mirror
from minuet.distill.batch import Batch
from minuet.models.compose import grid

# Part 0 stands still and is never seen; parts 1 and 2 are twins, left and right of the middle.
MIRROR = Mirror(parts=(0, 2, 1), tokens={5: 6, 6: 5}, landmarks=(1, 0), traits=(1, 0))
NOTHING = Augment(mirror=0.0, recolour=0.0, scale=(1.0, 1.0), degrees=0.0, shift=0.0, forget=0.0)
FRAMES = 4
ANATOMY = (-0.45, 0.0, 0.45, 0.0, 0.9, 0.0, 1.0)  # the squares' middles, a size, two traits


def motions(clips: int) -> Tensor:
    """Backward affines (clips, FRAMES, 3, 2, 3): shifts, a turn and a stretch; frame 0 none."""
    found = torch.eye(3)[:2].repeat(clips, FRAMES, 3, 1, 1)
    for clip in range(clips):
        for frame in range(FRAMES):
            amount = torch.tensor(frame * (1 + 0.2 * clip))
            turn = 0.12 * amount
            found[clip, frame, 1, :, 2] = torch.tensor([-0.03, -0.08]) * amount
            found[clip, frame, 2] = torch.tensor(
                [[turn.cos(), -turn.sin(), 0.03 * amount], [turn.sin(), turn.cos(), 0.0]]
            )
            found[clip, frame, 2, 1, 1] *= 1 + 0.05 * amount
    return found


def picture(x: Tensor, y: Tensor) -> Tensor:
    """Premultiplied RGBA (4, ...) of frame 0 at any place: two soft squares."""

    def square(cx: float) -> Tensor:
        return torch.sigmoid(24 * (0.24 - torch.maximum((x - cx).abs(), y.abs())))

    left, right = square(-0.45), square(0.45)
    alpha = left + right
    return torch.stack([left, right * 0.8, alpha * (0.5 + 0.4 * y.clamp(-1, 1)), alpha])


def squares(clips: int = 2, side: int = 32) -> Batch:
    """Clips drawn by formula: each pixel is frame 0 at its source."""
    places = grid(side)
    part = torch.where(places[0] < 0, 1, 2).to(torch.uint8)
    affine = motions(clips)
    theta = affine[:, :, part.long()]  # (B, T, H, W, 2, 3)
    source = (theta * places.permute(1, 2, 0)[:, :, None]).sum(-1)
    clean = picture(source[..., 0], source[..., 1]).permute(1, 2, 0, 3, 4)
    n = clips * FRAMES
    tokens = torch.tensor([[5, 9, 0, 0], [6, 9, 5, 0]], dtype=torch.int32)
    return Batch(
        clean_NCHW=clean.reshape(n, 4, side, side),
        part_NHW=part.expand(n, side, side).clone(),
        mask_NHW=(clean[:, :, 3] > 0.05).float().reshape(n, side, side),
        affine_NK6=(affine - torch.eye(3)[:2]).reshape(n, 3, 6),
        tokens_BL=tokens.repeat(clips, 4)[:clips],
        noise_B=torch.full((clips,), -1),
        anatomy_BV=torch.tensor(ANATOMY).repeat(clips, 1),
        frames=FRAMES,
    )


def draw(size: int, rng: torch.Generator) -> Batch:
    """A batch for the tiny networks: the clips in the generator's order."""
    batch = squares(size, side=16)
    order = torch.randperm(size, generator=rng)
    frames = (order[:, None] * FRAMES + torch.arange(FRAMES)).flatten()
    return Batch(
        clean_NCHW=batch.clean_NCHW[frames],
        part_NHW=batch.part_NHW[frames],
        mask_NHW=batch.mask_NHW[frames],
        affine_NK6=batch.affine_NK6[frames],
        tokens_BL=batch.tokens_BL[order],
        noise_B=batch.noise_B,
        anatomy_BV=batch.anatomy_BV,
        frames=FRAMES,
    )
