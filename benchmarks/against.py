"""New runs and old ones -> verdicts: whether what a budget compares has become worse."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from minuet.benchmarks import compare
from minuet.benchmarks.budget import Budget
from minuet.benchmarks.machine import strangers
from minuet.benchmarks.metrics import number_of, quantile_of, why_missing
from minuet.benchmarks.stats import GATE_LEVEL, holm
from minuet.benchmarks.verdict import FAIL, INCONCLUSIVE, PASS, Verdict, decided_by
from minuet.contracts.errors import RequestError
from minuet.contracts.report import BASE, Report, Run

OUTCOMES = {compare.SLOWER: FAIL, compare.UNSURE: INCONCLUSIVE}
HEATED = 0.05  # a drift of pairs below this is left to their interval
HOT = 0.1  # a rise above this spoils what passes even where chance may have made it


@dataclass(frozen=True, slots=True, kw_only=True)
class _Compared:
    verdict: Verdict
    p_value: float | None  # None: a number without noise


def in_turns(report: Report, budget: Budget) -> list[Verdict]:
    """The new runs of one report against those of its older side, sample by sample."""
    old = {_key(run): run for run in report.runs if run.side == BASE}
    new = [run for run in report.runs if not run.side and _key(run) in old]
    if old and not new:
        raise RequestError(_nothing(report.runs, report.runs))
    return _all([(run, old[_key(run)]) for run in new], budget, paired=True)


def against(
    report: Report, baseline: Report, budget: Budget, *, allow_strangers: bool = False
) -> list[Verdict]:
    """Each run against the baseline's run of the same name.

    Raises:
        RequestError: the baseline is another machine's, or no run of it can be compared.
    """
    differ = strangers(report.machine, baseline.machine)
    if differ and not allow_strangers:
        raise RequestError(
            f"the baseline was measured on another machine ({'; '.join(differ)}); "
            "measure it here, or allow strangers."
        )
    known = {_key(run): run for run in baseline.runs if not run.refusal and not run.side}
    new = [run for run in report.runs if not run.side and _key(run) in known]
    if not new:
        raise RequestError(_nothing(report.runs, baseline.runs))
    return _all([(run, known[_key(run)]) for run in new], budget, paired=False)


def _all(pairs: Sequence[tuple[Run, Run]], budget: Budget, *, paired: bool) -> list[Verdict]:
    found = [
        _numbers(new, old, metric, budget)
        if quantile_of(metric) is None
        else _times(new, old, metric, budget, paired=paired)
        for new, old in pairs
        for metric in budget.compare
    ]
    return _corrected(found, budget)


def _numbers(new: Run, old: Run, metric: str, budget: Budget) -> _Compared:
    """A metric that is one number may grow by min_effect."""
    blank = _blank(new, metric, budget)
    value, before = number_of(new, metric), number_of(old, metric)
    for run, one in ((new, value), (old, before)):
        if one is None:
            note = why_missing(run, metric)
            return _Compared(verdict=replace(blank, note=note), p_value=None)
    assert value is not None and before is not None
    if not before:
        return _Compared(verdict=replace(blank, note="it was 0 before"), p_value=None)
    ratio = value / before
    outcome = PASS if ratio <= 1 + budget.min_effect else FAIL
    return _Compared(verdict=replace(blank, outcome=outcome, value=ratio), p_value=None)


def _times(new: Run, old: Run, metric: str, budget: Budget, *, paired: bool) -> _Compared:
    blank = _blank(new, metric, budget)
    refusal = new.refusal or old.refusal
    if refusal:
        return _Compared(verdict=replace(blank, note=f"not run: {refusal}"), p_value=1.0)
    found = quantile_of(metric)
    assert found is not None
    name, share = found
    news, olds = new.samples_ms.get(name, ()), old.samples_ms.get(name, ())
    try:
        result = compare.compared(
            news,
            olds,
            share=share,
            paired=paired,
            min_effect=budget.min_effect,
            level=budget.level,
        )
        trend = _heat_of_pairs(news, olds) if paired else _heat_apart(news, olds, budget.min_effect)
    except ValueError as error:
        return _Compared(verdict=replace(blank, note=str(error)), p_value=1.0)
    verdict = _judged(result, replace(blank, samples=min(len(news), len(olds))), trend, paired)
    if not verdict.note and not paired:
        verdict = replace(verdict, note=_builds(new, old))
    return _Compared(verdict=verdict, p_value=result.p_value)


def _judged(
    found: compare.Comparison, blank: Verdict, trend: "_Trend | None", paired: bool
) -> Verdict:
    outcome = OUTCOMES.get(found.outcome, PASS)
    note = ""
    if trend and trend.spoils(outcome, found.ratio.value):
        outcome, note = INCONCLUSIVE, trend.note
    elif outcome == INCONCLUSIVE:
        note = decided_by(found.needed, blank.samples)
    return replace(
        blank,
        outcome=outcome,
        value=found.ratio.value,
        low=found.ratio.low,
        high=found.ratio.high if math.isfinite(found.ratio.high) else None,
        note=note,
        needed=found.needed if outcome == INCONCLUSIVE else 0,
    )


# --- drift ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class _Trend:
    note: str
    certain: bool  # else chance may have made it
    excuses: float  # slow-downs up to which it may be the cause of

    def spoils(self, outcome: str, slowdown: float) -> bool:
        """Whether a verdict cannot stand; a failure does where it is larger than its excuses."""
        return slowdown <= self.excuses if outcome == FAIL else self.certain


def _heat_apart(news: Sequence[float], olds: Sequence[float], min_effect: float) -> _Trend | None:
    """What was measured at another time may have been hot all along: any drift is an excuse."""
    found = []
    for name, samples in (("the report", news), ("the baseline", olds)):
        if seen := compare.trend(samples):
            certain = compare.outcome_of(seen, min_effect) in (compare.SLOWER, compare.FASTER)
            most = max(seen.high, 1 / seen.low if seen.low else math.inf)
            note = f"{name} drifts by {_percent(seen.value)}; cool down, or measure in turns"
            excuses = math.inf if certain else most
            found.append(_Trend(note=note, certain=certain, excuses=excuses))
    return max(found, key=lambda one: one.excuses, default=None)


def _heat_of_pairs(news: Sequence[float], olds: Sequence[float]) -> _Trend | None:
    """What slows both alike may hide a slow-down, and never makes one."""
    size = min(len(news), len(olds))
    new, old = np.asarray(news[:size]), np.asarray(olds[:size])
    if found := compare.drift(new / old, HEATED, GATE_LEVEL):
        note = f"their ratio drifts by {_percent(found.value)}; cool down, rerun"
        return _Trend(note=note, certain=True, excuses=max(found.value, 1 / found.value))
    found = compare.trend(np.sqrt(new * old))
    if found and found.value > (1 + HEATED if found.low > 1 else 1 + HOT):
        note = f"both drift by {_percent(found.value)}, which may hide a slow-down; cool down"
        return _Trend(note=note, certain=True, excuses=0.0)
    return None


def _percent(ratio: float) -> str:
    return f"{100 * (ratio - 1):+.0f} %"


# --- words ---------------------------------------------------------------------------------------


def _blank(run: Run, metric: str, budget: Budget) -> Verdict:
    return Verdict(
        outcome=INCONCLUSIVE,
        artifact=run.artifact,
        runtime=run.runtime,
        metric=f"{metric} over baseline",
        limit=1 + budget.min_effect,
        unit="x",
    )


def _builds(new: Run, old: Run) -> str:
    if new.runtime_version != old.runtime_version:
        return f"{new.runtime_version} against {old.runtime_version}"
    same = new.artifact_sha256 == old.artifact_sha256
    return "" if same else "another build of the artifact"


def _nothing(new: Sequence[Run], old: Sequence[Run]) -> str:
    ours = ", ".join(_name(run) for run in new if not run.side)
    theirs = ", ".join(_name(run) for run in old if new is not old or run.side)
    return f"nothing to compare: report has {ours or 'no run'}; baseline has {theirs or 'none'}."


def _key(run: Run) -> tuple[str, str, int]:
    return run.artifact, run.runtime, run.threads


def _name(run: Run) -> str:
    return f"{run.artifact} on {run.runtime} with {run.threads} threads"


def _corrected(found: list[_Compared], budget: Budget) -> list[Verdict]:
    """Holm over all comparisons: ten metrics may not raise ten times the false alarms."""
    adjusted = iter(holm([item.p_value for item in found if item.p_value is not None]))
    verdicts = []
    for item in found:
        chance = 0.0 if item.p_value is None else next(adjusted)
        doubtful = item.verdict.outcome == FAIL and chance >= 1 - budget.level
        note = "not significant among so many comparisons"
        verdicts.append(
            replace(item.verdict, outcome=INCONCLUSIVE, note=note) if doubtful else item.verdict
        )
    return verdicts
