import itertools
import time
from dataclasses import dataclass, replace
from typing import Any

import pytest

from minuet import planted
from minuet.benchmarks.selftest import FIVE, OLD, SAME, TEN
from minuet.contracts.errors import MissingBackendError, Refusal
from minuet.contracts.tensors import Arrays
from minuet.planted import Delayed, Planted, _samples, record
from minuet.runtimes.ort import OrtRuntime


@dataclass(frozen=True, slots=True)
class Sleeper:
    """What takes a while and gives back what it got."""

    def run(self, inputs: Arrays) -> Arrays:
        time.sleep(0.02)
        return dict(inputs)


def test_a_planted_share_is_what_a_run_takes_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = itertools.count(step=1_000_000)  # each reading is a millisecond later
    monkeypatch.setattr("minuet.planted.now_ns", lambda: next(clock))
    for share, readings in ((0.0, 3), (5.0, 7)):  # two around the run, then until share is over
        before = next(clock)
        assert Delayed(Sleeper(), share).run({}) == {}
        assert next(clock) - before == (readings + 1) * 1_000_000
    assert [one.share for one in (planted.NONE, planted.FIVE, planted.TEN)] == [0.0, 0.05, 0.1]


def test_a_slowed_run_is_slower_by_any_clock() -> None:
    start = time.perf_counter()
    Delayed(Sleeper(), 2.0).run({})
    assert time.perf_counter() - start >= 0.06


def test_without_onnx_runtime_it_multiplies_matrices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(OrtRuntime, "available", lambda _: Refusal("it is not here"))
    slowed, nothing = Planted(0.0), Any
    assert slowed.version().startswith("numpy")
    with slowed.open(nothing, nothing, nothing) as session:  # type: ignore[arg-type]
        assert session.run({})["product"].shape == (1024, 1024)


def test_a_subject_that_could_not_be_measured_ends_the_self_test() -> None:
    from minuet.benchmarks.measure import Measured

    good = Measured(samples_ms={"total": [1.0]})
    assert _samples("base", good) == [1.0]
    with pytest.raises(MissingBackendError, match="could not measure base: gone"):
        _samples("base", replace(good, refusal="gone"))


@pytest.mark.slow
def test_the_model_and_its_copies_are_measured_in_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("minuet.planted.LENGTH", 1)
    told: list[str] = []
    found = record(2.0, told.append)
    assert list(found) == [OLD, SAME, FIVE, TEN] and told
    counts = {len(samples) for samples in found.values()}
    assert min(counts) >= 2 and max(counts) - min(counts) <= 2
