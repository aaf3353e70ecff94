"""A method's name -> what a student of few steps learns by it, and against whom: one table."""

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from minuet.distill.critics import Critic, Features, frozen
from minuet.distill.few.adversarial import Adversarial
from minuet.distill.few.backward import Backward
from minuet.distill.few.consistency import Consistency
from minuet.distill.few.matching import Matching
from minuet.distill.few.progressive import Progressive
from minuet.distill.few.reflow import Reflow
from minuet.distill.loop import Contest, Objective, Rivals
from minuet.distill.predict import Composed, Condition, Predictor
from minuet.distill.tailor import Ranges, RoutedTeacher
from minuet.distill.teacher import NetworkTeacher
from minuet.models.config import PATCH
from minuet.models.denoiser import Denoiser

RIVALS_RATE = 2e-4  # learning rate of critics and fake scores


@dataclass(slots=True)
class Average:
    """The trainer's average of a network, known once there is a trainer."""

    network: nn.Module | None = None

    def __call__(self, noisy: Tensor, t_B: Tensor, condition: Condition) -> Tensor:
        assert self.network is not None
        answer: Tensor = self.network(noisy, t_B, condition)
        return answer


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """Who is asked, by whom, and at which noise levels."""

    teacher: Predictor
    network: Denoiser  # a teacher's: what fake scores begin as, and what critics see with
    levels: Sequence[float]  # the student's, from 1 to 0
    teacher_steps: int
    turns: int = 2  # of the rivals
    average: Average = field(default_factory=Average)

    def finer(self, steps: int) -> list[float]:
        """At least so many steps of the teacher, as many within each of the student's."""
        each = -(-steps // (len(self.levels) - 1))
        within = [t + (s - t) * at / each for t, s in pairwise(self.levels) for at in range(each)]
        return [*within, 0.0]


def reflow(asked: Setting) -> Objective:
    """Ends of whole trajectories."""
    return Reflow(
        teacher=asked.teacher,
        teacher_levels=asked.finer(max(1, asked.teacher_steps // 2)),
        levels=asked.levels,
    )


def progressive(asked: Setting) -> Objective:
    """Guidance and all steps at once: as many of the teacher's as make one of the student's."""
    few = len(asked.levels) - 1
    merged = max(2, asked.teacher_steps // few)
    levels = asked.finer(merged * few)
    return Progressive(teacher=asked.teacher, teacher_levels=levels, merged=merged)


def consistency(asked: Setting) -> Objective:
    """Jumps of two of the teacher's levels."""
    return Consistency(
        teacher=asked.teacher,
        average=asked.average,
        levels=asked.finer(2 * asked.teacher_steps),
        skip=2,
    )


def matching(asked: Setting) -> Objective:
    """Two scores, and their difference."""
    fake = Composed(copy.deepcopy(asked.network), fast=True).requires_grad_(True)
    rivals = Rivals(
        networks=nn.ModuleDict({"fake": fake}), learning_rate=RIVALS_RATE, turns=asked.turns
    )
    return Matching(real=asked.teacher, rivals=rivals, levels=asked.levels, renoise=False)


def adversarial(asked: Setting) -> Objective:
    """Critics of pictures and of motion, and the teacher."""
    both = {"spatial": False, "temporal": True}
    critics = {name: critic_of(asked.network, temporal=value) for name, value in both.items()}
    rivals = Rivals(networks=nn.ModuleDict(critics), learning_rate=RIVALS_RATE, turns=asked.turns)
    return Adversarial(teacher=asked.teacher, rivals=rivals, levels=asked.levels)


def backward(asked: Setting) -> Objective:
    """The student's own trajectory, corrected."""
    return Backward(
        teacher=asked.teacher,
        teacher_levels=asked.finer(max(1, asked.teacher_steps // 2)),
        levels=asked.levels,
    )


METHODS: Mapping[str, Callable[[Setting], Objective]] = {
    method.__name__: method
    for method in (reflow, progressive, consistency, matching, adversarial, backward)
}


def rivals_of(objective: Objective) -> Rivals | None:
    """Whom an objective learns against."""
    return objective.rivals if isinstance(objective, Contest) else None


def asked_teacher(
    teachers: Mapping[str, NetworkTeacher], first: str, then: Mapping[str, float]
) -> Predictor:
    """One teacher, or several, each from a log-SNR on."""
    first = first or next(iter(teachers))
    if not then:
        return teachers[first].predict
    sources = [teachers[name].predict for name in (first, *then)]
    return RoutedTeacher(ranges=Ranges(sources=sources, cuts=list(then.values())))


def critic_of(network: Denoiser, *, temporal: bool, seed: int = 0) -> Critic:
    """Heads on what a network's sticker encoder sees in a frame."""
    width = network.config.encoder
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Critic(trunk(network), (width, 2 * width), temporal=temporal)


def trunk(network: Denoiser) -> Features:
    """A sticker encoder's maps, before it hears the caption: (N, C, H, W) in [-1, 1] -> two."""
    encoder = frozen(copy.deepcopy(network.sticker))

    def seen(images_NCHW: Tensor) -> list[Tensor]:
        x = encoder.stem(F.pixel_unshuffle(images_NCHW, PATCH))
        for block in encoder.fine:
            x = block(x)
        return [x, encoder.coarse[0](encoder.down(x))]

    return seen
