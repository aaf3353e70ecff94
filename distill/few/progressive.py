"""Several steps of a teacher -> one of the student, from wherever they begin.

Salimans and Ho 2022 (arXiv 2202.00512), algorithm 2: two steps become one, the student becomes
the teacher, and again. With a guided teacher and more steps at once, guidance and steps are
distilled jointly.
"""

# Shapes: B clips, then any.

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from minuet.contracts.errors import RequestError
from minuet.distill.few.step import apart
from minuet.distill.path import at, noised, standard
from minuet.distill.predict import Lesson, Predictor
from minuet.distill.rollout import checked, descend


@dataclass(frozen=True, slots=True, kw_only=True)
class Progressive:
    """One student step lands where `merged` teacher steps do."""

    teacher: Predictor
    teacher_levels: Sequence[float]  # from 1 to 0
    merged: int = 2

    def __post_init__(self) -> None:
        if self.merged < 2 or (len(checked(self.teacher_levels)) - 1) % self.merged:
            raise RequestError(
                f"{len(self.teacher_levels) - 1} teacher steps do not divide into {self.merged}s."
            )

    @property
    def levels(self) -> tuple[float, ...]:
        """The student's."""
        return tuple(self.teacher_levels[:: self.merged])

    def __call__(
        self, network: nn.Module, lesson: Lesson, rng: torch.Generator
    ) -> tuple[Tensor, Mapping[str, Tensor]]:
        clean, table = lesson.x0, torch.tensor(self.teacher_levels, device=lesson.x0.device)
        chosen = torch.randint(len(self.levels) - 1, (len(clean),), generator=rng) * self.merged
        way = [table[chosen.to(table.device) + k] for k in range(self.merged + 1)]
        z = noised(clean, standard(clean, rng), way[0])
        with torch.no_grad():
            end = descend(self.teacher, z, way, lesson.condition)
        target = implied(z, end, way[0], way[-1])
        loss = apart(network(z, way[0], lesson.condition), target, way[0])
        return loss, {"progressive": loss.detach()}


def implied(z: Tensor, end: Tensor, t_B: Tensor, s_B: Tensor) -> Tensor:
    """The clean estimate with which one Euler step from z at t ends there at s.

    x = (z_s - (s / t) z_t) / (1 - s / t): algorithm 2's target on the straight path.
    """
    share = at(s_B / t_B, z)
    return (end - share * z) / (1 - share)
