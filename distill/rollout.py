"""Noise and a predictor -> where its trajectory leads: what every method samples with.

A predictor is asked for the clean clip at each level. From there it goes on along the straight
line (Euler, deterministic: what an exported program does) or, given fresh randomness, from the
clean clip noised anew (Song et al. 2023, arXiv 2303.01469, algorithm 1).
"""

# Shapes: B clips, then any; levels t in [0, 1].

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from minuet.contracts.errors import RequestError
from minuet.distill.path import at, noised, standard
from minuet.distill.predict import Condition, Predictor


def checked(levels: Sequence[float]) -> tuple[float, ...]:
    """Levels that fall from 1 to 0.

    Raises:
        RequestError: they do not.
    """
    falls = len(levels) > 1 and all(a > b for a, b in pairwise(levels))
    if not falls or levels[0] != 1 or levels[-1] != 0:
        raise RequestError(f"noise levels fall from 1 to 0, got {list(levels)}.")
    return tuple(levels)


def stepped(z: Tensor, clean: Tensor, t_B: Tensor, s_B: Tensor) -> Tensor:
    """An Euler step of each clip from its level t to its s <= t: z_s = x0 + (s / t) (z_t - x0)."""
    return clean + at(s_B / t_B, z) * (z - clean)


def descend(
    predictor: Predictor,
    z: Tensor,
    levels: Sequence[Tensor],
    condition: Condition,
    fresh: torch.Generator | None = None,
) -> Tensor:
    """Noisy clips at the first level -> at the last one; a step for each pair of levels (B,).

    Args:
        fresh: noise of the re-noising sampler; none: Euler.
    """
    for t_B, s_B in pairwise(levels):
        clean = predictor(z, t_B, condition)
        if fresh is None:
            z = stepped(z, clean, t_B, s_B)
        else:
            z = noised(clean, standard(z, fresh), s_B)
    return z


def shared(levels: Sequence[float], like: Tensor) -> list[Tensor]:
    """Levels that all clips of a batch have in common, each (B,)."""
    return [torch.full((len(like),), level, device=like.device) for level in levels]


@torch.no_grad()
def generate(
    predictor: Predictor,
    noise: Tensor,
    levels: Sequence[float],
    condition: Condition,
    fresh: torch.Generator | None = None,
) -> Tensor:
    """Noise -> clips, by levels from 1 to 0."""
    return descend(predictor, noise, shared(checked(levels), noise), condition, fresh)


def recomputed(predictor: Predictor) -> Predictor:
    """The same answers; what led to one is computed again for its gradient, not kept."""

    def ask(noisy: Tensor, t_B: Tensor, condition: Condition) -> Tensor:
        clean: Tensor = checkpoint(predictor, noisy, t_B, condition, use_reentrant=False)
        return clean

    return ask
