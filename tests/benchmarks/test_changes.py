import numpy as np
import pytest
from numpy.typing import NDArray

from minuet.benchmarks.changes import changes


def medians(rng: np.random.Generator, count: int, middle: float) -> NDArray[np.float64]:
    """Of reports of a program that does not change; one in twenty is far off."""
    spikes = (rng.random(count) < 0.05) * rng.exponential(0.3, count)
    return middle * np.exp(0.02 * rng.standard_normal(count) + spikes)


def test_a_series_without_a_change_is_hardly_ever_called_changed() -> None:
    rng = np.random.default_rng(0)
    assert sum(bool(changes(medians(rng, 40, 100.0).tolist())) for _ in range(60)) <= 1


def test_a_change_is_dated_and_measured() -> None:
    rng = np.random.default_rng(1)
    near = 0
    for _ in range(20):
        values = [*medians(rng, 30, 100.0), *medians(rng, 12, 110.0)]
        found = changes(values)
        near += len(found) == 1 and abs(found[0].at - 30) <= 1
        assert found and found[0].ratio.low < found[0].ratio.value < found[0].ratio.high
    assert near >= 17
    assert found[0].ratio.value == pytest.approx(1.1, abs=0.03)


def test_up_and_down_again_are_two_changes() -> None:
    rng = np.random.default_rng(2)
    levels = [medians(rng, 20, middle) for middle in (100.0, 120.0, 105.0)]
    first, second = changes(np.concatenate(levels).tolist())
    assert abs(first.at - 20) <= 1 and abs(second.at - 40) <= 1
    assert first.ratio.low > 1 > second.ratio.high


def test_what_is_always_the_same_has_no_change_and_one_step_is_found() -> None:
    assert changes([5.0] * 20) == []
    (step,) = changes([5.0] * 10 + [6.0] * 10)
    assert step.at == 10 and step.ratio.value == pytest.approx(1.2)


def test_a_change_below_the_least_effect_is_left_out() -> None:
    assert changes([100.0] * 15 + [102.0] * 15) == []
    assert changes([100.0] * 15 + [102.0] * 15, min_effect=0.01)[0].at == 15


@pytest.mark.parametrize("few", [1, 2, 5])
def test_a_handful_of_reports_say_nothing(few: int) -> None:
    assert changes([1.0, 1.0, 1.0, 9.0, 9.0][:few]) == []


def test_a_value_that_is_no_number_is_refused() -> None:
    with pytest.raises(ValueError, match="finite"):
        changes([1.0, float("nan")])
