"""Stickers, captions and noise -> clips, by a network's own sampler."""

# Shapes: as in batch.py.

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor

from minuet.distill.losses import guided
from minuet.distill.path import euler, noised, standard
from minuet.distill.predict import in_bfloat16
from minuet.models.compose import Fields, compose
from minuet.models.denoiser import Denoiser
from minuet.models.text import unconditional


@torch.no_grad()
def sample(
    network: Denoiser,
    sticker_BCHW: Tensor,
    tokens_BL: Tensor,
    noise_BTCHW: Tensor,
    levels: Sequence[float],
    *,
    guidance: float = 1.0,
    scales: Sequence[float] = (),
    fresh: torch.Generator | None = None,
    bfloat16: bool = True,
) -> Fields:
    """The last step's fields; compose them over the sticker at any size.

    Args:
        sticker_BCHW: premultiplied, in [0, 1], at the working size.
        tokens_BL: int32.
        noise_BTCHW: standard normal.
        levels: from 1 to 0.
        guidance: 1 is one pass a step, anything else two.
        scales: what a network that is told guidance scales is told.
        fresh: noise of the sampler that noises each estimate anew; none: Euler.
    """
    told_BG = torch.tensor([scales], device=tokens_BL.device).expand(len(tokens_BL), -1)
    with in_bfloat16(bfloat16, noise_BTCHW):
        context = network.encode(sticker_BCHW, tokens_BL, told_BG)
        empty_BL = unconditional(tokens_BL)
        nothing = network.encode(sticker_BCHW, empty_BL, told_BG) if guidance != 1 else None
    noisy = noise_BTCHW
    for t, s in pairwise(levels):
        t_B = noise_BTCHW.new_full((len(tokens_BL),), t)
        ask = network.fields if s else network.shown
        with in_bfloat16(bfloat16, noise_BTCHW):
            fields = ask(noisy, t_B, sticker_BCHW, context).float()
            if nothing is not None:
                without = ask(noisy, t_B, sticker_BCHW, nothing).float()
                fields = guided(fields, without, guidance)
        if s == 0:
            return fields
        clean = compose(sticker_BCHW, fields, noisy.shape[1]).reshape(noisy.shape) * 2 - 1
        if fresh is None:
            noisy = euler(noisy, clean, t, s)
        else:
            noisy = noised(clean, standard(clean, fresh), torch.full_like(t_B, s))
    raise ValueError(f"noise levels end at 0, got {levels}")
