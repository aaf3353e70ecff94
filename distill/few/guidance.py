"""A guided teacher's two or three passes -> one, with the scales still an input.

Meng et al. 2022 (arXiv 2210.03142), sec. 3.1: the student is told the scale, and scales are drawn
anew for every clip. Two scales, picture and words, in the same way.
"""

# Shapes: B clips, then any; S guidance scales of a clip.

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from minuet.contracts.errors import RequestError
from minuet.distill.few.step import apart
from minuet.distill.loop import Contest, Objective, Rivals
from minuet.distill.path import at, draw_levels, noised, standard
from minuet.distill.predict import Condition, Example, Guided, Lesson, Predictor
from minuet.models.denoiser import Denoiser

SCALES = "scales"  # the condition's name


@dataclass(frozen=True, slots=True, kw_only=True)
class Scaled:
    """A predictor guided by the scales it is told: the same question that its student answers."""

    predictor: Predictor
    names: Sequence[str]  # the conditions that are dropped, in the order of the scales

    def __call__(self, noisy: Tensor, t_B: Tensor, condition: Condition) -> Tensor:
        """The guided clean estimate; each clip by its own scales (B, S)."""
        scales_BS = condition[SCALES]
        own = {name: at(scales_BS[:, i], noisy) for i, name in enumerate(self.names)}
        told = {name: value for name, value in condition.items() if name != SCALES}
        return Guided(predictor=self.predictor, scales=own)(noisy, t_B, told)


@dataclass(frozen=True, slots=True, kw_only=True)
class Folding:
    """At any noise level, answer at once what the teacher answers in n + 1 passes."""

    teacher: Predictor

    def __call__(
        self, network: nn.Module, lesson: Lesson, rng: torch.Generator
    ) -> tuple[Tensor, Mapping[str, Tensor]]:
        t_B = draw_levels(len(lesson.x0), rng).to(lesson.x0)
        z = noised(lesson.x0, standard(lesson.x0, rng), t_B)
        with torch.no_grad():
            target = self.teacher(z, t_B, lesson.condition)
        loss = apart(network(z, t_B, lesson.condition), target, t_B)
        return loss, {"folded": loss.detach()}


@dataclass(frozen=True, slots=True, kw_only=True)
class ToldScales:
    """Any method, its lessons told scales drawn evenly from a range each: `Scaled` hears them."""

    objective: Objective
    ranges: Sequence[tuple[float, float]]

    @property
    def rivals(self) -> Rivals | None:
        """The method's own."""
        return self.objective.rivals if isinstance(self.objective, Contest) else None

    def __call__(
        self, network: nn.Module, lesson: Lesson, rng: torch.Generator
    ) -> tuple[Tensor, Mapping[str, Tensor]]:
        return self.objective(network, self._told(lesson, rng), rng)

    def against(
        self, network: nn.Module, lesson: Lesson, rng: torch.Generator
    ) -> tuple[Tensor, Mapping[str, Tensor]]:
        """The rivals' loss; they hear scales too."""
        assert isinstance(self.objective, Contest)
        return self.objective.against(network, self._told(lesson, rng), rng)

    def _told(self, lesson: Lesson, rng: torch.Generator) -> Example:
        low, high = torch.tensor(self.ranges).unbind(1)
        scales_BS = low + (high - low) * torch.rand(len(lesson.x0), len(low), generator=rng)
        told = dict(lesson.condition) | {SCALES: scales_BS.to(lesson.x0)}
        return Example(x0=lesson.x0, condition=told)


def attached(network: Denoiser, scales: int) -> Denoiser:
    """The same network with so many scales to be told; untrained, it answers what it answered.

    Raises:
        RequestError: it is told scales already.
    """
    if network.config.scales:
        raise RequestError(f"the network is told {network.config.scales} scales already.")
    found = Denoiser(replace(network.config, scales=scales))
    found.load_state_dict(network.state_dict(), strict=False)
    return found.train(network.training)
