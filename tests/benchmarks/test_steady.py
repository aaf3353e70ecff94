from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from minuet.benchmarks.steady import LONG_ENOUGH, changes, levels, steady_from

MOST, STEP, SEEDS = 100, 5, range(20)


def noise(seed: int, scatter: float) -> NDArray[np.float64]:
    """Skewed, as latencies are; about 1."""
    drawn = np.random.default_rng(seed).gamma(2.0, 1.0, MOST)
    rows: NDArray[np.float64] = np.exp(scatter * (drawn - 2) / np.sqrt(2))
    return rows


def ended(samples: Sequence[float]) -> tuple[int, int]:
    """After how many samples a warm-up ends that looks every STEP, and from where it is steady."""
    for count in range(STEP, MOST + 1, STEP):
        begin = steady_from(samples[:count])
        if begin is not None:
            return count, begin
    return MOST + STEP, MOST


RUN = np.arange(MOST)
WARM_UPS = {  # what it tends to -> how, and from where on it is within SAME of that
    "a decay": (10 + 100 * 0.8**RUN, 28),
    "a quick decay": (10 + 10 * 0.5**RUN, 6),
    "a step down": (np.where(RUN < 8, 15.0, 10.0), 8),
    "a step up": (np.where(RUN < 8, 8.0, 10.0), 8),
    "two steps": (np.where(RUN < 6, 30.0, np.where(RUN < 15, 14.0, 10.0)), 15),
}


@pytest.mark.parametrize("kind", WARM_UPS)
def test_a_warm_up_ends_behind_its_last_change_and_soon(kind: str) -> None:
    curve, settled = WARM_UPS[kind]
    found = [ended((curve * noise(seed, 0.02)).tolist()) for seed in SEEDS]
    for count, begin in found:
        assert curve[begin:count].mean() == pytest.approx(10, rel=0.06)
    counts = [count for count, _ in found]
    assert settled + LONG_ENOUGH - 5 <= np.median(counts) <= settled + LONG_ENOUGH + STEP


@pytest.mark.parametrize("scatter", [0.01, 0.04, 0.1])
def test_what_is_steady_from_the_first_run_is_warmed_up_no_longer_than_it_takes_to_see(
    scatter: float,
) -> None:
    found = [ended((10 * noise(seed, scatter)).tolist()) for seed in SEEDS]
    assert np.median([count for count, _ in found]) == LONG_ENOUGH
    assert sum(count > LONG_ENOUGH + STEP for count, _ in found) <= 2


@pytest.mark.parametrize("a_run", [0.01, 0.02])
def test_a_drift_that_never_ends_is_never_called_steady(a_run: float) -> None:
    for seed in SEEDS:
        samples = 10 * (1 + a_run) ** RUN * noise(seed, a_run)
        assert ended(samples.tolist())[0] > MOST


def test_a_hiccup_is_no_change_of_level() -> None:
    samples = 10 * noise(3, 0.02)
    samples[[4, 17]] *= 6
    assert ended(samples.tolist()) == (LONG_ENOUGH, 0)
    assert [(one.begin, one.end) for one in levels(samples.tolist())] == [(0, MOST)]


def test_two_speeds_by_chance_are_one_level() -> None:
    coins = np.random.default_rng(1).random(MOST) < 0.5
    assert ended((np.where(coins, 12.0, 10.0) * noise(1, 0.01)).tolist())[0] <= 20


def test_too_few_samples_say_nothing() -> None:
    assert steady_from([]) is None
    assert steady_from([10.0] * (LONG_ENOUGH - 1)) is None
    assert steady_from([10.0] * LONG_ENOUGH) == 0
    assert steady_from([0.0] * LONG_ENOUGH) == 0


def test_the_changes_are_those_that_trying_all_of_them_finds() -> None:
    """Pruning loses nothing: every set of at most two changes of 18 rows is worse, or the same."""
    for seed in range(5):
        rng = np.random.default_rng(seed)
        rows = np.repeat(rng.normal(0, 3, 3), 6) + rng.standard_normal(18)
        found = changes(rows.tolist(), 1.0)
        assert total(rows, found) <= min(total(rows, edges) for edges in all_edges(18)) + 1e-9


def total(rows: NDArray[np.float64], edges: Sequence[int]) -> float:
    parts = np.split(rows, edges)
    spread = sum(float(((part - part.mean()) ** 2).sum()) for part in parts)
    return spread + 3 * float(np.log(18)) * len(edges)


def all_edges(count: int) -> list[list[int]]:
    one = [[a] for a in range(3, count - 2)]
    two = [[a, b] for a in range(3, count - 5) for b in range(a + 3, count - 2)]
    return [[], *one, *two]
