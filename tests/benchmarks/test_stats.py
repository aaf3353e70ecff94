import itertools
import math
import statistics

import numpy as np
import pytest

from minuet.benchmarks import stats


def test_a_quantile_is_the_textbooks() -> None:
    samples = [5.0, 1.0, 9.0, 3.0, 7.0]
    assert stats.quantile(samples, 0.5) == statistics.median(samples)
    assert stats.quantile(samples, 0.9) == pytest.approx(7 + 0.6 * 2)


@pytest.mark.parametrize(
    ("samples", "message"),
    [([], "no samples"), ([1.0, math.nan], "finite"), ([math.inf], "finite")],
)
def test_nothing_is_estimated_from_nothing(samples: list[float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        stats.quantile_interval(samples, 0.5)


def test_the_median_interval_of_ten_samples_is_the_tables() -> None:
    # Binomial(10, 1/2): the 2nd and 9th of ten hold the median with 97.9 % (Conover, table A3).
    found = stats.quantile_interval([6, 1, 7, 2, 8, 3, 9, 4, 10, 5], 0.5)
    assert (found.low, found.value, found.high) == (2.0, 5.5, 9.0)


def test_a_tail_has_no_upper_bound_before_there_are_enough_samples() -> None:
    rng = np.random.default_rng(0)
    few, many = rng.random(100), rng.random(600)
    assert math.isinf(stats.quantile_interval(few, 0.99).high)
    assert math.isfinite(stats.quantile_interval(many, 0.99).high)


@pytest.mark.parametrize("share", [0.5, 0.9])
def test_a_quantile_interval_holds_the_truth_as_often_as_it_says(share: float) -> None:
    truth = -math.log(1 - share)  # of the exponential distribution
    rng = np.random.default_rng(1)
    held = 0
    for _ in range(300):
        found = stats.quantile_interval(rng.exponential(size=80), share)
        held += found.low <= truth <= found.high
    assert held / 300 > 0.92  # 95 % within three standard errors


def test_samples_that_lean_on_each_other_are_worth_less() -> None:
    rng = np.random.default_rng(2)
    noise = rng.standard_normal(2000)
    chain = np.array(list(itertools.accumulate(noise, lambda old, new: 0.8 * old + new)))
    assert stats.effective_size(noise) > 1500
    # An AR(1) chain's n_eff is n (1 - rho) / (1 + rho) = n / 9.
    assert 120 < stats.effective_size(chain) < 420
    assert stats.effective_size([3.0] * 50) == 50
    assert stats.effective_size(np.tile([1.0, 2.0], 50)) == 100  # never more than there are


def test_holm_is_the_papers_step_down() -> None:
    assert stats.holm([0.01, 0.04, 0.03, 0.5]) == pytest.approx([0.04, 0.09, 0.09, 0.5])
    assert stats.holm([]) == []


def test_a_ratio_of_sums_is_not_a_mean_of_ratios() -> None:
    found = stats.mean_interval([1.0, 9.0], [10.0, 10.0])
    assert found.value == pytest.approx(0.5)
    assert (found.low, found.high) == pytest.approx((0.1, 0.9))


def test_the_bounds_of_a_share_are_the_books() -> None:
    # Clopper and Pearson: of none in n, the upper bound is 1 - (alpha / 2)^(1 / n).
    none = stats.share_interval(0, 300)
    assert (none.value, none.low) == (0.0, 0.0)
    assert none.high == pytest.approx(1 - 0.025 ** (1 / 300))
    assert stats.share_interval(300, 300).high == 1.0
