"""Guidance folded in: one pass for two or three, and the scales still turn it."""

from collections.abc import Mapping

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

from minuet.contracts.errors import RequestError
from minuet.distill.few.guidance import Folding, Scaled, ToldScales, attached
from minuet.distill.loop import Contest, Rivals
from minuet.distill.path import draw_levels, generator, noised
from minuet.distill.predict import Composed, Guided, Lesson
from tests.distill.few.mixture import MODES, Mixture, Small, lesson, train
from tests.models.tiny import denoiser, shaken

RANGE = (1.0, 4.0)
SCALED = Scaled(predictor=Mixture(), names=("label",))
CLOSE = 0.1  # share of the guidance's own effect that the one pass may be off by, squared


def test_scales_of_each_clip_are_those_of_guided() -> None:
    z, t_B = torch.randn(2, 2, generator=generator(1)), torch.tensor([0.9, 0.6])
    label = torch.tensor([1, 3], dtype=torch.int32)
    told = {"label": label, "scales": torch.tensor([[1.5], [3.0]])}
    for at, scale in enumerate((1.5, 3.0)):
        guided = Guided(predictor=Mixture(), scales={"label": scale})(z, t_B, {"label": label})
        assert_close(SCALED(z, t_B, told)[at], guided[at])


def test_two_scales_cost_three_passes_and_one_alone_is_the_conditional() -> None:
    passes = 0

    def counted(z: Tensor, t_B: Tensor, condition: Mapping[str, Tensor]) -> Tensor:
        nonlocal passes
        passes += 1
        assert "scales" not in condition
        return condition["picture"] + condition["words"].float()

    two = Scaled(predictor=counted, names=("picture", "words"))
    picture, words = torch.full((1, 1), 0.25), torch.full((1, 1), 2, dtype=torch.int32)
    told = {"picture": picture, "words": words, "scales": torch.tensor([[1.0, 3.0]])}
    out = two(torch.zeros(1, 1), torch.ones(1), told)
    assert passes == 3
    assert_close(out, torch.tensor([[0.25 + 3 * 2]]))


@pytest.fixture(scope="module")
def student() -> nn.Module:
    torch.manual_seed(0)
    objective = ToldScales(objective=Folding(teacher=SCALED), ranges=[RANGE])
    return train(objective, Small(scales=1), 700, rate=4e-3, labels=True)


@torch.no_grad()
def test_one_pass_answers_as_two_do(student: nn.Module) -> None:
    rng = generator(5)
    asked = lesson(2000, rng, labels=True)
    scales = RANGE[0] + (RANGE[1] - RANGE[0]) * torch.rand(2000, 1, generator=rng)
    t_B = draw_levels(2000, rng)
    z = noised(asked.x0, torch.randn(asked.x0.shape, generator=rng), t_B)
    told = dict(asked.condition) | {"scales": scales}
    guided, plain = SCALED(z, t_B, told), Mixture()(z, t_B, asked.condition)
    error = (student(z, t_B, told) - guided).square().mean()
    assert error < CLOSE * (guided - plain).square().mean()


@torch.no_grad()
def test_a_larger_scale_pushes_further(student: nn.Module) -> None:
    for mode in range(len(MODES)):
        z, t_B = torch.zeros(5, 2), torch.ones(5)
        label = torch.full((5,), mode + 1, dtype=torch.int32)
        told = {"label": label, "scales": torch.linspace(*RANGE, 5)[:, None]}
        along = student(z, t_B, told) @ MODES[mode]
        assert (along.diff() > 0).all(), along


def test_scales_are_drawn_for_each_clip_within_their_ranges_and_told_to_rivals_too() -> None:
    heard: list[Tensor] = []

    class Listening:
        rivals = Rivals(networks=nn.ModuleDict(), learning_rate=0.1)

        def __call__(
            self, network: nn.Module, lesson: Lesson, rng: torch.Generator
        ) -> tuple[Tensor, Mapping[str, Tensor]]:
            heard.append(lesson.condition["scales"])
            return torch.zeros(()), {}

        against = __call__

    told = ToldScales(objective=Listening(), ranges=[(1.0, 2.0), (5.0, 9.0)])
    assert isinstance(told, Contest) and told.rivals is Listening.rivals
    told(nn.Identity(), lesson(500, generator(0)), generator(1))
    told.against(nn.Identity(), lesson(500, generator(0)), generator(2))
    for scales in heard:
        assert scales.shape == (500, 2) and len(scales.unique()) > 900
        for found, (low, high) in zip(scales.T, told.ranges, strict=True):
            assert low <= found.min() < low + 0.1 * (high - low)
            assert high >= found.max() > high - 0.1 * (high - low)
    assert len(heard) == 2
    assert ToldScales(objective=Folding(teacher=SCALED), ranges=[RANGE]).rivals is None


def inputs() -> tuple[Tensor, Tensor, dict[str, Tensor]]:
    rng = generator(3)
    tokens = torch.randint(1, 32, (2, 16), generator=rng, dtype=torch.int32)
    told = {"sticker": torch.rand(2, 4, 16, 16, generator=rng), "tokens": tokens}
    return torch.randn(2, 4, 4, 16, 16, generator=rng), torch.tensor([0.9, 0.3]), told


@torch.no_grad()
@pytest.mark.parametrize("count", [1, 2])
def test_scales_attached_and_untrained_change_no_bit(count: int) -> None:
    network = denoiser()
    noisy, t_B, told = inputs()
    more = Composed(attached(network, count))
    before = Composed(network)(noisy, t_B, told)
    for scale in (0.5, 7.0):
        after = more(noisy, t_B, told | {"scales": torch.full((2, count), scale)})
        assert torch.equal(before, after)
    shaken(more)
    one, two = (more(noisy, t_B, told | {"scales": torch.full((2, count), s)}) for s in (1.0, 3.0))
    assert not torch.equal(one, two)


def test_a_network_that_hears_scales_says_so_when_they_are_missing() -> None:
    noisy, t_B, told = inputs()
    network = attached(denoiser(), 2)
    with pytest.raises(RequestError, match="told 2 guidance scales; 0 were given"):
        Composed(network)(noisy, t_B, told)
    with pytest.raises(RequestError, match="told 2 guidance scales; 1 were given"):
        Composed(network)(noisy, t_B, told | {"scales": torch.ones(2, 1)})
    with pytest.raises(RequestError, match="told 2 scales already"):
        attached(network, 1)
