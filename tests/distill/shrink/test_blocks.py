"""Blocks: which matter, what is left without one, and how it is learnt back."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch.testing import assert_close

from minuet.contracts.errors import RequestError
from minuet.distill.loop import Objective, TrainConfig, Trainer
from minuet.distill.losses import Weights
from minuet.distill.objectives import FlowMatching
from minuet.distill.path import generator, noised
from minuet.distill.predict import Composed
from minuet.distill.shrink.importance import cut, importances, least
from minuet.distill.shrink.recover import Recovery
from minuet.distill.shrink.watch import shared, watched
from minuet.models.denoiser import Denoiser
from minuet.models.structure import Removed
from tests.distill.squares import MIRROR, NOTHING, draw, squares
from tests.models.tiny import denoiser

TASK = FlowMatching(augment=NOTHING, mirror=MIRROR, weights=Weights(), bfloat16=False)


def taught(network: Denoiser, steps: int, folder: Path, task: Objective = TASK) -> Denoiser:
    """Some steps of a training."""
    config = TrainConfig(
        clips=4 * steps, batch=4, learning_rate=3e-3, warmup_clips=40, ema=0.9, save_seconds=1e9
    )
    trainer = Trainer(network.train().requires_grad_(True), config, folder)
    trainer.run(task, draw)
    assert isinstance(trainer.average, Denoiser)
    return trainer.average.eval()


@torch.no_grad()
def loss_of(network: Denoiser, seeds: int = 6) -> float:
    """The task's loss on batches that the seed decides."""
    found = [TASK(network, draw(4, rng := generator(99, seed)), rng)[0] for seed in range(seeds)]
    return float(torch.stack(found).mean())


def test_importance_is_one_minus_the_cosine_of_what_goes_in_and_out() -> None:
    network, lesson = denoiser(), squares(2, side=16)
    found = importances(network, [lesson], [0.5], seed=3)
    noise = torch.randn(lesson.x0.shape, generator=generator(3, 0, 0))
    t_B = torch.full((2,), 0.5)
    with torch.no_grad(), watched(network, ["coarse_in.0"]) as seen:
        Composed(network)(noised(lesson.x0, noise, t_B), t_B, lesson.condition)
    (before, after) = seen["coarse_in.0"][0]
    a, b = before.flatten(1), after.flatten(1)
    cosine = (a * b).sum(1) / (a.norm(dim=1) * b.norm(dim=1))
    assert found["coarse_in.0"] == pytest.approx(1 - float(cosine.mean()), abs=1e-5)


@torch.no_grad()
def test_a_block_that_does_nothing_is_the_least_important_and_is_not_missed() -> None:
    network = denoiser()
    for name in ("conv_out", "temporal.mix"):
        for parameter in network.get_submodule(f"coarse_out.0.{name}").parameters():
            parameter.zero_()
    scores = importances(network, [squares(2, side=16)], [0.9, 0.4])
    assert scores["coarse_out.0"] == pytest.approx(0.0, abs=1e-6)
    assert least(scores, 1) in (("coarse_out.0",), ("coarse_out.0.temporal",))
    small = cut(network, ("coarse_out.0",))
    assert isinstance(small.coarse_out[0], Removed)
    lesson = squares(2, side=16)
    asked = (lesson.x0, torch.full((2,), 0.7), lesson.condition)
    assert_close(Composed(small)(*asked), Composed(network)(*asked), atol=1e-5, rtol=1e-4)


def test_the_least_are_chosen_apart_from_each_other() -> None:
    scores = {"a": 0.3, "a.temporal": 0.1, "b": 0.2, "ab": 0.4}
    assert least(scores, 2) == ("a.temporal", "b")
    assert least(scores, 3) == ("a.temporal", "b", "ab")
    with pytest.raises(RequestError, match="4 blocks are to be removed, and 3 can be"):
        least(scores, 4)
    with pytest.raises(ValueError, match="none were given"):
        importances(denoiser(), [], [0.5])


def test_a_network_that_is_its_own_teacher_loses_nothing_to_it() -> None:
    network = denoiser()
    loss, parts = Recovery(task=TASK, teacher=network, bfloat16=False)(
        network, draw(2, generator(1)), generator(2)
    )
    alone, _ = TASK(network, draw(2, generator(1)), generator(2))
    assert float(parts["output"]) == 0 and float(parts["features"]) == 0
    assert_close(loss, alone)


def test_features_are_those_that_both_have_and_gradients_reach_the_student_alone() -> None:
    teacher = denoiser().requires_grad_(False)
    student = cut(teacher, ("coarse_out.0", "look.time")).requires_grad_(True)
    names = shared(student, teacher)
    assert {"coarse_in.0", "motions", "script", "out"} <= set(names)
    assert not {"coarse_out.0", "coarse_out.0.temporal", "look.time"} & set(names)
    recovery = Recovery(task=TASK, teacher=teacher, levels=(1.0,), bfloat16=False)
    loss, parts = recovery(student, draw(2, generator(1)), generator(2))
    loss.backward()
    assert float(parts["features"]) > 0 and float(parts["output"]) > 0
    assert all(p.grad is None for p in teacher.parameters())
    assert student.get_parameter("coarse_in.0.conv_in.weight").grad is not None


@pytest.mark.slow
def test_two_stages_bring_back_most_of_what_a_cut_lost(
    tmp_path: Path, trained: Callable[[], Denoiser]
) -> None:
    whole, names = trained(), ("coarse_in.0", "coarse_out.0")
    before, lost = loss_of(whole), loss_of(cut(whole, names))
    recovery = Recovery(task=TASK, teacher=whole, bfloat16=False)
    first = taught(cut(whole, names), 30, tmp_path / "first")
    found = loss_of(taught(first, 50, tmp_path / "second", recovery))
    assert lost > before
    assert (lost - found) / (lost - before) > 0.8
