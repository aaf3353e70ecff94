"""Stickers, captions and noise -> clips, by a network's own sampler."""

# Shapes: as in batch.py.

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor

from minuet.distill.losses import guided
from minuet.distill.path import euler
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
    bfloat16: bool = True,
) -> Fields:
    """The last step's fields; compose them over the sticker at any size.

    Args:
        sticker_BCHW: premultiplied, in [0, 1], at the working size.
        tokens_BL: int32.
        noise_BTCHW: standard normal.
        levels: from 1 to 0.
        guidance: 1 is one pass a step, anything else two.
    """
    with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
        context = network.encode(sticker_BCHW, tokens_BL)
        nothing = network.encode(sticker_BCHW, unconditional(tokens_BL)) if guidance != 1 else None
    noisy, fields = noise_BTCHW, None
    for t, s in pairwise(levels):
        t_B = torch.full((len(tokens_BL),), t)
        with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
            fields = network.fields(noisy, t_B, sticker_BCHW, context).float()
            if nothing is not None:
                without = network.fields(noisy, t_B, sticker_BCHW, nothing).float()
                fields = guided(fields, without, guidance)
        clean = compose(sticker_BCHW, fields, noisy.shape[1]).reshape(noisy.shape) * 2 - 1
        noisy = euler(noisy, clean, t, s)
    assert fields is not None
    return fields
