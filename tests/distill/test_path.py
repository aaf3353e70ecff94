"""The straight path: there, back, and the same noise everywhere."""

import pytest
import torch
from torch.testing import assert_close

from minuet.contracts.errors import RequestError
from minuet.distill import path


def pair() -> tuple[torch.Tensor, torch.Tensor]:
    return path.noise(1, 2, (3, 4, 5)), path.noise(1, 3, (3, 4, 5))


def test_an_euler_step_with_the_true_clip_lands_on_the_path() -> None:
    clean, noise = pair()
    high = path.noised(clean, noise, torch.full((3,), 0.8))
    low = path.noised(clean, noise, torch.full((3,), 0.3))
    assert_close(path.euler(high, clean, 0.8, 0.3), low)
    assert torch.equal(path.euler(high, clean, 0.8, 0.0), clean)


def test_the_ends_of_the_path_are_clip_and_noise() -> None:
    clean, noise = pair()
    assert torch.equal(path.noised(clean, noise, torch.zeros(3)), clean)
    assert torch.equal(path.noised(clean, noise, torch.ones(3)), noise)


@pytest.mark.parametrize(
    ("steps", "shift", "expected"),
    [(2, 1.0, [1, 0.5, 0]), (2, 3.0, [1, 0.75, 0]), (4, 3.0, [1, 0.9, 0.75, 0.5, 0])],
)
def test_levels_fall_from_one_to_zero_and_dwell_high(
    steps: int, shift: float, expected: list[float]
) -> None:
    assert path.levels(steps, shift) == pytest.approx(expected)


def test_training_levels_are_in_range_and_a_fifth_is_nearly_pure_noise() -> None:
    t = path.draw_levels(20_000, path.generator(0), pure=0.2)
    assert 0 < t.min() and t.max() <= 1
    logit_normal = 1 - 0.5 * (1 + torch.erf(torch.tensor((3.892 - 0.5) / 2**0.5)))
    assert (t >= 0.98).float().mean() == pytest.approx(0.2 + 0.8 * float(logit_normal), abs=0.01)
    assert (t[t < 0.98]).median() == pytest.approx(0.62, abs=0.01)  # sigmoid(0.5)


def test_the_same_address_gives_the_same_noise_and_another_another() -> None:
    assert torch.equal(path.noise(1, 2, (8,)), path.noise(1, 2, (8,)))
    assert not torch.equal(path.noise(1, 2, (8,)), path.noise(2, 1, (8,)))


@pytest.mark.parametrize(("steps", "emulated"), [(8, 160), (8, 40), (5, 20), (4, 4), (1, 6)])
def test_linear_quadratic_levels_begin_slowly_bend_smoothly_and_arrive(
    steps: int, emulated: int
) -> None:
    f = [1 - level for level in path.linear_quadratic(steps, emulated)]
    linear = steps // 2
    assert len(f) == steps + 1 and f[0] == 0 and f[-1] == 1
    assert f[: linear + 1] == pytest.approx([i / emulated for i in range(linear + 1)])
    # A parabola through the next three points (f(L) among them) has slope 1 / N at L.
    if steps - linear >= 2:
        one, two = f[linear + 1] - f[linear], f[linear + 2] - f[linear]
        assert (4 * one - two) / 2 == pytest.approx(1 / emulated)


@pytest.mark.slow  # diffusers takes its time to import
@pytest.mark.parametrize(("steps", "emulated"), [(8, 160), (8, 40), (6, 24)])
def test_linear_quadratic_levels_are_those_of_diffusers(steps: int, emulated: int) -> None:
    mochi = pytest.importorskip("diffusers.pipelines.mochi.pipeline_mochi")
    theirs = mochi.linear_quadratic_schedule(steps, (steps // 2) / emulated)
    assert path.linear_quadratic(steps, emulated) == pytest.approx([*theirs, 0.0])


def test_fewer_steps_than_are_made_cannot_be_emulated() -> None:
    with pytest.raises(RequestError, match="steps <= emulated"):
        path.linear_quadratic(8, 4)
