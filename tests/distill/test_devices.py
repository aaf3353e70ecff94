"""Whatever is learnt, it is learnt where the lesson is: no tensor stays behind on the CPU.

The device here is "meta", which computes shapes alone and, as a GPU, takes no tensor of the CPU.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TypeVar

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

from minuet.distill.augment import Augment
from minuet.distill.batch import Batch
from minuet.distill.codec import LatentFlowMatching, Reconstruction
from minuet.distill.factorized import Critique, Factorized, Samples, Voice, rivals_of
from minuet.distill.few.adversarial import Adversarial
from minuet.distill.few.backward import Backward
from minuet.distill.few.consistency import Consistency
from minuet.distill.few.guidance import Folding
from minuet.distill.few.matching import Matching
from minuet.distill.few.progressive import Progressive
from minuet.distill.few.reflow import Reflow
from minuet.distill.loop import Contest, Objective, Rivals
from minuet.distill.losses import Weights
from minuet.distill.objectives import FlowMatching
from minuet.distill.path import generator, standard
from minuet.distill.predict import Composed, Lesson, in_bfloat16
from minuet.distill.scale import placed
from minuet.distill.shrink.extrude import Extrusion, by_norm
from minuet.distill.shrink.gaps import GapDistillation, RandomGap
from minuet.distill.shrink.recover import Recovery
from minuet.distill.steps import StepDistillation
from minuet.distill.tailor import CleanLoss, Draw, Ranges, Routed, RoutedDraw
from minuet.distill.teacher import NetworkTeacher, PredictorTeacher, Space
from minuet.distill.views import Clip
from minuet.models.denoiser import Denoiser
from tests.distill.few.mixture import Judge, Small, lesson
from tests.distill.squares import MIRROR, draw, squares
from tests.models.tiny import LATENT, LEVELS, autoencoder, denoiser

N = TypeVar("N", bound=nn.Module)
META = torch.device("meta")
FLOW = FlowMatching(augment=Augment(), mirror=MIRROR, weights=Weights(), bfloat16=False)
MANY = (1.0, 0.8, 0.6, 0.4, 0.0)


def clips() -> Batch:
    """Stickers on the other device, but for the numbers of their noise, which are read."""
    batch: Batch = placed(draw(2, generator(1)), META)
    return replace(batch, noise_B=torch.arange(2))


def there(network: N) -> N:
    return network.to(META)


def rivals(**kinds: Callable[[], nn.Module]) -> Rivals:
    networks = nn.ModuleDict({kind: there(make()) for kind, make in kinds.items()})
    return Rivals(networks=networks, learning_rate=1e-3)


class Told(nn.Module):
    """A critic of points that may be told something."""

    def __init__(self) -> None:
        super().__init__()
        self.judge = Judge()

    def forward(self, x: Tensor, told: Tensor | None) -> Tensor:
        logits: Tensor = self.judge(x)
        return logits


def factorized() -> Factorized:
    samples = Samples(teacher=there(Small()), levels=LEVELS)
    critique = Critique(critic=there(Told()), positives=samples)
    voices = {"all": Voice(teacher=there(Small()), view=Clip(names={}), critique=critique)}
    return Factorized(voices=voices, rivals=rivals_of(voices, learning_rate=1e-3))


def cheap(
    network: nn.Module, lesson: Lesson, rng: torch.Generator
) -> tuple[Tensor, Mapping[str, Tensor]]:
    return lesson.x0.mean(), {}


GENERIC: dict[str, Callable[[nn.Module], Objective]] = {
    "factorized": lambda teacher: factorized(),
    "folding": lambda teacher: Folding(teacher=teacher),
    "consistency": lambda teacher: Consistency(teacher=teacher, average=teacher, levels=MANY),
    "progressive": lambda teacher: Progressive(teacher=teacher, teacher_levels=MANY),
    "reflow": lambda teacher: Reflow(teacher=teacher, teacher_levels=MANY, levels=LEVELS),
    "backward": lambda teacher: Backward(teacher=teacher, teacher_levels=MANY, levels=LEVELS),
    "matching": lambda teacher: Matching(
        real=teacher, rivals=rivals(fake=Small, critic=Judge), levels=LEVELS
    ),
    "adversarial": lambda teacher: Adversarial(
        teacher=teacher, rivals=rivals(critic=Judge), levels=LEVELS, penalty=1.0
    ),
}
STICKERS: dict[str, Callable[[Denoiser], Objective]] = {
    "flow": lambda teacher: FLOW,
    "steps": lambda teacher: StepDistillation(
        levels=LEVELS, seed=1, augment=Augment(), mirror=MIRROR, weights=Weights(), bfloat16=False
    ),
    "recovery": lambda teacher: Recovery(
        task=cheap, teacher=teacher, levels=LEVELS, bfloat16=False
    ),
    "extrusion": lambda teacher: Extrusion(
        task=cheap, kept=by_norm(denoiser(), 0.5), step=lambda: 10
    ),
    "random gap": lambda teacher: RandomGap(task=cheap, gaps=(2,)),
    "gap": lambda teacher: GapDistillation(teacher=Composed(teacher), gaps=(2,)),
}


@pytest.mark.parametrize("name", GENERIC)
def test_a_method_learns_where_its_lesson_is(name: str) -> None:
    points = placed(lesson(8, generator(1)), META)
    network, objective = there(Small()), GENERIC[name](there(Small()))
    assert objective(network, points, generator(2))[0].device == META
    if isinstance(objective, Contest):
        assert objective.against(network, points, generator(2))[0].device == META


@pytest.mark.parametrize("name", STICKERS)
def test_a_method_of_stickers_learns_where_its_lesson_is(name: str) -> None:
    objective = STICKERS[name](there(denoiser()))
    assert objective(there(denoiser()), clips(), generator(2))[0].device == META


def test_latents_are_learnt_where_the_lesson_is() -> None:
    codec = there(autoencoder())
    over = LatentFlowMatching(codec=codec, augment=Augment(), mirror=MIRROR, bfloat16=False)
    frames = Reconstruction(augment=Augment(), mirror=MIRROR, bfloat16=False)
    batch = placed(squares(2), META)
    network = there(denoiser(**LATENT, channels=4, side=8))
    assert over(network, batch, generator(2))[0].device == META
    assert frames(codec, batch, generator(2))[0].device == META


def test_levels_that_came_with_a_lesson_are_learnt_where_it_is() -> None:
    sources: tuple[Draw, Draw] = (lesson, lesson)
    ranges = Ranges(sources=sources, cuts=(0.0,))
    points = placed(RoutedDraw(ranges=ranges)(4, generator(1)), META)
    assert ranges.of(points.t_B).device == META
    objective = Routed(loss=CleanLoss(asked=lambda network: network))
    assert objective(there(Small()), points, generator(2))[0].device == META


@torch.no_grad()
def test_a_teacher_answers_and_samples_where_it_is_asked() -> None:
    network, batch = there(denoiser()), clips()
    own = NetworkTeacher(name="own", network=network, levels=LEVELS, guidance=2.0, bfloat16=False)
    noise, t_B = standard(batch.x0, generator(1)), torch.full((2,), 0.5, device=META)
    assert own.predict(noise, t_B, batch.condition).device == META
    assert own.sample(noise, batch.condition).device == META
    points = standard(torch.empty(4, 2, device=META), generator(1))
    space = Space(shape=(2,))
    other = PredictorTeacher(name="other", predictor=there(Small()), space=space, levels=LEVELS)
    assert other.sample(points, {}).device == META


def test_bfloat16_is_where_it_is_wanted_and_else_the_precision_stays() -> None:
    a = torch.ones(2, 2)
    with in_bfloat16(True, a):
        assert (a @ a).dtype == torch.bfloat16
        with in_bfloat16(False, a):
            assert (a @ a).dtype == torch.bfloat16  # as it was launched
    with in_bfloat16(False, a):
        assert_close(a @ a, 2 * a)
