"""A student's own trajectory -> what the teacher makes of every place on it.

Imagine Flash: Kohler et al. 2024 (arXiv 2405.05224): backward distillation, shifted reconstruction
loss, noise correction. Nothing of a real clip leaks into what is learnt.
"""

# Shapes: B clips, then any.

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from minuet.contracts.errors import RequestError
from minuet.distill.few.step import apart, arrived
from minuet.distill.predict import Lesson, Predictor
from minuet.distill.rollout import checked, descend, shared, stepped


@dataclass(frozen=True, slots=True, kw_only=True)
class Backward:
    """From its own noisy clip, one student step lands where the teacher's many steps do.

    The shifted loss lets the teacher begin elsewhere than the student: from the student's answer
    with the student's own noise at `begin`, higher for more of the structure, lower for more of
    the detail alone. Unshifted, that is the very clip that the student was given.

    Noise correction (the estimate at t = 1 is the noisy clip itself) is no extra step on this
    path: e = (z - (1 - t) x0) / t is z at t = 1.
    """

    teacher: Predictor
    teacher_levels: Sequence[float]  # from 1 to 0
    levels: Sequence[float]  # the student's, from 1 to 0
    begin: Sequence[float] = ()  # the teacher's level for each student step; none: the same
    renoise: bool = False  # the student's sampler: Euler, or predict and noise anew

    def __post_init__(self) -> None:
        checked(self.teacher_levels), checked(self.levels)
        if self.begin and (
            len(self.begin) != len(self.levels) - 1 or not all(0 < b <= 1 for b in self.begin)
        ):
            raise RequestError(f"a level in 0..1 for each student step, got {list(self.begin)}.")

    def __call__(
        self, network: nn.Module, lesson: Lesson, rng: torch.Generator
    ) -> tuple[Tensor, Mapping[str, Tensor]]:
        condition = lesson.condition
        z, t_B, step = arrived(
            network, lesson.x0, self.levels, condition, rng, renoise=self.renoise
        )
        made = network(z, t_B, condition)
        begin = (self.begin or self.levels)[step]
        with torch.no_grad():
            way = shared([begin, *(t for t in self.teacher_levels if t < begin)], z)
            target = descend(self.teacher, stepped(z, made, t_B, way[0]), way, condition)
        loss = apart(made, target, t_B)
        return loss, {"backward": loss.detach()}
