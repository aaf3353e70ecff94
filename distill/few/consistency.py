"""A teacher's trajectory -> a network that answers the same from everywhere on it.

Song et al. 2023 (arXiv 2303.01469), eq. 5 and 7 and algorithm 2; Luo et al. 2023 (arXiv
2310.04378), sec. 4.3: one jump of the teacher's solver skips k of its levels.
"""

# Shapes: B clips, then any.

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from minuet.contracts.errors import RequestError
from minuet.distill.path import at, noised, standard
from minuet.distill.predict import Condition, Lesson, Predictor
from minuet.distill.rollout import checked, stepped
from minuet.distill.scale import fleet, insist_whole

SPREAD = 0.5  # sigma_data of eq. 5's scalings
STEEP = 10_000.0  # LCM's timestep scaling of 10, for levels in [0, 1] in the place of 0..1000
SLACK = 0.00054  # Song and Dhariwal 2023 (arXiv 2310.14189), sec. 3.3, per square root of size


@dataclass(frozen=True, slots=True, kw_only=True)
class Consistency:
    """The answer at t is the answer of the network's average at s, one teacher's jump below."""

    teacher: Predictor
    average: Predictor  # of the network: the trainer keeps one, and its checkpoint too
    levels: Sequence[float]  # the teacher's many, from 1 to 0
    skip: int = 1  # how many of them a jump takes

    def __post_init__(self) -> None:
        insist_whole(fleet(), "consistency distillation")
        if not 1 <= self.skip < len(checked(self.levels)):
            raise RequestError(f"skip {self.skip} is not within {len(self.levels) - 1} steps.")

    def __call__(
        self, network: nn.Module, lesson: Lesson, rng: torch.Generator
    ) -> tuple[Tensor, Mapping[str, Tensor]]:
        clean, condition = lesson.x0, lesson.condition
        chosen = torch.randint(len(self.levels) - 1, (len(clean),), generator=rng)
        lower = (chosen + self.skip).clamp(max=len(self.levels) - 1)
        table = torch.tensor(self.levels)
        t_B, s_B = table[chosen].to(clean), table[lower].to(clean)
        z = noised(clean, standard(clean, rng), t_B)
        with torch.no_grad():
            below = stepped(z, self.teacher(z, t_B, condition), t_B, s_B)
            target = bounded(self.average, below, s_B, condition)
        loss = pseudo_huber(bounded(network, z, t_B, condition), target)
        return loss, {"consistency": loss.detach()}


def bounded(predictor: Predictor, z: Tensor, t_B: Tensor, condition: Condition) -> Tensor:
    """f(z, t) = c_skip z + c_out x0(z, t) with f(z, 0) = z: eq. 5 with LCM's scalings.

    c_skip = d^2 / (u^2 + d^2), c_out = u / sqrt(u^2 + d^2), u = 10000 t, d = 1/2. At t = 0.05
    c_skip is 1e-6: a sampler whose lowest level is above that needs no such wrapper.
    """
    u = at(STEEP * t_B, z)
    scale = (u.square() + SPREAD**2).sqrt()
    answer: Tensor = predictor(z, t_B, condition)
    return (SPREAD / scale).square() * z + u / scale * answer


def pseudo_huber(x: Tensor, target: Tensor) -> Tensor:
    """Mean over clips of sqrt(|x - y|^2 + c^2) - c, over the square root of a clip's size."""
    size = math.sqrt(x[0].numel())
    slack = SLACK * size
    distance_B = ((x - target).square().flatten(1).sum(1) + slack**2).sqrt() - slack
    return distance_B.mean() / size
