"""A cut network and the whole one -> what the cut one learns to be as good again."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from minuet.distill.loop import Objective
from minuet.distill.path import draw_among, draw_levels, noised, standard
from minuet.distill.predict import Composed, Lesson, in_bfloat16
from minuet.distill.shrink.watch import Asked, shared, watched


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovery:
    """The second stage of recovery: task, output and features, each as in the uncut network.

    L = L_task + |out - out'|^2 + sum |f - f'|^2, all weights 1: BK-SDM (Kim et al. 2023, arXiv
    2305.15798). Neodragon (arXiv 2511.06055) learns the task alone first; a trained cut
    network is far nearer to its teacher than a fresh one.
    """

    task: Objective
    teacher: nn.Module  # the uncut network
    output: float = 1.0
    features: float = 1.0
    levels: Sequence[float] = ()  # where to compare; none: all, as they are drawn in training
    asked: Asked = Composed
    bfloat16: bool = True

    def __call__(
        self, network: nn.Module, lesson: Lesson, rng: torch.Generator
    ) -> tuple[Tensor, Mapping[str, Tensor]]:
        loss, parts = self.task(network, lesson, rng)
        t_B = self._levels(len(lesson.x0), rng).to(lesson.x0)
        noisy = noised(lesson.x0, standard(lesson.x0, rng), t_B)
        names = shared(network, self.teacher)
        said, ours = self._answer(network, names, noisy, t_B, lesson)
        with torch.no_grad():
            told, theirs = self._answer(self.teacher, names, noisy, t_B, lesson)
        output = F.mse_loss(said, told)
        alike = [n for n in ours if ours[n].shape == theirs[n].shape]  # not where one is halved
        features = torch.stack([F.mse_loss(ours[n], theirs[n]) for n in alike]).sum()
        loss = loss + self.output * output + self.features * features
        return loss, {**parts, "output": output.detach(), "features": features.detach()}

    def _answer(
        self, network: nn.Module, names: Sequence[str], noisy: Tensor, t_B: Tensor, lesson: Lesson
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """What a network says, and what its modules make on the way."""
        with watched(network, names) as seen:
            with in_bfloat16(self.bfloat16, noisy):
                said = self.asked(network)(noisy, t_B, lesson.condition)
        return said.float(), {n: calls[-1][1].float() for n, calls in seen.items() if calls}

    def _levels(self, clips: int, rng: torch.Generator) -> Tensor:
        return draw_among(self.levels, clips, rng) if self.levels else draw_levels(clips, rng)
