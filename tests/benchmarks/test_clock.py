import itertools

import pytest

from minuet.benchmarks.clock import resolution
from minuet.contracts.errors import RequestError


def test_the_tick_is_the_smallest_step_that_was_seen() -> None:
    ticks = itertools.accumulate(itertools.cycle((0, 0, 100, 0, 300)))
    found = resolution(lambda: next(ticks), pairs=100)
    assert found.tick_ns == 100
    assert found.overhead_ns == pytest.approx(80, rel=0.02)


def test_a_coarse_clock_asks_for_longer_samples() -> None:
    fine = resolution(itertools.count(0, 50).__next__, pairs=50)
    coarse = resolution(itertools.count(0, 15_000_000).__next__, pairs=50)
    assert coarse.shortest_ms > 1000 > 1 > fine.shortest_ms


@pytest.mark.parametrize("step", [0, -5])
def test_a_clock_that_stands_still_or_goes_back_is_refused(step: int) -> None:
    with pytest.raises(RequestError, match="stands still or goes back"):
        resolution(itertools.count(10**9, step).__next__, pairs=10)


def test_this_machines_clock_is_good_enough_for_a_millisecond() -> None:
    assert 0 < resolution().shortest_ms < 1
