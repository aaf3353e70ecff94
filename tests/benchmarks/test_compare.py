import math

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import mannwhitneyu, wilcoxon

from minuet.benchmarks import compare
from minuet.benchmarks.stats import Interval
from tests.benchmarks.noise import in_turns


def latencies(rng: np.random.Generator, count: int, middle: float = 100.0) -> NDArray[np.float64]:
    """Skewed, about 3 % wide: a quiet machine, each sample on its own."""
    return middle * np.exp(0.02 * rng.gamma(2.0, 1.0, count))


def test_apart_the_chance_is_mann_and_whitneys() -> None:
    rng = np.random.default_rng(7)
    new, old = latencies(rng, 90, 101.0), latencies(rng, 70)
    expected = mannwhitneyu(new, old, method="asymptotic").pvalue
    # Student's t and an effective size below n only make it larger.
    assert expected * 0.999 <= compare.apart(new, old).p_value < expected * 8 + 0.02


def test_pairs_the_chance_is_wilcoxons() -> None:
    rng = np.random.default_rng(8)
    old = latencies(rng, 80)
    new = old * rng.lognormal(0.004, 0.01, 80)
    expected = wilcoxon(np.log(new / old), method="asymptotic", correction=True).pvalue
    assert expected * 0.999 <= compare.pairwise(new, old).p_value < expected * 8 + 0.02


def test_the_estimate_is_the_median_of_all_means_of_two() -> None:
    ratios = np.array([1.1, 1.0, 1.3, 0.9])
    logs = np.log(ratios)
    means = [(a + b) / 2 for i, a in enumerate(logs) for b in logs[i:]]
    found = compare.pairwise(ratios * 7, np.full(4, 7.0)).ratio
    assert found.value == pytest.approx(math.exp(np.median(means)))
    assert (found.low, found.high) == (0.0, math.inf)  # four pairs bound nothing


@pytest.mark.parametrize("test", [compare.pairwise, compare.apart])
def test_an_interval_excludes_one_where_its_test_does(test: object) -> None:
    rng = np.random.default_rng(9)
    assert callable(test)
    for _ in range(60):
        new, old = latencies(rng, 30, 100 + rng.uniform(0, 2)), latencies(rng, 30)
        found = test(new, old)
        beyond = found.ratio.low > 1 or found.ratio.high < 1
        assert beyond == (found.p_value < 0.01) or 0.007 < found.p_value < 0.014


def test_an_interval_holds_the_truth_as_often_as_it_says() -> None:
    rng = np.random.default_rng(10)
    held = 0
    for _ in range(200):
        old, new = in_turns(rng, 60, (1.0, 1.05))
        found = compare.pairwise(new, old, level=0.95).ratio
        held += found.low <= 1.05 <= found.high
    assert held / 200 > 0.91  # 95 % within three standard errors


def test_the_same_twice_is_hardly_ever_called_slower() -> None:
    rng = np.random.default_rng(11)
    apart = [compare.compared(latencies(rng, 60), latencies(rng, 60)).outcome for _ in range(100)]
    assert apart.count("slower") <= 1 and apart.count("same") > 85
    pairs = [in_turns(rng, 100) for _ in range(100)]
    turns = [compare.compared(new, old, paired=True).outcome for old, new in pairs]
    assert turns.count("slower") <= 1


@pytest.mark.parametrize(("factor", "least"), [(1.05, 90), (1.1, 99)])
def test_a_planted_slow_down_is_caught_on_a_busy_machine(factor: float, least: int) -> None:
    # A minute of a model that takes 50 ms is 600 of each; here are 300.
    rng = np.random.default_rng(12)
    pairs = [in_turns(rng, 300, (1.0, factor)) for _ in range(50)]
    turns = [compare.compared(new, old, paired=True).outcome for old, new in pairs]
    assert 100 * turns.count("slower") / 50 >= least


def test_a_difference_too_small_to_matter_is_not_slower_however_sure() -> None:
    rng = np.random.default_rng(13)
    found = compare.compared(latencies(rng, 3000, 101.0), latencies(rng, 3000))
    assert found.outcome == "same" and found.p_value < 1e-6


def test_too_few_noisy_samples_leave_it_open_and_say_how_many_would_not() -> None:
    rng = np.random.default_rng(14)
    new, old = 108 * rng.lognormal(0, 0.1, 25), 100 * rng.lognormal(0, 0.1, 25)
    found = compare.compared(new, old)
    assert found.outcome == "unsure" and found.needed > 25
    more = (middle * rng.lognormal(0, 0.1, 2 * found.needed) for middle in (108, 100))
    assert compare.compared(*more).outcome == "slower"


def test_no_number_of_samples_decides_what_lies_on_the_limit() -> None:
    ratio = Interval(value=1.03, low=0.99, high=1.08)
    assert compare.samples_needed(ratio, 0.03, 50) == 0
    assert compare.samples_needed(Interval(value=1.0, low=0.0, high=math.inf), 0.03, 4) >= 12


def test_a_faster_model_is_called_faster() -> None:
    rng = np.random.default_rng(15)
    assert compare.compared(latencies(rng, 80, 80.0), latencies(rng, 80)).outcome == "faster"


def test_pairs_show_a_few_per_cent_through_noise_that_hides_them() -> None:
    rng = np.random.default_rng(0)
    state = np.repeat(rng.uniform(1, 2, 20), 5)  # a host whose speed changes every few samples
    old = 10 * state * rng.lognormal(0, 0.02, 100)
    new = 9 * state * rng.lognormal(0, 0.02, 100)
    found = compare.pairwise(new, old).ratio
    assert found.low < 0.9 < found.high and found.high - found.low < 0.03
    assert compare.outcome_of(found) == "faster"
    assert compare.outcome_of(compare.pairwise(old, new).ratio) == "slower"
    wide = compare.apart(new, old).ratio
    assert wide.high - wide.low > 3 * (found.high - found.low)


def test_an_order_that_favours_each_in_turn_favours_none() -> None:
    # Who comes first after a change of turns finds cold caches: +-10 % by turns, and no median.
    rng = np.random.default_rng(1)
    cold = np.tile([1.1, 1 / 1.1], 100)
    found = compare.pairwise(cold * rng.lognormal(0, 0.01, 200), np.ones(200)).ratio
    assert found.low < 1 < found.high and abs(found.value - 1) < 0.01


def test_a_slower_tail_is_found_under_the_same_median() -> None:
    rng = np.random.default_rng(2)
    old, new = latencies(rng, 600), latencies(rng, 600)
    new[rng.random(600) < 0.2] *= 1.5
    assert compare.compared(new, old, share=0.5).outcome == "same"
    for paired in (False, True):
        found = compare.compared(new, old, share=0.9, paired=paired)
        assert found.outcome == "slower" and found.ratio.value > 1.2


def test_a_tail_of_few_samples_is_left_open() -> None:
    rng = np.random.default_rng(4)
    found = compare.compared(latencies(rng, 100, 150.0), latencies(rng, 100), share=0.99)
    assert found.outcome == "unsure" and math.isinf(found.ratio.high)


def test_many_samples_are_drawn_together_and_say_the_same() -> None:
    rng = np.random.default_rng(3)
    new, old = latencies(rng, 20_000, 104.0), latencies(rng, 20_000)
    for estimate in (compare.pairwise(new, old), compare.apart(new, old)):
        assert estimate.ratio.value == pytest.approx(1.04, abs=0.005)
        assert estimate.ratio.high - estimate.ratio.low < 0.01


def test_a_sample_of_no_time_is_refused() -> None:
    with pytest.raises(ValueError, match="shorter than the clock"):
        compare.apart([1.0, 0.0], [1.0, 1.0])


def test_heat_shows_as_drift_and_steady_noise_does_not() -> None:
    rng = np.random.default_rng(13)
    steady = latencies(rng, 200)
    hot = compare.drift(steady * np.linspace(1.0, 1.25, 200))
    assert hot and 1.1 < hot.value < 1.22
    assert compare.drift(steady) is None
    assert compare.drift([1.0, 2.0, 3.0]) is None
