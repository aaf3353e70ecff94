"""Subjects -> samples: cold, warmed up until steady, then interleaved, every sample kept."""

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from minuet.benchmarks.clock import Clock, now_ns
from minuet.benchmarks.subject import Subject, expected
from minuet.contracts.errors import RequestError

WINDOW = 5  # runs whose medians are compared to call a subject steady
STEADY, NOISY = 0.05, 0.15  # how close two windows must be: on a quiet machine, and at the most
FEWEST_WATCHED = 3

Progress = Callable[[str, int, int, int], None]  # name, new samples, samples so far, wanted
Visit = Callable[[str, Subject], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How much to measure."""

    samples: int = 100  # a subject
    seconds: float = 120.0  # for all warm samples together; what is done by then is kept
    block: int = 2  # runs in a row before the next subject's turn
    colds: int = 3  # fresh openings, each one load and one first run
    cold_seconds: float = 15.0  # of openings after which a subject is not opened again
    warm_up: int = 60  # runs at most before a subject that never gets steady is sampled anyway
    warm_up_seconds: float = 10.0
    watched: int = 20  # runs at most whose stages are told, in a process of their own; 0: none
    watched_seconds: float = 10.0

    def __post_init__(self) -> None:
        if min(self.samples, self.block, self.colds, self.warm_up) < 1 or self.seconds <= 0:
            raise RequestError(f"samples, seconds, block, colds and warm-up are at least 1: {self}")
        if self.watched < 0:
            raise RequestError(f"watched runs are 0 or more: {self}")


@dataclass(slots=True)
class Measured:
    """What came of one subject; what was measured before it vanished is kept."""

    version: str = ""
    samples_ms: dict[str, list[float]] = field(default_factory=dict)
    peak_rss_mib: float | None = None
    refusal: str = ""
    unwatched: str = ""  # why its stages are not known

    def add(self, block: Mapping[str, Sequence[float]]) -> None:
        """Append a block's samples, in order."""
        for name, values in block.items():
            self.samples_ms.setdefault(name, []).extend(values)


def measure(
    subjects: Mapping[str, Callable[[], Subject]],
    plan: Plan,
    *,
    progress: Progress | None = None,
    visit: Visit | None = None,
    clock: Clock = now_ns,
) -> dict[str, Measured]:
    """Measure makers of subjects against one another.

    Each is opened `colds` times, alone; the last opening stays. Then all take turns, A B B A, so
    that heat and neighbours fall on all alike. A subject that refuses or vanishes ends with its
    reason; the others go on. When all are closed, each is made once more for its stages: a
    profiler slows what it watches, and holds memory of its own.

    Args:
        visit: called once with every warm subject, for instance to save its outputs.
    """
    found = {name: Measured() for name in subjects}
    open_subjects: dict[str, Subject] = {}
    try:
        for name, make in subjects.items():
            _guard(found[name], partial(_cold, name, make, plan, found[name], open_subjects))
        for name, subject in open_subjects.items():
            _guard(found[name], partial(_prepare, name, subject, found[name], plan, visit))
        take_turns(open_subjects, found, plan, progress, clock)
    finally:
        for name, subject in open_subjects.items():
            _guard(found[name], partial(_close, subject, found[name]))
    for name, make in subjects.items():
        if plan.watched and not found[name].refusal:
            watch(make, found[name], plan)
    return found


def watch(make: Callable[[], Subject], into: Measured, plan: Plan) -> None:
    """Ask a fresh subject for its stages; that it cannot tell is no refusal."""
    usual = max(statistics.median(into.samples_ms["total"]), 1e-3)
    count = min(plan.watched, max(FEWEST_WATCHED, int(1e3 * plan.watched_seconds / usual)))
    subject = make()
    try:
        into.add(subject.stages(count))
    except Exception as error:
        into.unwatched = expected(error)
    finally:
        subject.close()


def warm_up(subject: Subject, into: Measured, plan: Plan) -> None:
    """Run until steady; the samples are kept as warm_up."""
    done: list[float] = []
    while len(done) < plan.warm_up and not steady(done):
        if sum(done) > 1e3 * plan.warm_up_seconds:
            break
        count = min(WINDOW, plan.warm_up - len(done))
        done += subject.sample(count)["total"]
    into.add({"warm_up": done})


def steady(samples: Sequence[float], window: int = WINDOW) -> bool:
    """Whether the last window's median is the one before's, within the last one's scatter.

    The window before scatters by its own trend, too, so it may not say what is near.
    """
    if len(samples) < 2 * window:
        return False
    last, before = samples[-window:], samples[-2 * window : -window]
    middle = statistics.median(before)
    centre = statistics.median(last)
    gap = abs(centre - middle)
    scatter = statistics.median(abs(value - centre) for value in last)
    return gap <= max(STEADY * middle, min(2 * scatter, NOISY * middle))


def turns(names: Sequence[str], number: int) -> list[str]:
    """The order of round `number`: forwards, then backwards."""
    return list(names) if number % 2 == 0 else list(reversed(names))


def take_turns(
    subjects: Mapping[str, Subject],
    found: Mapping[str, Measured],
    plan: Plan,
    progress: Progress | None = None,
    clock: Clock = now_ns,
) -> None:
    """Sample all in turns until each has enough or the time is over, whole rounds only."""
    end, number = clock() + plan.seconds * 1e9, 0
    names = [name for name in subjects if not found[name].refusal]
    while names and (number == 0 or clock() < end):
        for name in turns(names, number):
            have = len(found[name].samples_ms.get("total", ()))
            count = min(plan.block, plan.samples - have)
            _guard(found[name], partial(_sample, subjects[name], count, found[name]))
            if progress:
                progress(name, count, have + count, plan.samples)
        number += 1
        names = [name for name in names if _goes_on(found[name], plan)]


def _goes_on(measured: Measured, plan: Plan) -> bool:
    return not measured.refusal and len(measured.samples_ms["total"]) < plan.samples


def _cold(
    name: str,
    make: Callable[[], Subject],
    plan: Plan,
    into: Measured,
    open_subjects: dict[str, Subject],
) -> None:
    for _ in range(plan.colds):
        if name in open_subjects:
            open_subjects.pop(name).close()
        open_subjects[name] = make()
        opened = open_subjects[name].open()
        into.version = opened.version
        into.add({"load": [opened.load_ms], "first": [opened.first_ms]})
        if sum(into.samples_ms["load"]) + sum(into.samples_ms["first"]) > 1e3 * plan.cold_seconds:
            return


def _prepare(name: str, subject: Subject, into: Measured, plan: Plan, visit: Visit | None) -> None:
    if into.refusal:
        return
    warm_up(subject, into, plan)
    if visit:
        visit(name, subject)


def _sample(subject: Subject, count: int, into: Measured) -> None:
    into.add(subject.sample(count))


def _close(subject: Subject, into: Measured) -> None:
    into.peak_rss_mib = subject.close()


def _guard(measured: Measured, step: Callable[[], None]) -> None:
    """Do one step; a subject's failure becomes its refusal, not everybody's end."""
    try:
        step()
    except Exception as error:
        measured.refusal = measured.refusal or expected(error)
