"""A folder of reports -> each metric over time, and when it changed by how much."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from minuet.benchmarks.budget import Budget
from minuet.benchmarks.changes import Change, changes
from minuet.benchmarks.machine import strangers
from minuet.benchmarks.metrics import number_of, quantile_of, unit_of
from minuet.benchmarks.stats import quantile
from minuet.benchmarks.verdict import figure
from minuet.contracts.errors import MinuetError, RequestError
from minuet.contracts.files import read_json
from minuet.contracts.report import Report, Run

MOST = 1000  # reports of a folder; of more, the newest


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """One metric of one artifact on one runtime, over time."""

    artifact: str
    runtime: str
    metric: str
    unit: str
    times: tuple[str, ...]
    values: tuple[float, ...]
    changes: tuple[Change, ...]

    def __str__(self) -> str:
        subject = f"{self.artifact} on {self.runtime}: {self.metric}"
        if not self.changes:
            return f"history: {subject}: no change in {len(self.values)} reports"
        told = "; ".join(self._told(change) for change in self.changes)
        return f"history: {subject}: {told}"

    def _told(self, change: Change) -> str:
        ratio = change.ratio
        low, high = (f"{100 * (end - 1):+.0f}" for end in (ratio.low, min(ratio.high, 1e6)))
        before, after = self.values[change.at - 1], self.values[change.at]
        return (
            f"{100 * (ratio.value - 1):+.1f} % ({low} to {high}) with the report of "
            f"{self.times[change.at]}, {figure(before)} to {figure(after)} {self.unit}".rstrip()
        )

    def to_json(self) -> dict[str, Any]:
        """A plain value; each change with its time."""
        rows = [asdict(one) | {"time": self.times[one.at]} for one in self.changes]
        return asdict(self) | {"changes": rows}


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """What a folder tells, and how much of it could not be used."""

    courses: tuple[Course, ...]
    reports: int
    left_out: tuple[str, ...] = ()  # which, and why


def read_history(
    folder: Path, newest: Report, budget: Budget, *, allow_strangers: bool = False
) -> History:
    """The courses of a budget's compared metrics, up to the newest report.

    A report that cannot be read, has no time or is a stranger's is left out, and said to be.

    Raises:
        RequestError: no folder, or the newest report has no time.
    """
    if not folder.is_dir():
        raise RequestError(f"{folder}: not a folder of reports.")
    last = time_of(newest)
    if last is None:
        raise RequestError("the report does not say when it was measured; measure again.")
    found, left_out = {last: newest}, list[str]()
    paths = sorted({*folder.rglob("report.json"), *folder.glob("*.json")}, reverse=True)
    for path in paths[:MOST]:
        try:
            report = Report.from_json(read_json(path), str(path))
        except MinuetError as error:
            left_out.append(str(error))
            continue
        if why := _unfit(report, newest, last, allow_strangers):
            left_out.append(f"{path}: {why}")
        elif time := time_of(report):
            found.setdefault(time, report)
    if len(paths) > MOST:
        left_out.append(f"{len(paths) - MOST} reports: more than {MOST} are not read")
    ordered = [(time, found[time]) for time in sorted(found)]
    return History(
        courses=tuple(_courses(ordered, newest, budget)),
        reports=len(ordered),
        left_out=tuple(left_out),
    )


def time_of(report: Report) -> datetime | None:
    """When it was measured; None where it does not say."""
    try:
        found = datetime.fromisoformat(report.measured_at)
    except ValueError:
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def _unfit(report: Report, newest: Report, last: datetime, allow_strangers: bool) -> str:
    time = time_of(report)
    if time is None:
        return "it does not say when it was measured"
    if time > last:
        return "it is newer than the report"
    differ = () if allow_strangers else strangers(newest.machine, report.machine)
    return f"measured on another machine ({'; '.join(differ)})" if differ else ""


def _courses(
    reports: Sequence[tuple[datetime, Report]], newest: Report, budget: Budget
) -> Iterable[Course]:
    for run in newest.runs:
        for metric in () if run.side else budget.compare:
            rows = [
                (time.astimezone(UTC).isoformat(timespec="seconds"), value)
                for time, report in reports
                for value in [_value(report, run, metric)]
                if value
            ]
            if rows:
                times, values = zip(*rows, strict=True)
                yield Course(
                    artifact=run.artifact,
                    runtime=run.runtime,
                    metric=metric,
                    unit=unit_of(metric),
                    times=times,
                    values=values,
                    changes=tuple(changes(values, budget.min_effect)),
                )


def _value(report: Report, like: Run, metric: str) -> float | None:
    """The metric of a report's run of the same name."""
    name = (like.artifact, like.runtime, like.threads)
    for run in report.runs:
        if (run.artifact, run.runtime, run.threads) == name and not run.side:
            if sampled := quantile_of(metric):
                samples = run.samples_ms.get(sampled[0])
                return quantile(samples, sampled[1]) if samples else None
            return number_of(run, metric)
    return None
