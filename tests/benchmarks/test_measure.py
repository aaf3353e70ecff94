import itertools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from minuet.benchmarks.measure import Measured, Plan, measure, steady, turns, warm_up
from minuet.benchmarks.subject import Block, GoneError, Opened
from minuet.contracts.errors import RequestError


class Fake:
    """A subject whose times are given: nothing here takes any."""

    def __init__(self, name: str, diary: list[str], dies_after: int = 10**9) -> None:
        self.name, self.diary, self.dies_after = name, diary, dies_after
        self.runs = itertools.count()

    def open(self) -> Opened:
        self.diary.append(f"open {self.name}")
        return Opened(load_ms=50.0, first_ms=20.0, version="fake 1")

    def sample(self, count: int) -> Block:
        self.diary.append(f"{self.name}{count}")
        done = [next(self.runs) for _ in range(count)]
        if max(done) >= self.dies_after:
            raise GoneError("the cable was pulled")
        return {"total": [10.0 + 10.0 / (1 + n) for n in done]}

    def stages(self, count: int) -> Block:
        self.diary.append(f"watch {self.name}")
        return {"stage.text": [7.0] * count, "watched": [30.0] * count}

    def save(self, path: Path) -> None:
        self.diary.append(f"save {self.name}")

    def close(self) -> float | None:
        self.diary.append(f"close {self.name}")
        return 123.0


PLAN = Plan(samples=8, seconds=60, block=2, colds=2, watched=4)


def makers(diary: list[str], *names: str, dies: str = "") -> dict[str, Callable[[], Fake]]:
    return {
        name: (lambda n=name: Fake(n, diary, 20 if n == dies else 10**9))  # type: ignore[misc]
        for name in names
    }


def test_subjects_take_turns_forwards_and_backwards() -> None:
    diary: list[str] = []
    measure(makers(diary, "a", "b", "c"), PLAN)
    told = [entry for entry in diary if entry in ("a2", "b2", "c2")]
    assert "".join(entry[0] for entry in told) == "abccbaabccba"
    assert turns("ab", 0) + turns("ab", 1) == ["a", "b", "b", "a"]


def test_every_sample_is_kept_in_its_place() -> None:
    found = measure(makers([], "a"), PLAN)["a"]
    assert {name: len(values) for name, values in found.samples_ms.items()} == {
        "load": 2,
        "first": 2,
        "warm_up": 15,
        "total": 8,
        "stage.text": 4,
        "watched": 4,
    }
    assert found.version == "fake 1" and found.peak_rss_mib == 123.0


def test_each_is_opened_alone_and_closed_before_it_is_opened_again() -> None:
    diary: list[str] = []
    measure(makers(diary, "a", "b"), PLAN)
    opening = [entry for entry in diary if entry.split()[0] in ("open", "close")]
    assert opening[:6] == ["open a", "close a", "open a", "open b", "close b", "open b"]
    assert opening[6:8] == ["close a", "close b"]


def test_a_slow_opener_is_not_opened_again() -> None:
    diary: list[str] = []
    measure(makers(diary, "a"), Plan(samples=2, colds=5, cold_seconds=0.1))
    assert diary.count("open a") == 2  # 70 ms, then 140 ms: enough


def test_who_vanishes_keeps_what_was_measured_and_the_others_go_on() -> None:
    diary: list[str] = []
    found = measure(makers(diary, "a", "b", dies="a"), PLAN)
    assert found["a"].refusal == "the cable was pulled"
    assert 0 < len(found["a"].samples_ms["total"]) < PLAN.samples
    assert not found["b"].refusal and len(found["b"].samples_ms["total"]) == PLAN.samples
    assert diary[-4:] == ["close a", "close b", "watch b", "close b"]


def test_stages_are_watched_when_all_that_is_timed_is_over() -> None:
    diary: list[str] = []
    watched = measure(makers(diary, "a", "b"), PLAN)
    timed = measure(makers([], "a", "b"), replace(PLAN, watched=0))
    assert diary[-4:] == ["watch a", "close a", "watch b", "close b"]
    for name, found in watched.items():
        assert found.samples_ms["total"] == timed[name].samples_ms["total"]
        assert found.peak_rss_mib == timed[name].peak_rss_mib
        assert not {"watched", "stage.text"} & set(timed[name].samples_ms)


def test_a_slow_subject_is_watched_for_fewer_runs() -> None:
    plan = replace(PLAN, watched=20, watched_seconds=0.05)  # 11 to 20 ms a run
    assert len(measure(makers([], "a"), plan)["a"].samples_ms["watched"]) == 4
    plan = replace(plan, watched_seconds=0.001)
    assert len(measure(makers([], "a"), plan)["a"].samples_ms["watched"]) == 3


def test_who_cannot_tell_its_stages_keeps_its_samples_and_says_why() -> None:
    class Silent(Fake):
        def stages(self, count: int) -> Block:
            raise GoneError("it has no profiler")

    found = measure({"a": lambda: Silent("a", [])}, PLAN)["a"]
    assert found.unwatched == "it has no profiler" and not found.refusal
    assert len(found.samples_ms["total"]) == PLAN.samples


def test_who_refuses_to_open_is_asked_nothing_more() -> None:
    class Refusing(Fake):
        def open(self) -> Opened:
            raise GoneError("no such device here")

    diary: list[str] = []
    found = measure({"a": lambda: Refusing("a", diary)}, PLAN)
    assert found["a"].refusal == "no such device here" and found["a"].samples_ms == {}
    assert diary == ["close a"]


def test_when_the_time_is_over_whole_rounds_are_kept() -> None:
    seconds = itertools.count(0, 10**9)
    found = measure(makers([], "a", "b"), Plan(samples=100, seconds=3), clock=seconds.__next__)
    assert len(found["a"].samples_ms["total"]) == len(found["b"].samples_ms["total"]) == 6


def test_warm_up_ends_when_it_is_steady_and_not_at_a_number() -> None:
    quick, slow = Measured(), Measured()
    warm_up(Fake("quick", []), quick, PLAN)

    class Cooling(Fake):
        def sample(self, count: int) -> Block:
            return {"total": [10.0 + 100 * 0.8 ** next(self.runs) for _ in range(count)]}

    warm_up(Cooling("slow", []), slow, PLAN)
    assert len(quick.samples_ms["warm_up"]) < len(slow.samples_ms["warm_up"]) < PLAN.warm_up


def test_a_subject_that_never_settles_is_sampled_anyway() -> None:
    class Climbing(Fake):
        def sample(self, count: int) -> Block:
            return {"total": [2.0 ** next(self.runs) for _ in range(count)]}

    found = Measured()
    warm_up(Climbing("up", []), found, Plan(warm_up=23, warm_up_seconds=1e9))
    assert len(found.samples_ms["warm_up"]) == 23


def test_steady_looks_past_one_hiccup_but_not_past_a_trend() -> None:
    calm = [10.0, 10.1, 9.9, 10.0, 10.1]
    assert steady([*calm, 10.0, 50.0, 10.1, 9.9, 10.0])
    assert not steady([20.0, 18.0, 16.0, 15.0, 14.0, 13.0, 12.0, 12.0, 11.0, 11.0])
    assert not steady(calm)


def test_progress_counts_every_sample_once() -> None:
    told: list[int] = []
    measure(makers([], "a", "b"), PLAN, progress=lambda name, new, have, all: told.append(new))
    assert sum(told) == 2 * PLAN.samples


def test_a_plan_of_nothing_is_refused() -> None:
    with pytest.raises(RequestError, match="at least 1"):
        Plan(samples=0)
    with pytest.raises(RequestError, match="watched runs are 0 or more"):
        Plan(watched=-1)
