"""Channels: pushed out until nothing is left, or led through a funnel that is merged away."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch.testing import assert_close

from minuet.contracts.errors import RequestError
from minuet.distill.loop import TrainConfig, Trainer
from minuet.distill.path import generator
from minuet.distill.predict import Composed
from minuet.distill.shrink.extrude import Extrusion, by_chance, by_norm, extruded, left, masked
from minuet.distill.shrink.funnel import coupled, funnelled, merged
from minuet.models.denoiser import Denoiser, rebuilt
from minuet.models.layers import ResBlock
from minuet.models.structure import narrowable, strongest
from tests.distill.shrink.test_blocks import TASK, loss_of
from tests.distill.squares import draw, squares
from tests.models.tiny import TINY, denoiser


def answer(network: Denoiser) -> torch.Tensor:
    lesson = squares(2, side=16)
    with torch.no_grad():
        found: torch.Tensor = Composed(network)(lesson.x0, torch.full((2,), 0.7), lesson.condition)
        return found


def test_the_pull_grows_by_steps_up_to_its_ceiling() -> None:
    for step, strength in ((0, 0.0), (4, 0.0), (5, 1e-4), (14, 2e-4), (10**6, 1.0)):
        pull = Extrusion(task=TASK, kept={}, step=lambda step=step: step)  # type: ignore[misc]
        assert pull.strength == pytest.approx(strength)


def test_the_pulls_gradient_is_reg_times_weight_and_of_masked_channels_alone() -> None:
    network, kept = denoiser(), {"fine_in": torch.tensor([0, 1, 2, 3])}
    pull = Extrusion(task=TASK, kept=kept, step=lambda: 10, growth=0.25)
    grads = []
    for objective in (pull, TASK):
        network.zero_grad()
        objective(network, draw(2, generator(1)), generator(2))[0].backward()
        grad = network.fine_in.conv_in.weight.grad
        assert grad is not None
        grads.append(grad.clone())
    apart, weight = grads[0] - grads[1], network.fine_in.conv_in.weight.detach()
    assert_close(apart[4:], 0.5 * weight[4:], atol=1e-5, rtol=1e-4)
    assert_close(apart[:4], torch.zeros_like(apart[:4]), atol=1e-6, rtol=0)


def test_which_channels_stay_is_drawn_or_weighed() -> None:
    network = denoiser()
    one, two = (by_chance(network, 0.5, generator(3)) for _ in range(2))
    assert all(torch.equal(one[name], two[name]) for name in one)
    heavy = by_norm(network, 0.5)
    for name, block in narrowable(network).items():
        assert len(one[name]) == len(heavy[name]) and len(one[name]) <= block.inner
        assert torch.equal(heavy[name], strongest(block, len(heavy[name])))
    with pytest.raises(RequestError, match=r"in \(0, 1\]"):
        by_norm(network, 0.0)


def test_channels_that_are_still_there_are_not_removed() -> None:
    network = denoiser()
    with pytest.raises(RequestError, match="of the norm is left"):
        extruded(network, by_norm(network, 0.5))


@torch.no_grad()
def test_what_was_pushed_out_leaves_the_answer_nearly_as_it_was() -> None:
    network, kept = denoiser(), {"coarse_in.0": torch.arange(12)}
    block = narrowable(network)["coarse_in.0"]
    assert isinstance(block, ResBlock) and block.conv_in.bias is not None
    block.conv_in.weight[12:] = 0
    block.conv_in.bias[12:] = 0
    block.conv_out.weight[:, 12:] = 0
    assert left(network, kept) == 0 and float(masked(network, kept)) == 0
    small = extruded(network, kept)
    plain = rebuilt(network, replace(TINY, widths={"coarse_in.0": 12}), kept)
    assert narrowable(small)["coarse_in.0"].inner == 12
    apart = [float((answer(one) - answer(network)).abs().max()) for one in (small, plain)]
    assert apart[0] < apart[1]  # the norm's share is paid back


@pytest.mark.slow
def test_a_growing_pull_leaves_nothing_and_removal_costs_little(
    tmp_path: Path, trained: Callable[[], Denoiser]
) -> None:
    network = trained().train().requires_grad_(True)
    kept = by_chance(network, 0.5, generator(5))
    config = TrainConfig(
        clips=600, batch=2, learning_rate=5e-3, warmup_clips=40, ema=0.9, save_seconds=1e9
    )
    trainer = Trainer(network, config, tmp_path)
    trainer.run(Extrusion(task=TASK, kept=kept, step=lambda: trainer.step, growth=0.05), draw)
    assert isinstance(trainer.average, Denoiser)
    assert left(trainer.average, kept) < 1e-3
    pushed = trainer.average.eval()
    small = extruded(pushed, kept)
    inner = {name: block.inner for name, block in narrowable(small).items()}
    assert inner == {name: len(rows) for name, rows in kept.items()}
    before, removed = loss_of(pushed), loss_of(small)
    whole, at_once = loss_of(trained()), loss_of(rebuilt(trained(), small.config, kept))
    print(f"pushed out {before:.4f}, then removed {removed:.4f}")
    print(f"whole {whole:.4f}, removed at once {at_once:.4f}")
    assert removed - before < 0.5 * (at_once - whole)


def test_a_coupled_pair_loses_least_of_the_product() -> None:
    rng = generator(1)
    first, last = torch.randn(12, 30, generator=rng), torch.randn(20, 12, generator=rng)
    down, up = coupled(first, last, 5)
    u, s, vh = torch.linalg.svd(last @ first)
    best = (u[:, :5] * s[:5]) @ vh[:5]
    assert_close(last @ up @ down @ first, best, atol=1e-3, rtol=1e-4)
    assert_close(down @ up, torch.eye(5), atol=1e-4, rtol=0)


def test_a_merged_funnel_is_the_funnel_and_is_small() -> None:
    network = denoiser()
    wide = funnelled(network, 0.5)
    small = merged(wide)
    assert_close(answer(small), answer(wide), atol=1e-5, rtol=1e-4)
    for name, block in narrowable(small).items():
        before = narrowable(network)[name]
        assert block.inner == small.config.widths[name] == round(before.inner / 2)
        assert block.ends[0].weight.numel() * 2 == before.ends[0].weight.numel()
    names = [name for name, _ in wide.named_parameters()]
    assert any("original" in name for name in names)  # all the wide weights are trained
    assert not any("original" in name for name, _ in small.named_parameters())


def test_a_funnel_is_two_more_products_around_a_narrow_middle() -> None:
    wide = funnelled(denoiser(), 0.5)
    first = narrowable(wide)["caption.mlps.0"].ends[0]
    down = first.get_parameter("parametrizations.weight.0.matrix")
    original = first.get_parameter("parametrizations.weight.original")
    x = torch.randn(3, TINY.text, generator=generator(1))
    explicit = (x @ original.T) @ down.T + first.get_parameter("bias")
    assert_close(first(x), explicit, atol=1e-5, rtol=1e-4)


def test_a_funnel_begins_nearer_than_random_ones_do() -> None:
    network = denoiser()
    for parameter in network.parameters():
        parameter.requires_grad_(False)
    begun, chance = funnelled(network, 0.75), funnelled(network, 0.75)
    rng = generator(4)
    for name, parameter in chance.named_parameters():
        if name.endswith("matrix"):
            parameter.data = torch.randn(parameter.shape, generator=rng) * parameter.std()
    true = answer(network)
    assert (answer(begun) - true).square().mean() < (answer(chance) - true).square().mean()


def test_a_funnel_trains_goes_on_and_is_refused_where_it_is_none(tmp_path: Path) -> None:
    config = TrainConfig(clips=12, batch=2, warmup_clips=4, save_seconds=1e9, bfloat16=False)
    trainer = Trainer(funnelled(denoiser()).train(), config, tmp_path)
    trainer.run(TASK, draw)
    again = Trainer(funnelled(denoiser()).train(), config, tmp_path)
    assert again.resume() and again.step == 6
    assert isinstance(again.average, Denoiser) and isinstance(trainer.average, Denoiser)
    assert_close(answer(merged(again.average)), answer(merged(trainer.average)), atol=0, rtol=0)
    for share in (0.0, 1.0):
        with pytest.raises(RequestError, match="between 0 and 1"):
            funnelled(denoiser(), share)
