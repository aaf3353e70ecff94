"""A noisy clip, its noise level and a condition -> what the clip was: the question all methods ask.

Every teacher, student and fake score answers it, so a method is written once for all of them.
Levels are those of the straight path (path.py), t = sigma / (alpha + sigma): a network of another
schedule is asked at its own point with that ratio (diffusion.py).
"""

# Shapes: B clips, then any; a condition's tensors all begin with B.

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from minuet.models.compose import compose
from minuet.models.denoiser import Denoiser
from minuet.models.text import PADDING

Condition = Mapping[str, Tensor]
Predictor = Callable[[Tensor, Tensor, Condition], Tensor]  # (noisy, t_B, condition) -> x0


class Lesson(Protocol):
    """What a method is fed: clean examples in the network's own space, and what is known."""

    @property
    def x0(self) -> Tensor:
        """Clean examples (B, ...), about as wide as standard normal noise."""
        ...

    @property
    def condition(self) -> Condition:
        """What the network is told, by name."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """The smallest lesson."""

    x0: Tensor
    condition: Condition


class Composed(nn.Module):
    """A sticker denoiser as a predictor: fields composed over the sticker it is given."""

    def __init__(self, network: Denoiser, *, fast: bool = False) -> None:
        super().__init__()
        self.network, self.fast = network, fast  # fast: bfloat16 inside

    def forward(self, noisy_BTCHW: Tensor, t_B: Tensor, condition: Condition) -> Tensor:
        """The clean clip in [-1, 1] (B, T, C, H, W); conditions: sticker, tokens, maybe scales."""
        sticker = condition["sticker"]
        with in_bfloat16(self.fast, noisy_BTCHW):
            context = self.network.encode(sticker, condition["tokens"], condition.get("scales"))
            fields = self.network.fields(noisy_BTCHW, t_B, sticker, context).float()
        frames = noisy_BTCHW.shape[1]
        return compose(sticker, fields, frames).reshape(noisy_BTCHW.shape) * 2 - 1


def in_bfloat16(wanted: bool, like: Tensor) -> AbstractContextManager[Any]:
    """Where bfloat16 is wanted, autocast to it on a tensor's device; else the precision stays."""
    return torch.autocast(like.device.type, torch.bfloat16) if wanted else nullcontext()


def untold(condition: Condition, *names: str) -> dict[str, Tensor]:
    """The condition with these names saying nothing: words become padding, the rest zeros."""
    told = dict(condition)
    for name in names:
        value = told[name]
        told[name] = torch.full_like(value, 0 if value.is_floating_point() else PADDING)
    return told


@dataclass(frozen=True, slots=True, kw_only=True)
class Guided:
    """Classifier-free guidance over conditions that are dropped one after another.

    x = x(nothing) + sum_i s_i (x(first i told) - x(first i - 1 told)), the conditions told in the
    order of `scales`: one scale is Ho and Salimans 2022 (arXiv 2207.12598), eq. 6; two, the
    picture before the words, Brooks et al. 2023 (arXiv 2211.09800), eq. 3. n scales cost n + 1
    passes.
    """

    predictor: Predictor
    scales: Mapping[str, float | Tensor]  # one for all clips, or for each, shaped to multiply

    def __call__(self, noisy: Tensor, t_B: Tensor, condition: Condition) -> Tensor:
        """The guided clean estimate."""
        names = list(self.scales)
        before = self.predictor(noisy, t_B, untold(condition, *names))
        guided = before
        for at, name in enumerate(names):
            after = self.predictor(noisy, t_B, untold(condition, *names[at + 1 :]))
            guided = guided + self.scales[name] * (after - before)
            before = after
        return guided
