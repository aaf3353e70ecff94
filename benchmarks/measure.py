"""Subjects -> samples: cold, warmed up until steady, then interleaved, every sample kept."""

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from minuet.benchmarks.clock import Clock, now_ns
from minuet.benchmarks.energy import Meter
from minuet.benchmarks.memory import Memory
from minuet.benchmarks.steady import steady_from
from minuet.benchmarks.subject import GoneError, Subject, Watched, expected
from minuet.contracts.errors import Refusal, RequestError
from minuet.contracts.report import Operator

STEP = 5  # runs of a warm-up between two looks at it
FEWEST_WATCHED = 3
CHUNK_MS = 1000.0  # of runs back to back between two questions
MOST_BATCH = 10_000
UNASKED = Refusal("nobody asked for it")

Progress = Callable[[str, int, int, int], None]  # name, new samples, samples so far, wanted
Visit = Callable[[str, Subject], None]
Makers = Mapping[str, Callable[[], Subject]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How much to measure."""

    samples: int = 100  # a subject
    seconds: float = 120.0  # for all warm samples together; what is done by then is kept
    block: int = 2  # samples in a row before the next subject's turn
    colds: int = 3  # fresh openings, each one load and one first run
    cold_seconds: float = 15.0  # of openings after which a subject is not opened again
    processes: int = 1  # of the openings, how many are sampled: chance places each in memory anew
    warm_up: int = 100  # runs at most before a subject that never gets steady is sampled anyway
    warm_up_seconds: float = 15.0
    sustained: float = 0.0  # seconds in which each subject, alone, runs back to back
    paired: bool = False  # subjects are compared with each other: one batch for all
    watched: int = 20  # runs at most whose stages are told, in a process of their own; 0: none
    watched_seconds: float = 10.0

    def __post_init__(self) -> None:
        least = min(self.samples, self.block, self.colds, self.processes, self.warm_up)
        if least < 1 or self.seconds <= 0:
            raise RequestError(f"samples, seconds, block, colds and warm-up are at least 1: {self}")
        if min(self.watched, self.sustained) < 0:
            raise RequestError(f"watched runs and sustained seconds are 0 or more: {self}")


@dataclass(slots=True)
class Measured:
    """What came of one subject; what was measured before it vanished is kept."""

    version: str = ""
    samples_ms: dict[str, list[float]] = field(default_factory=dict[str, list[float]])
    shortest_ms: float = 0.0  # of a sample that its clock can be believed about
    batch: int = 1  # runs of which a warm sample is the mean
    memory: Memory = field(default_factory=Memory)
    energy_mj: float | None = None  # of a run
    unmetered: str = ""
    operators: tuple[Operator, ...] = ()
    unplaced: str = ""
    unwatched: str = ""  # why its stages are not known
    unsteady: str = ""  # that its warm-up ended before it was steady
    refusal: str = ""

    def add(self, block: Mapping[str, Sequence[float]]) -> None:
        """Append a block's samples, in order."""
        for name, values in block.items():
            self.samples_ms.setdefault(name, []).extend(values)

    def count(self, name: str) -> int:
        """How many samples it has of a kind."""
        return len(self.samples_ms.get(name, ()))

    @property
    def usual_ms(self) -> float:
        """A warm sample, all its runs together."""
        return max(self.batch * statistics.median(self.samples_ms["total"]), 1e-3)


def measure(
    makers: Makers,
    plan: Plan,
    *,
    progress: Progress | None = None,
    visit: Visit | None = None,
    meter: Meter | Refusal = UNASKED,
    clock: Clock = now_ns,
) -> dict[str, Measured]:
    """Measure makers of subjects against one another.

    Each is opened alone and closed again, for its cold start and its memory. Then all are open and
    take turns, A B B A, so that heat and neighbours fall on all alike; if asked to, each then runs
    back to back, and once more under the meter. A subject that refuses or vanishes ends with its
    reason, and keeps what it has; the others go on. When all are closed, each is made once more
    for its stages: a profiler slows what it watches, and holds memory of its own.

    Args:
        visit: called once with every warm subject, for instance to save its outputs.
        meter: of the machine that the subjects run on, or why there is none.
    """
    bout = _Bout(makers, plan, progress, clock)
    try:
        bout.each(bout.alone)
        for part in range(plan.processes):
            bout.each(bout.open)
            bout.each(bout.warm)
            if visit and part == 0:
                bout.each(lambda name: visit(name, bout.held[name]))
            bout.take_turns(part + 1)
            if part < plan.processes - 1:
                bout.close()
        bout.each(bout.sustain)
        bout.each(partial(bout.weigh_energy, meter))
    finally:
        bout.close()
    for name, make in makers.items():
        if plan.watched and not bout.found[name].refusal:
            watch(make, bout.found[name], plan)
    return bout.found


class _Bout:
    """The subjects that are open, and what has come of all."""

    def __init__(self, makers: Makers, plan: Plan, progress: Progress | None, clock: Clock) -> None:
        self.makers, self.plan, self.progress, self.clock = makers, plan, progress, clock
        self.found = {name: Measured() for name in makers}
        self.held: dict[str, Subject] = {}

    def each(self, step: Callable[[str], None]) -> None:
        """Do a step for all that go on."""
        for name in self.makers:
            self.guard(name, step)

    def guard(self, name: str, step: Callable[[str], None]) -> None:
        """Do a step for one that goes on; its failure is its end, not everybody's."""
        into = self.found[name]
        if into.refusal:
            return
        try:
            step(name)
        except Exception as error:
            into.refusal = expected(error)
            if name in self.held:
                self.close_one(name)

    def alone(self, name: str) -> None:
        """Open and close; one that is slow to open stays."""
        for _ in range(self.plan.colds - self.plan.processes):
            self.open(name)
            cold = self.found[name].samples_ms
            if sum(cold["load"]) + sum(cold["first"]) > 1e3 * self.plan.cold_seconds:
                return
            self.close_one(name, weigh=not self.held.keys() - {name})

    def open(self, name: str) -> None:
        """Open, unless it is."""
        if name in self.held:
            return
        into = self.found[name]
        self.held[name] = self.makers[name]()
        opened = self.held[name].open()
        into.version, into.shortest_ms = opened.version, opened.shortest_ms
        into.add({"load": [opened.load_ms], "first": [opened.first_ms]})

    def warm(self, name: str) -> None:
        """Run until steady."""
        warm_up(self.held[name], self.found[name], self.plan)
        if self.plan.paired:
            batch = max(one.batch for one in self.found.values())
            for one in self.found.values():
                one.batch = batch

    def take_turns(self, part: int) -> None:
        """Sample all in turns until the part is full, or its time is over, whole rounds only."""
        wanted = math.ceil(self.plan.samples * part / self.plan.processes)
        end, number = self.clock() + 1e9 * self.plan.seconds / self.plan.processes, 0
        while names := [name for name in self.makers if self._goes_on(name, wanted)]:
            if number and self.clock() >= end:
                return
            for name in turns(names, number):
                self.guard(name, partial(self.sample, wanted))
            number += 1

    def sample(self, wanted: int, name: str) -> None:
        """One turn."""
        into = self.found[name]
        count = min(self.plan.block, wanted - into.count("total"))
        into.add(self.held[name].sample(count, into.batch))
        self.tell(name, count)

    def sustain(self, name: str) -> None:
        """Back to back for as long as was asked."""
        if self.plan.sustained:
            self.back_to_back(name, self.plan.sustained, "sustained")

    def weigh_energy(self, meter: Meter | Refusal, name: str) -> None:
        """Back to back for as long as the meter needs."""
        into = self.found[name]
        if isinstance(meter, Refusal):
            into.unmetered = meter.reason
            return
        meter.start()
        try:
            runs = self.back_to_back(name, meter.seconds, "metered")
        finally:
            spent_mj = meter.stop()
        if isinstance(spent_mj, Refusal):
            into.unmetered = spent_mj.reason
        else:
            into.energy_mj = spent_mj / runs

    def back_to_back(self, name: str, seconds: float, kind: str) -> int:
        """Runs without a pause but to ask for more; how many they were."""
        into, runs = self.found[name], 0
        count = max(1, int(CHUNK_MS / into.usual_ms))
        end = self.clock() + seconds * 1e9
        while not runs or self.clock() < end:
            into.add({kind: self.held[name].sample(count, into.batch)["total"]})
            runs += count * into.batch
            self.tell(name, 0)
        return runs

    def tell(self, name: str, new: int) -> None:
        """Say how far it is."""
        if self.progress:
            self.progress(name, new, self.found[name].count("total"), self.plan.samples)

    def close(self) -> None:
        """Close all that are open."""
        for name in list(self.held):
            self.close_one(name)

    def close_one(self, name: str, *, weigh: bool = False) -> None:
        """Close; pages are told by their share where no other subject shares them."""
        subject, into = self.held.pop(name), self.found[name]
        try:
            into.memory = into.memory.most(subject.close(weigh=weigh))
        except Exception as error:
            into.refusal = into.refusal or expected(error)

    def _goes_on(self, name: str, wanted: int) -> bool:
        into = self.found[name]
        return not into.refusal and into.count("total") < wanted


def warm_up(subject: Subject, into: Measured, plan: Plan) -> None:
    """Run until steady; the samples are kept as warm_up.

    Where a sample is shorter than the clock can tell, it becomes the mean of more runs.

    Raises:
        GoneError: no number of runs makes it long enough.
    """
    done: list[float] = []
    while steady_from(done) is None:
        if len(done) >= plan.warm_up or sum(done) * into.batch > 1e3 * plan.warm_up_seconds:
            into.unsteady = f"not yet steady after {len(done)} samples of warm-up"
            return
        block = subject.sample(min(STEP, plan.warm_up - len(done)), into.batch)["total"]
        short = statistics.median(block) * into.batch < into.shortest_ms
        if short and not into.count("total"):
            into.batch = longer(into.batch, statistics.median(block), into.shortest_ms)
            continue
        done += block
        into.add({"warm_up": block})


def longer(batch: int, ms: float, shortest_ms: float) -> int:
    """How many runs a sample needs that is too short with `batch` of them, `ms` each.

    Raises:
        GoneError: too many.
    """
    enough = math.ceil(1.5 * shortest_ms / ms) if ms else 10 * batch
    if batch == MOST_BATCH:
        raise GoneError(
            f"{batch} runs take {batch * ms:.2g} ms, and the clock can only be believed about "
            f"{shortest_ms:.2g} ms or more; not measured."
        )
    return min(max(2 * batch, enough), MOST_BATCH)


def watch(make: Callable[[], Subject], into: Measured, plan: Plan) -> None:
    """Ask a fresh subject for its stages and operators; that it cannot tell is no refusal."""
    usual_ms = into.usual_ms / into.batch
    count = min(plan.watched, max(FEWEST_WATCHED, int(1e3 * plan.watched_seconds / usual_ms)))
    try:
        told = _told(make(), count)
        into.add(told.block)
        into.operators, into.unwatched = told.operators, told.untimed
        into.unplaced = "" if told.operators else "its runtime does not name its operators"
    except Exception as error:
        into.unwatched = into.unplaced = expected(error)


def _told(subject: Subject, count: int) -> Watched:
    try:
        return subject.stages(count)
    finally:
        subject.close()


def turns(names: Sequence[str], number: int) -> list[str]:
    """The order of round `number`: forwards, then backwards."""
    return list(names) if number % 2 == 0 else list(reversed(names))
