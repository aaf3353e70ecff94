"""Score distillation: its gradient by formula, and where it leads by a teacher that is known."""

import pytest
import torch
from torch import Tensor

from minuet.distill.path import generator
from minuet.distill.predict import Condition
from minuet.distill.score import Range, noise_estimate, pulled

MEAN, SPREAD = torch.tensor([1.5, -0.5]), 0.5


def gaussian(noisy: Tensor, t_B: Tensor, condition: Condition) -> Tensor:
    """E[x0 | z_t] where x0 is normal (MEAN, SPREAD): Bayes in closed form."""
    t = t_B[:, None]
    gain = (1 - t) * SPREAD**2 / ((1 - t) ** 2 * SPREAD**2 + t**2)
    return MEAN + gain * (noisy - (1 - t) * MEAN)


def test_the_gradient_is_the_formula() -> None:
    rng = generator(1)
    x0 = torch.randn(5, 2, generator=rng, requires_grad=True)
    noise, t_B = torch.randn(5, 2, generator=rng), torch.rand(5, generator=rng) * 0.9 + 0.05
    pulled(gaussian, x0, {}, t_B, noise, lambda t: t**2).loss.backward()
    t = t_B[:, None]
    noisy = (1 - t) * x0.detach() + t * noise
    e_teacher = (noisy - (1 - t) * gaussian(noisy, t_B, {})) / t
    assert x0.grad is not None
    torch.testing.assert_close(x0.grad * x0.numel(), t**2 * (e_teacher - noise))


def test_the_default_weight_pulls_x0_by_alpha_times_its_distance() -> None:
    x0 = torch.randn(4, 2, generator=generator(2), requires_grad=True)
    noise, t_B = torch.randn(4, 2, generator=generator(3)), torch.tensor([0.1, 0.4, 0.7, 0.95])
    pull = pulled(gaussian, x0, {}, t_B, noise)
    pull.loss.backward()
    t = t_B[:, None]
    estimate = gaussian((1 - t) * x0.detach() + t * noise, t_B, {})
    assert x0.grad is not None
    torch.testing.assert_close(x0.grad * x0.numel(), (1 - t) * (x0.detach() - estimate))
    torch.testing.assert_close(pull.residual, (x0.detach() - estimate).square().mean())


def test_the_implied_noise_of_the_true_clean_clip_is_the_noise() -> None:
    x0, noise, t_B = torch.randn(3, 2, 4), torch.randn(3, 2, 4), torch.tensor([0.2, 0.5, 1.0])
    t = t_B[:, None, None]
    torch.testing.assert_close(noise_estimate((1 - t) * x0 + t * noise, x0, t_B), noise)


def test_no_gradient_reaches_the_teacher() -> None:
    weight = torch.ones(2, requires_grad=True)
    x0 = torch.randn(3, 2, requires_grad=True)
    pulled(
        lambda z, t, c: z * weight, x0, {}, torch.full((3,), 0.5), torch.randn(3, 2)
    ).loss.backward()
    assert weight.grad is None and x0.grad is not None


def test_points_go_to_the_teachers_mode() -> None:
    """The expected gradient is linear in x0 - MEAN: only at MEAN is it zero."""
    x = torch.tensor([[4.0, 4.0], [-3.0, 0.0]]).repeat_interleave(64, 0).requires_grad_()
    optimizer, rng, drawn = torch.optim.SGD([x], lr=64.0), generator(4), Range(low=0.2, high=0.9)
    for _ in range(120):
        t_B = drawn.draw(len(x), rng)
        pull = pulled(gaussian, x, {}, t_B, torch.randn(x.shape, generator=rng))
        optimizer.zero_grad()
        pull.loss.backward()
        optimizer.step()
    torch.testing.assert_close(x.detach().mean(0), MEAN, atol=0.05, rtol=0)


def test_levels_are_drawn_from_their_range() -> None:
    t_B = Range(low=0.3, high=0.4).draw(1000, generator(5))
    assert 0.3 <= t_B.min() < 0.305 and 0.395 < t_B.max() <= 0.4


@pytest.mark.parametrize(("low", "high"), [(0.0, 0.5), (0.5, 0.4), (0.5, 1.1)])
def test_an_impossible_range_is_refused(low: float, high: float) -> None:
    with pytest.raises(ValueError, match="low <= high"):
        Range(low=low, high=high)
