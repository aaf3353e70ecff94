"""A student's output, a teacher -> where the teacher would move it: score distillation.

Poole et al. 2022 (arXiv 2209.14988), on the straight path: the gradient of the noise estimate's
error, without the teacher's Jacobian.
"""

# Shapes: B clips, then any; t in [0, 1] as in path.py.

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from minuet.distill.path import at, noised
from minuet.distill.predict import Condition, Predictor

Weight = Callable[[Tensor], Tensor]  # levels (B,) -> c(t) (B,)


def as_level(t_B: Tensor) -> Tensor:
    """c(t) = t, by which the pull on x0 is (1 - t) (x0 - estimate): fainter where noise hides it.

    In terms of x0 it is the weight alpha_t of Sauer et al. 2023 (arXiv 2311.17042).
    """
    return t_B


@dataclass(frozen=True, slots=True, kw_only=True)
class Range:
    """The noise levels at which a teacher is asked, drawn uniformly."""

    low: float = 0.02
    high: float = 0.98

    def __post_init__(self) -> None:
        if not 0 < self.low <= self.high <= 1:
            raise ValueError(f"need 0 < low <= high <= 1, got {self.low} and {self.high}")

    def draw(self, batch: int, rng: torch.Generator) -> Tensor:
        """Levels (B,)."""
        return self.low + (self.high - self.low) * torch.rand(batch, generator=rng)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pull:
    """What a teacher does to an output."""

    loss: Tensor  # scalar; only its gradient means anything
    residual: Tensor  # mean squared distance to the teacher's estimate: falls as it is content


def noise_estimate(noisy: Tensor, clean: Tensor, t_B: Tensor) -> Tensor:
    """The noise that a clean estimate implies: e = (z_t - (1 - t) x0) / t."""
    t = at(t_B, noisy)
    return (noisy - (1 - t) * clean) / t


def pulled(
    teacher: Predictor,
    output: Tensor,
    condition: Condition,
    t_B: Tensor,
    noise: Tensor,
    weight: Weight = as_level,
) -> Pull:
    """Score distillation as a pseudo-loss: its gradient by x0 is c(t) (e_teacher - e) / size.

        L = mean( c(t) sg(e_teacher(z_t, t) - e) x0 )

    Eq. 3 of arXiv 2209.14988 without the Jacobian; L_SDS of Singer et al. 2024 (arXiv 2403.09334).
    The mean is over all elements, in float32.
    """
    with torch.no_grad():
        noisy = noised(output, noise, t_B)
        clean = teacher(noisy, t_B, condition).float()
        away = at(weight(t_B), output) * (noise_estimate(noisy, clean, t_B) - noise)
        residual = (output - clean).square().mean()
    return Pull(loss=(away * output).float().mean(), residual=residual)
