import itertools
import math
import statistics

import numpy as np
import pytest

from minuet.benchmarks import stats


def latencies(rng: np.random.Generator, count: int, middle: float = 100.0) -> np.ndarray:
    """Skewed, about 3 % wide: a quiet machine."""
    return middle * np.exp(0.02 * rng.gamma(2.0, 1.0, count))


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
    found = stats.quantile_interval(
        np.arange(1.0, 11.0)[np.random.default_rng(3).permutation(10)], 0.5
    )
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


def test_the_rank_test_agrees_with_scipy() -> None:
    scipy_stats = pytest.importorskip("scipy.stats")
    rng = np.random.default_rng(7)
    new, old = rng.integers(0, 30, 90).astype(float), rng.integers(2, 32, 70).astype(float)
    expected = scipy_stats.mannwhitneyu(new, old, method="asymptotic").pvalue
    assert stats.rank_test(new, old) == pytest.approx(expected, rel=0.6)  # n_eff only weakens it
    assert stats.rank_test(new, old) >= expected * 0.999


def test_the_same_model_is_hardly_ever_called_slower() -> None:
    rng = np.random.default_rng(8)
    outcomes = [stats.slower(latencies(rng, 60), latencies(rng, 60)).outcome for _ in range(150)]
    assert outcomes.count("slower") <= 1
    assert outcomes.count("same") > 135


def test_a_planted_five_per_cent_is_nearly_always_caught() -> None:
    rng = np.random.default_rng(9)
    outcomes = [
        stats.slower(latencies(rng, 100, 105.0), latencies(rng, 100)).outcome for _ in range(60)
    ]
    assert outcomes.count("slower") >= 54


def test_a_difference_too_small_to_matter_is_not_slower_however_sure() -> None:
    rng = np.random.default_rng(10)
    found = stats.slower(latencies(rng, 3000, 101.0), latencies(rng, 3000), min_effect=0.03)
    assert found.outcome == "same" and found.p_value < 1e-6


def test_too_few_noisy_samples_leave_it_open() -> None:
    rng = np.random.default_rng(11)
    new, old = (100 * np.exp(0.3 * rng.standard_normal(8)) for _ in range(2))
    assert stats.slower(new, old).outcome == "unsure"


def test_a_faster_model_is_called_faster() -> None:
    rng = np.random.default_rng(12)
    assert stats.slower(latencies(rng, 80, 80.0), latencies(rng, 80)).outcome == "faster"


def test_heat_shows_as_drift_and_steady_noise_does_not() -> None:
    rng = np.random.default_rng(13)
    steady = latencies(rng, 200)
    hot = stats.drift(steady * np.linspace(1.0, 1.25, 200))
    assert hot and 1.08 < hot.value < 1.16
    assert stats.drift(steady) is None
    assert stats.drift([1.0, 2.0, 3.0]) is None


def test_holm_is_the_papers_step_down() -> None:
    assert stats.holm([0.01, 0.04, 0.03, 0.5]) == pytest.approx([0.04, 0.09, 0.09, 0.5])
    assert stats.holm([]) == []


def test_a_ratio_of_sums_is_not_a_mean_of_ratios() -> None:
    found = stats.mean_interval([1.0, 9.0], [10.0, 10.0])
    assert found.value == pytest.approx(0.5)
    assert (found.low, found.high) == pytest.approx((0.1, 0.9))


def test_pairs_show_a_few_per_cent_through_a_drift_that_hides_them() -> None:
    rng = np.random.default_rng(0)
    state = np.repeat(rng.uniform(1, 2, 20), 5)  # a host whose speed changes every few samples
    old = 10 * state * rng.lognormal(0, 0.02, 100)
    new = 9 * state * rng.lognormal(0, 0.02, 100)
    found = stats.paired_ratio(new, old)
    assert found.low < 0.9 < found.high and found.high - found.low < 0.03
    assert stats.outcome_of(found) == "faster"
    assert stats.outcome_of(stats.paired_ratio(old, new)) == "slower"
    wide = stats.ratio_interval(new, old, found.level)
    assert wide.high - wide.low > 3 * (found.high - found.low)


def test_what_is_the_same_is_neither_faster_nor_slower() -> None:
    rng = np.random.default_rng(1)
    one, other = (rng.lognormal(0, 0.05, 200) for _ in range(2))
    assert stats.outcome_of(stats.paired_ratio(one, other)) == "same"
    few = stats.paired_ratio(rng.lognormal(0, 0.5, 5), rng.lognormal(0, 0.5, 5))
    assert stats.outcome_of(few) == "unsure"
