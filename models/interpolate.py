"""Every g-th frame of a loop -> all of them, by moving what is seen rather than mixing it.

Two kinds. What the composing head says of two frames is mixed and composed anew (`between`): half
of a motion is a motion, and edges stay sharp. Frames of which only pixels are known are moved
block by block (`filled`): overlapped block motion compensation (Orchard and Sullivan 1994, IEEE TIP
3, 5), searched from both sides of the frame to be made, as Fast-Vid2Vid's part-time students need
(Zhuo et al. 2022, arXiv 2207.05049).
"""

# Shapes: B clips, T frames made, g the gap, N = B * T, C = 4 premultiplied RGBA in [0, 1], H, W;
# V motions tried.

from dataclasses import fields

import torch
from torch import Tensor
from torch.nn import functional as F

from minuet.contracts.errors import RequestError
from minuet.models.compose import Fields

STILL = 2e-3  # price of a pixel's motion: where nothing tells motions apart, none is right


def between(said: Fields, clips: int, gap: int) -> Fields:
    """Fields of every gap-th frame -> of all frames (N * gap, ...), linear in time.

    Exact where a part's motion is linear in time. The last frame leads to the first.
    """
    if gap == 1:
        return said
    return Fields(
        **{one.name: _between(getattr(said, one.name), clips, gap) for one in fields(said)}
    )


def _between(x_N: Tensor, clips: int, gap: int) -> Tensor:
    """Rank 4 at most, whatever comes in."""
    frames = len(x_N) // clips
    now = x_N.reshape(clips, frames, -1)
    after = torch.cat([now[:, 1:], now[:, :1]], dim=1)
    shares = (now + (after - now) * (step / gap) for step in range(gap))
    return torch.stack(list(shares), dim=2).reshape(len(x_N) * gap, *x_N.shape[1:])


def filled(frames_TCHW: Tensor, gap: int, *, block: int = 8, search: int = 7) -> Tensor:
    """A loop's key frames and gap - 1 frames after each: (T * gap, C, H, W).

    Args:
        frames_TCHW: premultiplied RGBA in [0, 1].
        block: side of the blocks, in pixels, that move as one; even.
        search: the largest motion from one key frame to the next, in pixels along each axis.

    Raises:
        RequestError: sizes that are none.
    """
    if gap < 1 or block < 2 or block % 2 or not 1 <= search <= 64:
        raise RequestError(
            f"interpolation needs gap >= 1, an even block and search in 1..64, not "
            f"{gap}, {block}, {search}."
        )
    after = torch.cat([frames_TCHW[1:], frames_TCHW[:1]])
    made = [
        middle(a, b, step / gap, block=block, search=search) if step else a
        for a, b in zip(frames_TCHW, after, strict=True)
        for step in range(gap)
    ]
    return torch.stack(made)


def middle(
    a_CHW: Tensor, b_CHW: Tensor, share: float, *, block: int = 8, search: int = 7
) -> Tensor:
    """The frame at `share` of the way from one to the next (C, H, W).

    Blocks overlap by half. Each takes the motion under which both neighbours show the same, and
    counts most in its middle. Blocks slide and never turn, so small ones follow a turn better
    (measured: flat art that turns by 0.5 between keys, 7 dB above their mean with blocks of 8, 1
    below it with 16; where it only slides, as good).
    """
    steps = torch.arange(-search, search + 1).to(a_CHW)
    moves_V2 = torch.cartesian_prod(steps, steps)
    errors = [_error(*_met(a_CHW, b_CHW, move, share), block) for move in moves_V2]
    price = STILL * moves_V2.norm(dim=1)
    best_RS = (torch.stack(errors) + price[:, None, None]).argmin(0)
    made = torch.zeros_like(a_CHW)
    for at in best_RS.unique():
        a, b = _met(a_CHW, b_CHW, moves_V2[at], share)
        made += ((1 - share) * a + share * b) * _weight((best_RS == at).to(made), block, made.shape)
    return made


def _met(a_CHW: Tensor, b_CHW: Tensor, move: Tensor, share: float) -> tuple[Tensor, Tensor]:
    """Both neighbours as they would look in between, if everything moved alike."""
    return _shifted(a_CHW, -share * move), _shifted(b_CHW, (1 - share) * move)


def _shifted(image_CHW: Tensor, move: Tensor) -> Tensor:
    """Each pixel's value `move` pixels (x, y) further on; nothing outside the canvas."""
    h, w = image_CHW.shape[-2:]
    theta = torch.eye(2, 3).to(image_CHW)
    theta[:, 2] = 2 * move / torch.tensor([w, h]).to(image_CHW)
    places = F.affine_grid(theta[None], [1, 1, h, w], align_corners=False)
    return F.grid_sample(image_CHW[None], places, align_corners=False)[0]


def _error(a_CHW: Tensor, b_CHW: Tensor, block: int) -> Tensor:
    """How differently two pictures look, block by block (R, S); blocks begin half outside."""
    apart = (a_CHW - b_CHW).abs().sum(0)
    half = block // 2
    apart = F.pad(apart, (half, half - apart.shape[1] % -half, half, half - apart.shape[0] % -half))
    return F.avg_pool2d(apart[None], block, stride=half)[0]


def _weight(chosen_RS: Tensor, block: int, shape: torch.Size) -> Tensor:
    """How much the chosen blocks count at each pixel (H, W); all blocks together, 1."""
    # sin^2 between samples: w[i] + w[i + block / 2] = 1.
    line = torch.sin((torch.arange(block).to(chosen_RS) + 0.5) * torch.pi / block).square()
    window = (line[:, None] * line)[None, None]
    weight = F.conv_transpose2d(chosen_RS[None, None], window, stride=block // 2)[0, 0]
    half = block // 2
    return weight[half : half + shape[-2], half : half + shape[-1]]
