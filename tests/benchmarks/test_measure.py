import itertools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from minuet.benchmarks.measure import MOST_BATCH, Measured, Plan, measure, turns, warm_up
from minuet.benchmarks.memory import Memory
from minuet.benchmarks.subject import Block, GoneError, Opened, Watched
from minuet.contracts.errors import Refusal, RequestError
from minuet.contracts.report import Operator


class Fake:
    """A subject whose times are given: nothing here takes any."""

    shortest_ms = 0.0

    def __init__(self, name: str, diary: list[str], dies_after: int = 10**9) -> None:
        self.name, self.diary, self.dies_after = name, diary, dies_after
        self.runs = itertools.count()

    def open(self) -> Opened:
        self.diary.append(f"open {self.name}")
        return Opened(load_ms=50.0, first_ms=20.0, version="fake 1", shortest_ms=self.shortest_ms)

    def sample(self, count: int, batch: int = 1) -> Block:
        self.diary.append(f"{self.name}{count}")
        done = [next(self.runs) for _ in range(count)]
        if max(done) >= self.dies_after:
            raise GoneError("the cable was pulled")
        return {"total": [self.takes(n) for n in done]}

    def takes(self, run: int) -> float:
        return 10.0 + 10.0 / (1 + run)

    def stages(self, count: int) -> Watched:
        self.diary.append(f"watch {self.name}")
        return Watched(
            block={"stage.text": [7.0] * count, "watched": [30.0] * count}, operators=(CONV,)
        )

    def save(self, path: Path) -> None:
        self.diary.append(f"save {self.name}")

    def close(self, *, weigh: bool = False) -> Memory:
        self.diary.append(f"weigh {self.name}" if weigh else f"close {self.name}")
        return Memory(peak_rss_mib=123.0, peak_pss_mib=100.0 if weigh else None)


CONV = Operator(name="c", kind="Conv", unit="cpu", p50_ms=7.0)
PLAN = Plan(samples=8, seconds=60, block=2, colds=2, watched=4)
WARM = 25  # samples until the fake is steady


def makers(diary: list[str], *names: str, dies: str = "") -> dict[str, Callable[[], Fake]]:
    return {
        name: (lambda n=name: Fake(n, diary, WARM + 5 if n == dies else 10**9))  # type: ignore[misc]
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
        "warm_up": WARM,
        "total": 8,
        "stage.text": 4,
        "watched": 4,
    }
    assert found.version == "fake 1" and found.memory.peak_rss_mib == 123.0
    assert found.operators == (CONV,) and not found.unplaced


def test_each_is_opened_and_weighed_alone_before_all_are_open() -> None:
    diary: list[str] = []
    found = measure(makers(diary, "a", "b"), PLAN)
    opening = [entry for entry in diary if entry.split()[0] in ("open", "weigh", "close")]
    assert opening[:4] == ["open a", "weigh a", "open b", "weigh b"]
    assert opening[4:8] == ["open a", "open b", "close a", "close b"]
    assert {one.memory.peak_pss_mib for one in found.values()} == {100.0}


def test_what_was_never_alone_has_no_share_of_shared_pages() -> None:
    found = measure(makers([], "a", "b"), replace(PLAN, colds=1))
    assert {one.memory.peak_pss_mib for one in found.values()} == {None}
    assert {one.memory.peak_rss_mib for one in found.values()} == {123.0}


def test_samples_come_from_as_many_fresh_processes_as_were_asked_for() -> None:
    diary: list[str] = []
    found = measure(makers(diary, "a", "b"), replace(PLAN, samples=10, processes=3))
    told = [entry for entry in diary if entry[0] in "oc" and entry[-1] in "ab"]
    assert told[:12] == ["open a", "open b", "close a", "close b"] * 3
    for one in found.values():
        counts = {name: len(values) for name, values in one.samples_ms.items()}
        assert (counts["total"], counts["load"], counts["warm_up"]) == (10, 3, 3 * WARM)


def test_a_slow_opener_is_not_opened_again() -> None:
    diary: list[str] = []
    measure(makers(diary, "a"), Plan(samples=2, colds=5, cold_seconds=0.1))
    assert diary.count("open a") == 2  # 70 ms, then 140 ms: enough
    assert diary.count("weigh a") == 1 and diary[-1] == "close a"


def test_who_vanishes_keeps_what_was_measured_and_the_others_go_on() -> None:
    diary: list[str] = []
    found = measure(makers(diary, "a", "b", dies="a"), PLAN)
    assert found["a"].refusal == "the cable was pulled"
    assert 0 < len(found["a"].samples_ms["total"]) < PLAN.samples
    assert not found["b"].refusal and len(found["b"].samples_ms["total"]) == PLAN.samples
    assert diary[-3:] == ["close b", "watch b", "close b"]
    assert "b2" in diary[diary.index("close a") :], "it is closed at once"


def test_stages_are_watched_when_all_that_is_timed_is_over() -> None:
    diary: list[str] = []
    watched = measure(makers(diary, "a", "b"), PLAN)
    timed = measure(makers([], "a", "b"), replace(PLAN, watched=0))
    assert diary[-4:] == ["watch a", "close a", "watch b", "close b"]
    for name, found in watched.items():
        assert found.samples_ms["total"] == timed[name].samples_ms["total"]
        assert found.memory == timed[name].memory
        assert not {"watched", "stage.text"} & set(timed[name].samples_ms)


def test_a_slow_subject_is_watched_for_fewer_runs() -> None:
    plan = replace(PLAN, watched=20, watched_seconds=0.05)  # 11 to 20 ms a run
    assert len(measure(makers([], "a"), plan)["a"].samples_ms["watched"]) == 4
    plan = replace(plan, watched_seconds=0.001)
    assert len(measure(makers([], "a"), plan)["a"].samples_ms["watched"]) == 3


def test_who_cannot_tell_its_stages_keeps_its_samples_and_says_why() -> None:
    class Silent(Fake):
        def stages(self, count: int) -> Watched:
            raise GoneError("it has no profiler")

    found = measure({"a": lambda: Silent("a", [])}, PLAN)["a"]
    assert found.unwatched == found.unplaced == "it has no profiler" and not found.refusal
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

    class Even(Fake):
        def takes(self, run: int) -> float:
            return 10.0 + 0.1 * (run % 3)

    class Cooling(Fake):
        def takes(self, run: int) -> float:
            return 10.0 + 100 * 0.9**run

    warm_up(Even("quick", []), quick, PLAN)
    warm_up(Cooling("slow", []), slow, PLAN)
    assert 10 == quick.count("warm_up") < slow.count("warm_up") < PLAN.warm_up
    assert not quick.unsteady and not slow.unsteady


class Climbing(Fake):
    def takes(self, run: int) -> float:
        return 2.0**run


def test_a_subject_that_never_settles_is_sampled_anyway_and_that_is_said() -> None:
    found = Measured()
    warm_up(Climbing("up", []), found, Plan(warm_up=23, warm_up_seconds=1e9))
    assert len(found.samples_ms["warm_up"]) == 23
    assert found.unsteady == "not yet steady after 23 samples of warm-up"


def test_a_warm_up_is_bounded_in_seconds_too() -> None:
    found = Measured()
    warm_up(Climbing("up", []), found, Plan(warm_up_seconds=1.0))  # 31 ms, then 1 s
    assert found.count("warm_up") == 10 and found.unsteady


class Quick(Fake):
    """A run takes a microsecond, and the clock tells ten."""

    shortest_ms = 0.01

    def takes(self, run: int) -> float:
        return 0.001

    def sample(self, count: int, batch: int = 1) -> Block:
        self.diary.append(f"batch {batch}")
        return super().sample(count, batch)


def test_what_is_too_short_for_the_clock_is_sampled_in_batches() -> None:
    diary: list[str] = []
    found = measure({"a": lambda: Quick("a", diary)}, PLAN)["a"]
    assert found.batch == 15 and found.count("total") == PLAN.samples
    assert {entry for entry in diary if entry.startswith("batch")} == {"batch 1", "batch 15"}
    assert diary.count("batch 1") == 1, "only the look that found it"


def test_what_is_too_short_in_any_batch_is_refused() -> None:
    class Nothing(Quick):
        def takes(self, run: int) -> float:
            return 0.0

    found = measure({"a": lambda: Nothing("a", [])}, PLAN)["a"]
    assert found.refusal.startswith(f"{MOST_BATCH} runs take 0 ms, and the clock can only be")


def test_two_that_are_compared_are_sampled_in_one_batch() -> None:
    def both(paired: bool) -> list[int]:
        subjects = {"a": lambda: Quick("a", []), "b": lambda: Fake("b", [])}
        plan = replace(PLAN, paired=paired)
        return [one.batch for one in measure(subjects, plan).values()]

    assert both(paired=True) == [15, 15] and both(paired=False) == [15, 1]


class Meter:
    """Counts what has been asked of it."""

    seconds = 4.0

    def __init__(self, diary: list[str], answer: float | Refusal) -> None:
        self.diary, self.answer = diary, answer

    def start(self) -> None:
        self.diary.append("start")

    def stop(self) -> float | Refusal:
        self.diary.append("stop")
        return self.answer


def every_second() -> Callable[[], int]:
    return itertools.count(0, 10**9).__next__


def test_runs_without_a_pause_are_kept_and_come_last_each_alone() -> None:
    diary: list[str] = []
    plan = replace(PLAN, sustained=3, watched=0)
    found = measure(makers(diary, "a", "b"), plan, clock=every_second())
    long = [entry for entry in diary if len(entry) >= 3 and entry[1:].isdigit()]
    assert [entry[0] for entry in long] == ["a"] * 3 + ["b"] * 3, "a question a second"
    assert long[0] == f"a{int(1000 / found['a'].usual_ms)}"
    assert found["a"].count("sustained") == 3 * int(long[0][1:])
    assert "sustained" not in measure(makers([], "a"), PLAN)["a"].samples_ms


def test_energy_is_a_share_of_what_the_meter_counted() -> None:
    diary: list[str] = []
    meter = Meter(diary, 5_000.0)
    found = measure(makers(diary, "a", "b"), PLAN, meter=meter, clock=every_second())
    runs = found["a"].count("metered")
    assert runs and found["a"].energy_mj == 5_000 / runs and not found["a"].unmetered
    assert [entry for entry in diary if entry in ("start", "stop")] == ["start", "stop"] * 2


def test_without_a_meter_nothing_is_run_for_it_and_the_reason_is_kept() -> None:
    found = measure(makers([], "a"), PLAN, meter=Refusal("no counters here"))["a"]
    assert found.unmetered == "no counters here" and found.energy_mj is None
    assert "metered" not in found.samples_ms
    failing = Meter([], Refusal("it was unplugged"))
    found = measure(makers([], "a"), PLAN, meter=failing, clock=every_second())["a"]
    assert found.unmetered == "it was unplugged" and found.count("metered") and not found.refusal


@pytest.mark.parametrize("phase", ["sustained", "metered"])
def test_who_vanishes_late_keeps_all_that_was_measured(phase: str) -> None:
    diary: list[str] = []

    class Late(Fake):
        def sample(self, count: int, batch: int = 1) -> Block:
            if count > 10 and next(long) == 2:
                raise GoneError("the battery is empty")
            return super().sample(count, batch)

    long = itertools.count()
    plan = replace(PLAN, sustained=9.0 if phase == "sustained" else 0.0)
    meter = Meter(diary, 1.0) if phase == "metered" else Refusal("none")
    subjects = {"a": lambda: Late("a", diary), "b": lambda: Fake("b", diary)}
    found = measure(subjects, plan, meter=meter, clock=every_second())
    gone, other = found.values()
    assert gone.refusal == "the battery is empty" and not other.refusal
    assert gone.count("total") == PLAN.samples and gone.count(phase) > 10
    assert gone.energy_mj is None and diary.count("start") == diary.count("stop")


def test_progress_counts_every_sample_once() -> None:
    told: list[int] = []
    measure(makers([], "a", "b"), PLAN, progress=lambda name, new, have, all: told.append(new))
    assert sum(told) == 2 * PLAN.samples


def test_a_plan_of_nothing_is_refused() -> None:
    with pytest.raises(RequestError, match="at least 1"):
        Plan(samples=0)
    with pytest.raises(RequestError, match="watched runs and sustained seconds are 0 or more"):
        Plan(watched=-1)
