"""Report + budget + baseline -> verdicts: pass, fail, or not enough evidence, with the numbers."""

import fnmatch
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from minuet.benchmarks import stages, stats
from minuet.benchmarks.budget import QUANTILES, Budget, Limit, unit_of
from minuet.benchmarks.machine import strangers
from minuet.contracts.errors import RequestError
from minuet.contracts.report import Report, Run

PASS, FAIL, INCONCLUSIVE = "pass", "fail", "inconclusive"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """One question, answered with its numbers."""

    outcome: str
    artifact: str
    runtime: str
    metric: str
    limit: float
    unit: str
    value: float | None = None
    low: float | None = None
    high: float | None = None  # None: without bound, from too few samples
    samples: int = 0
    note: str = ""

    @property
    def subject(self) -> str:
        """What was judged."""
        return f"{self.artifact} on {self.runtime}"

    def __str__(self) -> str:
        found = "not measured" if self.value is None else f"{figure(self.value)} {self.unit}"
        if self.low is not None:
            high = "?" if self.high is None else figure(self.high)
            found += f" ({figure(self.low)} to {high})"
        limit = f"at most {figure(self.limit)} {self.unit}".strip()
        note = f"; {self.note}" if self.note else ""
        return f"{self.outcome}: {self.subject}: {self.metric} {found.strip()}, {limit}{note}"


def gate(
    report: Report, budget: Budget, baseline: Report | None = None, *, allow_strangers: bool = False
) -> list[Verdict]:
    """Judge a report by a budget, and against a baseline if there is one.

    Raises:
        RequestError: the report is about stickers of another size than the budget; the baseline
            is another machine's, or no run of it can be compared.
    """
    if budget.size and report.size and budget.size != report.size:
        raise RequestError(
            f"the budget {budget.name!r} is for {budget.size} px, the report for {report.size} px; "
            "choose the budget of that size."
        )
    verdicts = [v for limit in budget.limits for v in judge_limit(report.runs, limit, budget)]
    if baseline:
        verdicts += against(report, baseline, budget, allow_strangers=allow_strangers)
    return verdicts


def outcome_of(verdicts: Iterable[Verdict]) -> str:
    """One word for many: a failure decides, then a doubt."""
    outcomes = {verdict.outcome for verdict in verdicts}
    if FAIL in outcomes:
        return FAIL
    return INCONCLUSIVE if INCONCLUSIVE in outcomes or not outcomes else PASS


def judge_limit(runs: Sequence[Run], limit: Limit, budget: Budget) -> list[Verdict]:
    """A limit's verdict on every run that it names; doubt where it names none."""
    named = [
        run
        for run in runs
        if fnmatch.fnmatchcase(run.runtime, limit.runtime)
        and fnmatch.fnmatchcase(run.artifact, limit.artifact)
    ]
    empty = _verdict(INCONCLUSIVE, limit, note="no run of the report is meant by this limit")
    return [_judge(run, runs, limit, budget) for run in named] or [empty]


def _judge(run: Run, runs: Sequence[Run], limit: Limit, budget: Budget) -> Verdict:
    blank = replace(
        _verdict(INCONCLUSIVE, limit), artifact=run.artifact, runtime=run.runtime or limit.runtime
    )
    if run.refusal:
        return replace(blank, note=f"not run: {run.refusal}")
    if limit.of:
        return _judge_share(run, runs, limit, blank)
    samples, _, share = limit.metric.rpartition(".")
    if share in QUANTILES:
        values = run.samples_ms.get(samples, ())
        if not values and samples.startswith(stages.PREFIX):
            return replace(blank, note=stages.missing(run, samples))
        return _judge_quantile(values, QUANTILES[share], limit, budget, blank)
    return _judge_number(plain(run, limit.metric), limit, blank)


def plain(run: Run, metric: str) -> float | None:
    """A metric that is one number."""
    found = {
        "peak_rss": run.peak_rss_mib,
        "bytes": run.bytes_on_disk,
        "steps": run.steps,
        "nfe": run.nfe,
        "macs": run.macs,
    }[metric]
    return None if found is None else float(found)


def _judge_number(value: float | None, limit: Limit, blank: Verdict) -> Verdict:
    if value is None or not math.isfinite(value):
        return replace(blank, note="not measured")
    return replace(blank, outcome=PASS if value <= limit.at_most else FAIL, value=value)


def _judge_share(run: Run, runs: Sequence[Run], limit: Limit, blank: Verdict) -> Verdict:
    whole = next((other for other in runs if other.artifact == limit.of), None)
    if whole is None or limit.metric.rpartition(".")[2] in QUANTILES:
        why = (
            "a share of a time is not judged" if whole else f"there is no {limit.of} in the report"
        )
        return replace(blank, note=why)
    part, base = plain(run, limit.metric), plain(whole, limit.metric)
    share = part / base if part is not None and base else None
    return _judge_number(share, limit, blank)


def _judge_quantile(
    values: Sequence[float], share: float, limit: Limit, budget: Budget, blank: Verdict
) -> Verdict:
    """The upper bound must keep the limit: a lucky median passes nothing."""
    try:
        found = stats.quantile_interval(values, share, budget.level)
    except ValueError as error:
        return replace(blank, note=str(error))
    numbers = replace(
        blank,
        value=found.value,
        low=found.low,
        high=found.high if math.isfinite(found.high) else None,
        samples=len(values),
    )
    if found.low > limit.at_most:
        return replace(numbers, outcome=FAIL)
    if found.high > limit.at_most:
        more = samples_to_decide(values, share, limit.at_most, budget.level)
        return replace(numbers, note=_more(more, len(values)))
    if _ends_above(values, share, limit.at_most):
        return replace(numbers, note="it passes on the whole but drifts above the limit; cool down")
    return replace(numbers, outcome=PASS)


def _ends_above(values: Sequence[float], share: float, at_most: float) -> bool:
    """Whether the samples drift, and their second half is over the limit."""
    trend = stats.drift(values)
    if trend is None or trend.value < 1:
        return False
    return stats.quantile(values[len(values) // 2 :], share) > at_most


def samples_to_decide(values: Sequence[float], share: float, at_most: float, level: float) -> int:
    """About how many samples would leave no doubt; 0 where the estimate sits on the limit.

    The width of an interval shrinks with the root of n; a tail's bound exists only from
    log(tail) / log(share) independent samples on.
    """
    found = stats.quantile_interval(values, share, level)
    count, worth = len(values), stats.effective_size(values)
    exists = math.log((1 - level) / 2) / math.log(share) * count / worth
    gap = abs(at_most - found.value)
    if gap == 0:
        return 0
    width = found.value - found.low if math.isinf(found.high) else found.high - found.value
    if found.value > at_most:
        width = found.value - found.low
    return math.ceil(max(exists, count * (width / gap) ** 2))


def _more(needed: int, have: int) -> str:
    if not needed:
        return "the estimate is the limit itself; no number of samples decides"
    return f"about {max(needed, have + 1)} samples would decide; there are {have}"


def against(
    report: Report, baseline: Report, budget: Budget, *, allow_strangers: bool = False
) -> list[Verdict]:
    """Warm total of each run against the baseline's run of the same name."""
    differ = strangers(report.machine, baseline.machine)
    if differ and not allow_strangers:
        raise RequestError(
            f"the baseline was measured on another machine ({'; '.join(differ)}); "
            "measure it here, or allow strangers."
        )
    known = {_key(run): run for run in baseline.runs if not run.refusal}
    pairs = [(run, known[_key(run)]) for run in report.runs if _key(run) in known]
    if not pairs:
        ours, theirs = (", ".join(map(_name, r.runs)) for r in (report, baseline))
        raise RequestError(f"nothing to compare: report has {ours}; baseline has {theirs}.")
    return _corrected([_compare(new, old, budget) for new, old in pairs], budget)


def _key(run: Run) -> tuple[str, str, int]:
    return run.artifact, run.runtime, run.threads


def _name(run: Run) -> str:
    return f"{run.artifact} on {run.runtime} with {run.threads} threads"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Compared:
    verdict: Verdict
    p_value: float


def _compare(new: Run, old: Run, budget: Budget) -> _Compared:
    blank = Verdict(
        outcome=INCONCLUSIVE,
        artifact=new.artifact,
        runtime=new.runtime,
        metric="total.p50 over baseline",
        limit=1 + budget.min_effect,
        unit="x",
    )
    if new.refusal:
        return _Compared(verdict=replace(blank, note=f"not run: {new.refusal}"), p_value=1.0)
    values, olds = new.samples_ms.get("total", ()), old.samples_ms.get("total", ())
    try:
        found = stats.slower(values, olds, budget.min_effect, budget.level)
    except ValueError as error:
        return _Compared(verdict=replace(blank, note=str(error)), p_value=1.0)
    outcome = {"slower": FAIL, "unsure": INCONCLUSIVE}.get(found.outcome, PASS)
    note = _doubts(values, olds, new, old)
    if outcome == INCONCLUSIVE and not note:
        note = "more samples needed"
    verdict = replace(
        blank,
        outcome=INCONCLUSIVE if "drifts" in note else outcome,
        value=found.ratio.value,
        low=found.ratio.low,
        high=found.ratio.high,
        samples=min(len(values), len(olds)),
        note=note,
    )
    return _Compared(verdict=verdict, p_value=found.p_value)


def _doubts(values: Sequence[float], olds: Sequence[float], new: Run, old: Run) -> str:
    for name, samples in (("the report", values), ("the baseline", olds)):
        trend = stats.drift(samples)
        if trend:
            return f"{name} drifts by {100 * (trend.value - 1):+.0f} %; cool down, rerun"
    same = new.artifact_sha256 == old.artifact_sha256
    return "" if same else "another build of the artifact"


def _corrected(found: list[_Compared], budget: Budget) -> list[Verdict]:
    """Holm over all comparisons: ten metrics may not raise ten times the false alarms."""
    adjusted = stats.holm([item.p_value for item in found])
    return [
        replace(
            item.verdict, outcome=INCONCLUSIVE, note="not significant among so many comparisons"
        )
        if item.verdict.outcome == FAIL and p >= 1 - budget.level
        else item.verdict
        for item, p in zip(found, adjusted, strict=True)
    ]


def _verdict(outcome: str, limit: Limit, note: str = "") -> Verdict:
    return Verdict(
        outcome=outcome,
        artifact=limit.artifact,
        runtime=limit.runtime,
        metric=limit.metric,
        limit=limit.at_most,
        unit=f"of {limit.of}" if limit.of else unit_of(limit.metric),
        note=note,
    )


def figure(value: float) -> str:
    """A number as people write it: four digits, or all before the point."""
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.4g}"
