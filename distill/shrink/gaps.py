"""A network for all frames of a clip -> one that makes every g-th, whatever g.

Part-time students: Fast-Vid2Vid (Zhuo et al. 2022, arXiv 2207.05049). The frames between
are interpolated (models/interpolate.py).
"""

# Shapes: B clips, T frames, N = B * T.

import functools
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from minuet.contracts.errors import RequestError
from minuet.distill.batch import Batch
from minuet.distill.loop import Objective
from minuet.distill.path import draw_levels, noised, standard
from minuet.distill.predict import Composed, Lesson, Predictor
from minuet.distill.shrink.watch import Asked
from minuet.models.config import DenoiserConfig
from minuet.models.denoiser import Denoiser, rebuilt
from minuet.models.structure import thinned

R = TypeVar("R")


def every(batch: Batch, gap: int) -> Batch:
    """The clips' frames 0, gap, 2 gap and so on."""
    kept = torch.arange(0, batch.frames, gap)
    rows = (torch.arange(batch.clips)[:, None] * batch.frames + kept).flatten()
    rows = rows.to(batch.clean_NCHW.device)
    return replace(
        batch,
        clean_NCHW=batch.clean_NCHW[rows],
        part_NHW=batch.part_NHW[rows],
        mask_NHW=batch.mask_NHW[rows],
        affine_NK6=batch.affine_NK6[rows],
        frames=len(kept),
    )


def part_time(network: Denoiser, gap: int) -> Denoiser:
    """The network for every gap-th frame, which shows as many as before."""
    return rebuilt(network, replace(_at(network.config, gap), gap=network.config.gap * gap))


def _at(config: DenoiserConfig, gap: int) -> DenoiserConfig:
    if gap < 1 or config.frames % gap or config.frames == gap:
        raise RequestError(f"a gap divides the {config.frames} frames and leaves two; {gap} asked.")
    return replace(config, frames=config.frames // gap)


def at_gap(network: Denoiser, gap: int, work: Callable[..., R], *args: Any) -> R:
    """work(network as it is for every gap-th frame, *args); gradients reach the network itself."""
    small = _skeleton(json.dumps(_at(network.config, gap).to_json()))
    like = small.network.state_dict()
    tensors = dict(network.named_buffers()) | {
        name: thinned(value, like[name], name) for name, value in network.named_parameters()
    }
    found: R = functional_call(
        small, {f"network.{n}": v for n, v in tensors.items()}, (work, *args)
    )
    return found


@functools.cache
def _skeleton(config: str) -> "_Work":
    """A network without weights."""
    with torch.device("meta"):
        return _Work(Denoiser(DenoiserConfig.from_json(json.loads(config))))


class _Work(nn.Module):
    """A network that is handed to some work: a module, as `functional_call` wants it."""

    def __init__(self, network: Denoiser) -> None:
        super().__init__()
        self.network = network

    def forward(self, work: Callable[..., R], *args: Any) -> R:
        return work(self.network, *args)


@dataclass(frozen=True, slots=True, kw_only=True)
class RandomGap:
    """A task on every g-th frame, g drawn anew for each batch."""

    task: Objective
    gaps: Sequence[int]

    def __call__(
        self, network: nn.Module, lesson: Batch, rng: torch.Generator
    ) -> tuple[Tensor, Mapping[str, Tensor]]:
        assert isinstance(network, Denoiser)
        gap = _drawn(self.gaps, rng)
        return at_gap(network, gap, self.task, every(lesson, gap), rng)


@dataclass(frozen=True, slots=True, kw_only=True)
class GapDistillation:
    """Say of every g-th frame what a teacher that sees all frames says of it (L1)."""

    teacher: Predictor
    gaps: Sequence[int]
    asked: Asked = Composed

    def __call__(
        self, network: nn.Module, lesson: Lesson, rng: torch.Generator
    ) -> tuple[Tensor, Mapping[str, Tensor]]:
        assert isinstance(network, Denoiser)
        gap, t_B = _drawn(self.gaps, rng), draw_levels(len(lesson.x0), rng).to(lesson.x0)
        noisy = noised(lesson.x0, standard(lesson.x0, rng), t_B)
        with torch.no_grad():
            told = self.teacher(noisy, t_B, lesson.condition)[:, ::gap]
        said = at_gap(
            network, gap, lambda small: self.asked(small)(noisy[:, ::gap], t_B, lesson.condition)
        )
        loss = F.l1_loss(said, told)
        return loss, {"gap": loss.detach()}


def _drawn(gaps: Sequence[int], rng: torch.Generator) -> int:
    return gaps[int(torch.randint(len(gaps), (1,), generator=rng))]
