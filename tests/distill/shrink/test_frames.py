"""Frames: gates over what mixes them, and networks that make every second one."""

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

from minuet.contracts.errors import RequestError
from minuet.distill.batch import Batch
from minuet.distill.loop import TrainConfig, Trainer
from minuet.distill.path import generator
from minuet.distill.predict import Composed
from minuet.distill.shrink.gaps import GapDistillation, RandomGap, at_gap, every, part_time
from minuet.distill.shrink.gates import by_size, gated, ungated
from minuet.distill.shrink.importance import cut
from minuet.models.denoiser import Denoiser
from minuet.models.structure import Removed, temporal
from tests.distill.shrink.test_blocks import TASK, loss_of, taught
from tests.distill.shrink.test_channels import answer
from tests.distill.squares import FRAMES, draw, squares
from tests.models.tiny import denoiser, shaken


def test_gates_that_are_shut_are_the_blocks_that_go() -> None:
    network = gated(denoiser(), keep=2)
    with torch.no_grad():
        network.get_parameter("gates.wish").copy_(torch.tensor([0.1, 0.5, -1.0, 0.2, 0.0]))
    small = ungated(network)
    names = temporal(denoiser())
    assert small.config.removed == (names[0], names[2], names[4])
    assert all(isinstance(small.get_submodule(n), Removed) for n in small.config.removed)
    assert_close(answer(small), answer(network), atol=1e-6, rtol=1e-5)
    assert_close(answer(small), answer(cut(denoiser(), small.config.removed)), atol=0, rtol=0)
    assert sum(p.numel() for p in small.parameters()) < sum(
        p.numel() for p in denoiser().parameters()
    )


def test_shut_gates_learn_too() -> None:
    network = gated(denoiser(), keep=1)
    TASK(network, draw(2, generator(1)), generator(2))[0].backward()
    grad = network.get_parameter("gates.wish").grad
    assert grad is not None and grad.ne(0).all()
    assert sum(name.startswith("gates") for name, _ in network.named_parameters()) == 1


def test_a_gated_network_trains_and_goes_on(tmp_path: Path) -> None:
    config = TrainConfig(clips=12, batch=2, warmup_clips=4, save_seconds=1e9, bfloat16=False)
    trainer = Trainer(gated(denoiser(), 2).train(), config, tmp_path)
    trainer.run(TASK, draw)
    again = Trainer(gated(denoiser(), 2).train(), config, tmp_path)
    assert again.resume()
    assert isinstance(again.average, Denoiser) and isinstance(trainer.average, Denoiser)
    assert_close(answer(ungated(again.average)), answer(ungated(trainer.average)), atol=0, rtol=0)
    # The average has gates of its own: those of the network change nothing in it.
    before = answer(trainer.average)
    with torch.no_grad():
        trainer.network.get_parameter("gates.wish").neg_()
    assert_close(answer(trainer.average), before, atol=0, rtol=0)


def test_gates_that_shut_nothing_are_refused() -> None:
    with pytest.raises(RequestError, match="5 of 5 gated blocks cannot be kept"):
        gated(denoiser(), keep=5)


@pytest.mark.slow
def test_a_network_learns_to_do_without_the_blocks_behind_shut_gates(
    tmp_path: Path, trained: Callable[[], Denoiser]
) -> None:
    whole = trained()
    learnt = ungated(taught(gated(whole, keep=2), 80, tmp_path))
    assert len(learnt.config.removed) == 3
    assert loss_of(learnt) < loss_of(cut(whole, learnt.config.removed))


@torch.no_grad()
def test_by_size_the_blocks_of_small_weights_go() -> None:
    network, names = denoiser(), temporal(denoiser())
    for name in names[1:4]:
        for parameter in network.get_submodule(name).parameters():
            parameter.mul_(1e-3)
    assert sorted(by_size(network, keep=2)) == sorted(names[1:4])


def test_every_second_frame_of_a_batch_is_the_same_frame() -> None:
    batch = squares(2, side=16)
    half = every(batch, 2)
    assert half.frames == FRAMES // 2 and half.clips == 2
    assert_close(half.x0, batch.x0[:, ::2])
    assert_close(
        half.flow_N2HW.reshape(2, 2, 2, 16, 16), batch.flow_N2HW.reshape(2, 4, 2, 16, 16)[:, ::2]
    )


def test_work_at_a_gap_is_that_of_the_smaller_network_and_teaches_the_larger() -> None:
    network = denoiser()
    small, half = part_time(network, 2), every(squares(2, side=16), 2)
    asked = (half.x0, torch.full((2,), 0.7), half.condition)
    found = at_gap(network, 2, lambda one: Composed(one)(*asked))
    assert_close(found, Composed(small)(*asked), atol=0, rtol=0)
    found.square().sum().backward()
    assert network.frame.grad is not None
    assert network.frame.grad[::2].any() and not network.frame.grad[1::2].any()
    assert network.fine_in.conv_in.weight.grad is not None


def test_gaps_are_drawn_and_each_is_learnt() -> None:
    network = denoiser(frames=FRAMES)
    seen = []

    def task(
        one: nn.Module, batch: Batch, rng: torch.Generator
    ) -> tuple[Tensor, Mapping[str, Tensor]]:
        assert isinstance(one, Denoiser)
        seen.append((one.config.frames, batch.frames))
        return TASK(one, batch, rng)

    objective = RandomGap(task=task, gaps=(1, 2))
    for seed in range(8):
        loss, _ = objective(network, draw(2, generator(1)), generator(seed))
        loss.backward()
    assert set(seen) == {(4, 4), (2, 2)}
    with pytest.raises(RequestError, match="a gap divides the 4 frames"):
        RandomGap(task=TASK, gaps=(3,))(network, draw(2, generator(1)), generator(0))


def test_a_part_time_student_learns_what_the_whole_says_of_its_frames() -> None:
    teacher, network = denoiser(), denoiser()
    shaken(network, 0.02)
    objective = GapDistillation(teacher=Composed(teacher), gaps=(2,))
    optimizer = torch.optim.Adam(network.parameters(), 1e-3)
    losses = []
    for step in range(15):
        loss, _ = objective(network, draw(2, generator(1)), generator(7))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
        assert all(p.grad is None for p in teacher.parameters()), step
    assert losses[-1] < 0.8 * losses[0]
    same = GapDistillation(teacher=Composed(teacher), gaps=(1,))
    assert same(teacher, draw(2, generator(1)), generator(7))[0].item() == 0


def test_a_part_time_student_shows_as_many_frames() -> None:
    small = part_time(denoiser(), 2)
    assert (small.config.frames, small.config.gap, small.config.shown) == (2, 2, 4)
    with pytest.raises(RequestError, match="a gap divides"):
        part_time(denoiser(), 4)
