"""Several teachers, each knowing its part -> one student that knows the whole.

Factorized diffusion distillation, Singer et al. 2024 (arXiv 2403.09334): the student's few-step
output is pulled by every teacher's score and judged by every teacher's critic. No example of the
whole is needed: critics learn from the teachers' own samples.
"""

# Shapes: B clips, then any.

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from minuet.distill.critics import hinge_critic, hinge_student, untrained
from minuet.distill.loop import Rivals
from minuet.distill.path import standard
from minuet.distill.predict import Condition, Lesson, Predictor
from minuet.distill.rollout import descend, generate, recomputed, shared
from minuet.distill.score import Range, Weight, as_level, pulled
from minuet.distill.views import View

Positives = Callable[[Tensor, Condition], Tensor]  # noise, a view's condition -> x0
Told = Callable[[Condition], Tensor]  # a view's condition -> what a critic is told (B, D)
WHOLE = Range()


@dataclass(frozen=True, slots=True, kw_only=True)
class Critique:
    """A critic of one teacher's part, and where its examples come from: never from data."""

    critic: nn.Module  # (output, told or None) -> logits (B, k)
    positives: Positives  # a teacher's `sample`, `Samples`, or a cache of either
    told: Told | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Voice:
    """One teacher, what it is shown of the student's output, and how much it counts."""

    teacher: Predictor
    view: View
    weight: float = 0.5  # alpha and beta of the paper
    levels: Range = WHOLE
    trust: Weight = as_level  # c(t)
    critique: Critique | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Samples:
    """What a predictor makes of noise in many steps: the positives of a teacher without sampler."""

    teacher: Predictor
    levels: Sequence[float]  # from 1 to 0

    def __call__(self, noise: Tensor, told: Condition) -> Tensor:
        """Clean samples."""
        return generate(self.teacher, noise, self.levels, told)


@dataclass(frozen=True, slots=True, kw_only=True)
class Factorized:
    """The student's loss: sum over teachers of weight * (critic + sds * score distillation).

    Published defaults. The paper trains with the score alone first and adds the critics for the
    last third: two runs, the first with no critique in any voice.

    Args:
        steps: of the student's rollout, all unrolled.
        sds: lambda; 0 leaves the scores out.
        bins: one random level out of each of `steps` equal bins; False: their upper ends.
        pure_start: the first call is told level 1, which its input is; the other levels of its
            bin are then not learned. False, the paper's wording: its level too is drawn from its
            bin, and pure noise is taken for that level.
        last_step_only: departure: gradients through the last call alone.
        recomputed: departure in memory only: each call's insides are computed again for the
            gradient. The numbers are the same.
        rivals: what `rivals_of` made of the voices; None: no critic.
    """

    voices: Mapping[str, Voice]
    steps: int = 3
    sds: float = 2.5
    bins: bool = True
    pure_start: bool = True
    last_step_only: bool = False
    recomputed: bool = False
    rivals: Rivals | None = None

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise ValueError(f"a rollout needs a step, got {self.steps}")
        judged = sorted(name for name, voice in self.voices.items() if voice.critique is not None)
        trained = sorted(self.rivals.networks) if self.rivals else []
        if judged != trained:
            raise ValueError(f"critics of {judged} and rivals {trained}: use rivals_of(voices)")

    def __call__(
        self, network: nn.Module, lesson: Lesson, rng: torch.Generator
    ) -> tuple[Tensor, Mapping[str, Tensor]]:
        """The student's loss; the parts are each teacher's residual and each critic's answer."""
        output = self.play(network, lesson, rng)
        total, parts = output.new_zeros(()), dict[str, Tensor]()
        for name, voice in self.voices.items():
            seen, told = voice.view(output, lesson.condition)
            if self.sds:
                t_B = voice.levels.draw(len(seen), rng).to(seen)
                noise = standard(seen, rng)
                pull = pulled(voice.teacher, seen, told, t_B, noise, voice.trust)
                total = total + voice.weight * self.sds * pull.loss
                parts[f"{name}_residual"] = pull.residual
            if voice.critique is not None:
                with untrained(voice.critique.critic):
                    fooled = hinge_student(_judged(voice.critique, seen, told))
                total = total + voice.weight * fooled
                parts[f"{name}_critic"] = fooled.detach()
        return total, parts

    def against(
        self, network: nn.Module, lesson: Lesson, rng: torch.Generator
    ) -> tuple[Tensor, Mapping[str, Tensor]]:
        """The critics' loss: the teachers' samples against the student's output."""
        with torch.no_grad():
            output = self.play(network, lesson, rng)
        total, parts = output.new_zeros(()), dict[str, Tensor]()
        for name, voice in self.voices.items():
            if voice.critique is None:
                continue
            seen, told = voice.view(output, lesson.condition)
            noise = standard(seen, rng)
            real = voice.critique.positives(noise, told)
            judged = (_judged(voice.critique, clip, told) for clip in (real, seen))
            parts[f"{name}_critic_loss"] = hinge_critic(*judged)
            total = total + voice.weight * parts[f"{name}_critic_loss"]
        return total, {name: part.detach() for name, part in parts.items()}

    def play(self, network: nn.Module, lesson: Lesson, rng: torch.Generator) -> Tensor:
        """The student's output from pure noise, with gradients through its steps."""
        noisy, condition = standard(lesson.x0, rng), lesson.condition
        steps = shared(self.drawn(rng), noisy)
        if self.last_step_only:
            with torch.no_grad():
                noisy = descend(network, noisy, steps[:-1], condition)
            steps = steps[-2:]
        ask = recomputed(network) if self.recomputed else network
        return descend(ask, noisy, steps, condition)

    def drawn(self, rng: torch.Generator) -> list[float]:
        """k + 1 levels from the first call's to 0."""
        uniform = torch.rand(self.steps, generator=rng) if self.bins else torch.ones(self.steps)
        levels = [(self.steps - 1 - i + float(u)) / self.steps for i, u in enumerate(uniform)]
        first = [1.0] if self.pure_start else levels[:1]
        return [*first, *levels[1:], 0.0]


def rivals_of(
    voices: Mapping[str, Voice], *, learning_rate: float, turns: int = 1
) -> Rivals | None:
    """The critics of the voices, to be trained against the student; None where there is none."""
    critics = {
        name: voice.critique.critic for name, voice in voices.items() if voice.critique is not None
    }
    if not critics:
        return None
    return Rivals(networks=nn.ModuleDict(critics), learning_rate=learning_rate, turns=turns)


def _judged(critique: Critique, seen: Tensor, told: Condition) -> Tensor:
    logits: Tensor = critique.critic(seen, critique.told(told) if critique.told else None)
    return logits
