"""Real clips and a teacher -> a student whose clips critics cannot tell from real ones.

ADD: Sauer et al. 2023 (arXiv 2311.17042), sec. 3.2 and 3.3. Several critics at once, each with its
own view, as SF-V's separate spatial and temporal heads (Zhang et al. 2024, arXiv 2406.04324).
"""

# Shapes: B clips, then any.

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from minuet.contracts.errors import RequestError
from minuet.distill.critics import hinge_critic, hinge_student, untrained
from minuet.distill.few.step import of_step
from minuet.distill.loop import Rivals
from minuet.distill.path import draw_levels, noised, standard
from minuet.distill.predict import Lesson, Predictor
from minuet.distill.rollout import checked


@dataclass(frozen=True, slots=True, kw_only=True)
class Adversarial:
    """One step from a noised real clip must convince every critic and agree with the teacher."""

    teacher: Predictor
    rivals: Rivals  # critics, clips (B, ...) -> logits: with spatial heads and temporal ones, say
    levels: Sequence[float]  # the student's, from 1 to 0
    distil: float = 2.5  # weight of the teacher's say (sec. 4)
    penalty: float = 0.0  # R1, on how steep critics are at real clips: steep ones chase modes away

    def __post_init__(self) -> None:
        for step in range(len(checked(self.levels)) - 1):
            if not of_step(self.rivals.networks, step):
                raise RequestError(f"step {step} has no critic.")

    def __call__(
        self, network: nn.Module, lesson: Lesson, rng: torch.Generator
    ) -> tuple[Tensor, Mapping[str, Tensor]]:
        x, critics = self._made(network, lesson, rng)
        with untrained(self.rivals.networks):
            fooled = torch.stack([hinge_student(one(x)) for one in critics.values()]).mean()
        t_B = draw_levels(len(x), rng).to(x)
        with torch.no_grad():
            told = self.teacher(noised(x, standard(x, rng), t_B), t_B, lesson.condition)
        # c(t) = alpha_t, "exponential weighting": a noisier question has a vaguer answer.
        distance_B = (x - told).square().flatten(1).mean(1)
        distilled = ((1 - t_B) * distance_B).mean()
        parts = {"fooled": fooled.detach(), "distilled": distilled.detach()}
        return fooled + self.distil * distilled, parts

    def against(
        self, network: nn.Module, lesson: Lesson, rng: torch.Generator
    ) -> tuple[Tensor, Mapping[str, Tensor]]:
        """The critics' hinge losses."""
        with torch.no_grad():
            x, critics = self._made(network, lesson, rng)
        real = lesson.x0.detach().requires_grad_(self.penalty > 0)
        judged = {name: one(real) for name, one in critics.items()}
        parts = {name: hinge_critic(judged[name], one(x)) for name, one in critics.items()}
        if self.penalty:
            parts["steep"] = 0.5 * self.penalty * steepness(real, list(judged.values()))
        return torch.stack(list(parts.values())).sum(), {k: v.detach() for k, v in parts.items()}

    def _made(
        self, network: nn.Module, lesson: Lesson, rng: torch.Generator
    ) -> tuple[Tensor, dict[str, nn.Module]]:
        """The student's answers at one of its steps, and that step's critics."""
        clean = lesson.x0
        step = int(torch.randint(len(self.levels) - 1, (1,), generator=rng))
        t_B = clean.new_full((len(clean),), self.levels[step])
        z = noised(clean, standard(clean, rng), t_B)
        return network(z, t_B, lesson.condition), of_step(self.rivals.networks, step)


def steepness(real: Tensor, judged: Sequence[Tensor]) -> Tensor:
    """|dD/dx|^2, a mean over clips. Mescheder et al. 2018 (arXiv 1801.04406), eq. 9."""
    total = torch.stack([logits.flatten(1).mean(1).sum() for logits in judged]).sum()
    (slope,) = torch.autograd.grad(total, real, create_graph=True)
    return slope.square().flatten(1).sum(1).mean()
