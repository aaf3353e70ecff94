"""A noise level -> who teaches there: a data set, or a teacher.

Style Tailoring (Sinha et al. 2023, arXiv 2311.10794): high noise decides what is where,
low noise what it looks like, so content is learnt from one source and style from another, in one
training, and sampling knows nothing of it. Ranges are of the log signal-to-noise ratio, which means
the same on every schedule.
"""

# Shapes: B clips, then any; t in [0, 1] on the straight path, where log-SNR = 2 log((1 - t) / t).

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from minuet.contracts.errors import RequestError
from minuet.distill.path import draw_levels, noised, standard
from minuet.distill.predict import Composed, Condition, Lesson, Predictor

S = TypeVar("S")
Draw = Callable[[int, torch.Generator], Any]  # how many, randomness -> a lesson
Loss = Callable[[nn.Module, Tensor, Tensor, Any], tuple[Tensor, Mapping[str, Tensor]]]


def log_snr(t_B: Tensor) -> Tensor:
    """log(alpha^2 / sigma^2) of the straight path: -inf at t = 1, inf at t = 0."""
    return 2 * (torch.log1p(-t_B) - torch.log(t_B))


def level_of(log_snr: float) -> float:
    """The straight path's t at a log-SNR."""
    return 1 / (1 + math.exp(log_snr / 2))


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranges(Generic[S]):
    """Sources from the noisiest range to the cleanest, and the log-SNR at which each gives way."""

    sources: Sequence[S]
    cuts: Sequence[float]

    def __post_init__(self) -> None:
        rising = all(a < b for a, b in zip(self.cuts[:-1], self.cuts[1:], strict=True))
        finite = all(math.isfinite(cut) for cut in self.cuts)
        if not self.sources or len(self.cuts) != len(self.sources) - 1 or not (rising and finite):
            raise RequestError(
                f"{len(self.sources)} sources need {max(0, len(self.sources) - 1)} cuts of log-SNR "
                f"that rise, not {list(self.cuts)}."
            )

    def of(self, t_B: Tensor) -> Tensor:
        """Which source each level belongs to (B,)."""
        cuts = torch.tensor(self.cuts, dtype=torch.float64, device=t_B.device)
        return torch.bucketize(log_snr(t_B.double()), cuts, right=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Levelled:
    """A lesson and the levels at which it is to be learnt."""

    lesson: Any  # a Lesson
    t_B: Tensor

    @property
    def x0(self) -> Tensor:
        """The lesson's clean examples."""
        clean: Tensor = self.lesson.x0
        return clean

    @property
    def condition(self) -> Condition:
        """What the network is told."""
        told: Condition = self.lesson.condition
        return told


@dataclass(frozen=True, slots=True, kw_only=True)
class RoutedDraw:
    """First the levels, then for each level a clip of the source that it belongs to."""

    ranges: Ranges[Draw]
    levels: Draw = draw_levels

    def __call__(self, size: int, rng: torch.Generator) -> Levelled:
        """A batch of the sources together, the noisiest range first."""
        t_B = self.levels(size, rng)
        which_B = self.ranges.of(t_B)
        counts = torch.bincount(which_B, minlength=len(self.ranges.sources)).tolist()
        drawn = zip(self.ranges.sources, counts, strict=True)
        lessons = [source(count, rng) for source, count in drawn if count]
        return Levelled(lesson=joined(lessons), t_B=t_B[which_B.argsort(stable=True)])


def joined(lessons: Sequence[Any]) -> Any:
    """Lessons of one kind, a dataclass of tensors, as one.

    Raises:
        RequestError: their kinds or shapes differ.
    """
    first = lessons[0]
    try:
        tensors = {
            field.name: torch.cat([getattr(one, field.name) for one in lessons])
            for field in fields(first)
            if isinstance(getattr(first, field.name), Tensor)
        }
    except (AttributeError, RuntimeError) as error:
        raise RequestError(f"lessons of unlike sources do not make one batch: {error}.") from error
    return replace(first, **tensors)


@dataclass(frozen=True, slots=True, kw_only=True)
class Routed:
    """What `RoutedDraw` is for: a loss at the levels that came with the lesson."""

    loss: Loss

    def __call__(
        self, network: nn.Module, lesson: Levelled, rng: torch.Generator
    ) -> tuple[Tensor, Mapping[str, Tensor]]:
        noisy = noised(lesson.x0, standard(lesson.x0, rng), lesson.t_B)
        return self.loss(network, noisy, lesson.t_B, lesson.lesson)


@dataclass(frozen=True, slots=True, kw_only=True)
class CleanLoss:
    """Squared distance of the clean estimate, of any network."""

    asked: Callable[[Any], Predictor] = Composed

    def __call__(
        self, network: nn.Module, noisy: Tensor, t_B: Tensor, lesson: Lesson
    ) -> tuple[Tensor, Mapping[str, Tensor]]:
        loss = F.mse_loss(self.asked(network)(noisy, t_B, lesson.condition), lesson.x0)
        return loss, {"clean": loss.detach()}


@dataclass(frozen=True, slots=True, kw_only=True)
class RoutedTeacher:
    """Teachers as one Predictor: each level asks the teacher of its range alone."""

    ranges: Ranges[Predictor]

    def __call__(self, noisy: Tensor, t_B: Tensor, condition: Condition) -> Tensor:
        """The clean estimates (B, ...)."""
        which_B, found = self.ranges.of(t_B), torch.empty_like(noisy)
        for at in which_B.unique().tolist():
            mine = which_B == at
            told = {name: value[mine] for name, value in condition.items()}
            found[mine] = self.ranges.sources[at](noisy[mine], t_B[mine], told).to(found)
        return found
