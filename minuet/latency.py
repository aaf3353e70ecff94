"""A call and what it may cost -> verdicts: timed here and now, judged as the gate judges."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from minuet import __version__
from minuet.benchmarks import stats
from minuet.benchmarks.budget import Budget, Limit
from minuet.benchmarks.calls import time_calls
from minuet.benchmarks.clock import Clock, resolution
from minuet.benchmarks.gate import gate
from minuet.benchmarks.machine import fingerprint, strangers
from minuet.benchmarks.metrics import QUANTILES
from minuet.benchmarks.verdict import FAIL, INCONCLUSIVE, Verdict
from minuet.contracts.errors import DamagedError, RequestError
from minuet.contracts.files import contained, read_json, write_json
from minuet.contracts.report import BASE, Machine, Report, Run

SAMPLES = 100  # at least; a far quantile needs more before its bound exists


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """What a test asks of a call."""

    name: str
    at_most_ms: float | None = None
    quantile: str = "p50"
    against: Callable[[], object] | None = None  # another call, timed in turns with this one
    baseline: str = ""  # the name of a stored report
    min_effect: float = 0.03  # slower by less is not slower
    level: float = stats.GATE_LEVEL
    samples: int = 0  # 0: as many as the quantile needs
    seconds: float = 10.0

    def __post_init__(self) -> None:
        if self.quantile not in QUANTILES:
            raise RequestError(f"quantile is one of {', '.join(QUANTILES)}, not {self.quantile!r}.")
        if self.at_most_ms is None and not self.against and not self.baseline:
            raise RequestError("ask something: give at_most_ms, against or baseline.")
        if self.against and self.baseline:
            raise RequestError("against and baseline exclude each other: ask them in two tests.")

    @property
    def enough(self) -> int:
        """How many samples to take: some more than the bound of a far quantile needs to exist."""
        bound = math.log((1 - self.level) / 2) / math.log(QUANTILES[self.quantile])
        return self.samples or max(SAMPLES, math.ceil(1.2 * bound))

    @property
    def budget(self) -> Budget:
        """The same in the gate's words."""
        metric, most = f"total.{self.quantile}", self.at_most_ms
        return Budget(
            name=self.name,
            limits=() if most is None else (Limit(metric=metric, at_most=most),),
            compare=(metric,),
            min_effect=self.min_effect,
            level=self.level,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Store:
    """The folder of baselines, and what may be done with it."""

    folder: Path
    update: bool = False
    allow_strangers: bool = False

    def read(self, name: str) -> Report:
        """A stored report.

        Raises:
            RequestError: there is none of that name, or it is damaged.
        """
        path = self._path(name)
        if not path.exists():
            raise RequestError(f"{path}: no such baseline; run once with --minuet-update.")
        report = Report.from_json(read_json(path), str(path))
        if len(report.runs) != 1:
            raise DamagedError(f"{path}: holds {len(report.runs)} runs, not 1; write it again.")
        return report

    def write(self, name: str, report: Report) -> None:
        """Store a report, in the place of an earlier one."""
        write_json(self._path(name), report.to_json())

    def _path(self, name: str) -> Path:
        return contained(self.folder, f"{name}.json")


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What was measured, and what is thought of it."""

    runs: tuple[Run, ...]  # the call's, then what took turns with it
    verdicts: tuple[Verdict, ...]
    note: str = ""  # what was done besides


def answer(call: Callable[[], object], ask: Ask, store: Store, clock: Clock) -> Answer:
    """Time a call and judge it.

    Raises:
        RequestError: there is no such baseline, or it cannot be written.
        Exception: whatever the call raised.
    """
    budget = ask.budget  # refuses what makes no sense before that costs time
    old = None if store.update or not ask.baseline else store.read(ask.baseline)
    calls = {"": call} | ({BASE: ask.against} if ask.against else {})
    found = time_calls(calls, samples=ask.enough, seconds=ask.seconds, clock=clock)
    runs = tuple(replace(run, artifact=ask.name, side=side) for side, run in found.items())
    report = report_of(*runs, clock=clock)
    verdicts = tuple(_believed(each, runs[0], ask) for each in judged(report, budget, old, store))
    note = ""
    if ask.baseline and store.update:
        store.write(ask.baseline, report)
        note = f"baseline {ask.baseline} written"
    return Answer(runs=runs, verdicts=verdicts, note=note)


def judged(report: Report, budget: Budget, old: Report | None, store: Store) -> list[Verdict]:
    """The gate's verdicts; of a baseline from elsewhere it is only said that it is no measure."""
    if not old:
        return gate(report, budget)
    differ = strangers(report.machine, old.machine)
    if differ and not store.allow_strangers:
        why = f"the baseline was measured on another machine ({'; '.join(differ)})"
        return [*gate(report, budget), _not_compared(report.runs[0], budget, why)]
    same_name = replace(old.runs[0], artifact=report.runs[0].artifact)
    old = replace(old, runs=(same_name,))
    return gate(report, budget, old, allow_strangers=store.allow_strangers)


def report_of(*runs: Run, clock: Clock) -> Report:
    """Runs of this process as a report."""
    return Report(
        bundle="",
        machine=_machine(),
        runs=runs,
        clock_resolution_ns=resolution(clock).tick_ns,
        minuet=__version__,
        seed=0,
    )


@cache
def _machine() -> Machine:
    return fingerprint()


def _believed(verdict: Verdict, run: Run, ask: Ask) -> Verdict:
    """A verdict on single calls, where the clock could time them one by one."""
    if run.batch == 1 or ask.quantile == "p50":
        return verdict
    note = (
        f"a call is so short that each sample is the mean of {run.batch}, "
        f"and of means there is no {ask.quantile}; ask for p50"
    )
    return replace(verdict, outcome=INCONCLUSIVE, note=note)


def _not_compared(run: Run, budget: Budget, why: str) -> Verdict:
    return Verdict(
        outcome=INCONCLUSIVE,
        artifact=run.artifact,
        runtime=run.runtime,
        metric=f"{budget.compare[0]} over baseline",
        limit=1 + budget.min_effect,
        unit="x",
        note=why,
    )


def beside_others(verdict: Verdict) -> Verdict:
    """A verdict while other tests run: what passes even so passes, but nothing is to blame."""
    if verdict.outcome != FAIL:
        return verdict
    note = "other tests run beside this one; without pytest-xdist, or with -n 0, it is decided"
    return replace(verdict, outcome=INCONCLUSIVE, note=note)
