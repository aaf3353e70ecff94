"""A teacher's whole trajectory from noise -> the straight line between its ends.

Liu et al. 2022 (arXiv 2209.03003), sec. 2.2. steps.StepDistillation is the same with stored
trajectories and the labels of sticker clips; here they are walked as they are needed.
"""

# Shapes: B clips, then any.

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from minuet.distill.few.step import apart
from minuet.distill.path import draw_among, noised, standard
from minuet.distill.predict import Lesson, Predictor
from minuet.distill.rollout import checked, generate


@dataclass(frozen=True, slots=True, kw_only=True)
class Reflow:
    """Learn, at the student's own levels, where the teacher's trajectory ends."""

    teacher: Predictor
    teacher_levels: Sequence[float]  # from 1 to 0
    levels: Sequence[float]  # the student's, from 1 to 0

    def __post_init__(self) -> None:
        checked(self.teacher_levels), checked(self.levels)

    def __call__(
        self, network: nn.Module, lesson: Lesson, rng: torch.Generator
    ) -> tuple[Tensor, Mapping[str, Tensor]]:
        start, condition = standard(lesson.x0, rng), lesson.condition
        end = generate(self.teacher, start, self.teacher_levels, condition)
        t_B = draw_among(self.levels[:-1], len(end), rng).to(end)
        loss = apart(network(noised(end, start, t_B), t_B, condition), end, t_B)
        return loss, {"reflow": loss.detach()}
