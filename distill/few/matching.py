"""A teacher's distribution -> a student's, by the difference of two scores.

DMD2: Yin et al. 2024 (arXiv 2405.14867): no pairs, a fake score of several turns (sec. 4.2), a
critic of noisy clips (4.3), steps that begin where the student's own end (4.4, 4.5). The gradient
is that of DMD, Yin et al. 2023 (arXiv 2311.18828), eq. 7 and 8.
"""

# Shapes: B clips, then any.

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from minuet.contracts.errors import RequestError
from minuet.distill.critics import softplus_critic, softplus_student, untrained
from minuet.distill.few.step import arrived, of_step
from minuet.distill.loop import Rivals
from minuet.distill.path import at, noised, standard
from minuet.distill.predict import Lesson, Predictor
from minuet.distill.rollout import checked

LOWEST, HIGHEST = 0.02, 0.98  # levels at which the scores are compared


@dataclass(frozen=True, slots=True, kw_only=True)
class Matching:
    """Move the student's samples from where its own score points to where the teacher's does."""

    real: Predictor  # the teacher, guided
    rivals: Rivals  # "fake" begins as the teacher; "critic" (noisy clips -> logits) may be there
    levels: Sequence[float]  # the student's, from 1 to 0
    adversary: float = 1e-3  # the critic's weight
    renoise: bool = True  # the student's sampler: predict and noise anew, or Euler

    def __post_init__(self) -> None:
        for step in range(len(checked(self.levels)) - 1):
            kinds = set(of_step(self.rivals.networks, step))
            if "fake" not in kinds or kinds - {"fake", "critic"}:
                raise RequestError(
                    f"each step's rivals are a fake and maybe a critic; step {step} has "
                    f"{sorted(kinds)}."
                )

    def __call__(
        self, network: nn.Module, lesson: Lesson, rng: torch.Generator
    ) -> tuple[Tensor, Mapping[str, Tensor]]:
        x, rivals = self._made(network, lesson, rng)
        t_B, noise = drawn(x, rng), standard(x, rng)
        with torch.no_grad():
            z = noised(x, noise, t_B)
            real = self.real(z, t_B, lesson.condition)
            push = direction(x, real, rivals["fake"](z, t_B, lesson.condition))
        loss = 0.5 * (x - (x - push).detach()).square().mean()
        parts = {"matching": push.square().mean(), "distance": (x - real).abs().mean().detach()}
        if (critic := rivals.get("critic")) is None:
            return loss, parts
        with untrained(critic):
            fooled = softplus_student(critic(noised(x, noise, t_B)))
        return loss + self.adversary * fooled, parts | {"fooled": fooled.detach()}

    def against(
        self, network: nn.Module, lesson: Lesson, rng: torch.Generator
    ) -> tuple[Tensor, Mapping[str, Tensor]]:
        """The fake score's denoising loss on the student's samples, and the critic's."""
        with torch.no_grad():
            x, rivals = self._made(network, lesson, rng)
        t_B, noise = drawn(x, rng), standard(x, rng)
        z = noised(x, noise, t_B)
        guess = rivals["fake"](z, t_B, lesson.condition)
        # Of the velocity, 1 / t times that of the clip: where noise is faint `direction` divides by
        # little, and the fake score must be right there too.
        loss = ((guess - x) / at(t_B, x)).square().mean()
        parts = {"fake": loss.detach()}
        if (critic := rivals.get("critic")) is None:
            return loss, parts
        true = noised(lesson.x0, standard(x, rng), t_B)
        told = softplus_critic(critic(true), critic(z))
        return loss + told, parts | {"told": told.detach()}

    def _made(
        self, network: nn.Module, lesson: Lesson, rng: torch.Generator
    ) -> tuple[Tensor, dict[str, nn.Module]]:
        """The student's samples at one of its steps, and that step's rivals."""
        condition = lesson.condition
        z, t_B, step = arrived(
            network, lesson.x0, self.levels, condition, rng, renoise=self.renoise
        )
        return network(z, t_B, condition), of_step(self.rivals.networks, step)


def drawn(x: Tensor, rng: torch.Generator) -> Tensor:
    """Levels (B,), even in LOWEST..HIGHEST."""
    return LOWEST + (HIGHEST - LOWEST) * torch.rand(len(x), generator=rng).to(x)


def direction(x: Tensor, real: Tensor, fake: Tensor) -> Tensor:
    """((x - real) - (x - fake)) / mean |x - real| of each clip: the way not to go."""
    size_B = (x - real).abs().flatten(1).mean(1).clamp(min=1e-6)
    return (fake - real) / at(size_B, x)
