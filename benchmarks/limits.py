"""A run and a limit -> a verdict: whether what was measured keeps it, beyond doubt."""

import fnmatch
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

from minuet.benchmarks import compare, stages, stats
from minuet.benchmarks.budget import Budget, Limit
from minuet.benchmarks.metrics import number_of, quantile_of, unit_of, why_missing
from minuet.benchmarks.verdict import AT_MOST, FAIL, INCONCLUSIVE, PASS, Verdict, decided_by
from minuet.contracts.artifact import Artifact
from minuet.contracts.report import Run

Artifacts = Mapping[str, Artifact]  # of the bundle that was measured, by name


def judge_limit(
    runs: Sequence[Run], limit: Limit, budget: Budget, artifacts: Artifacts | None = None
) -> list[Verdict]:
    """A limit's verdict on every run that it names; doubt where it names none."""
    named = [
        run
        for run in runs
        if fnmatch.fnmatchcase(run.runtime, limit.runtime)
        and fnmatch.fnmatchcase(run.artifact, limit.artifact)
    ]
    empty = replace(_blank(limit), note="no run of the report is meant by this limit")
    return [_judge(run, runs, limit, budget, artifacts or {}) for run in named] or [empty]


def _judge(
    run: Run, runs: Sequence[Run], limit: Limit, budget: Budget, artifacts: Artifacts
) -> Verdict:
    blank = replace(_blank(limit), artifact=run.artifact, runtime=run.runtime or limit.runtime)
    if run.refusal:
        return replace(blank, note=why_missing(run, limit.metric))
    if limit.of:
        return _judge_share(run, runs, limit, blank)
    if found := quantile_of(limit.metric):
        name, share = found
        values = run.samples_ms.get(name, ())
        if not values and name.startswith(stages.PREFIX):
            return replace(blank, note=stages.missing(run, name))
        return _judge_quantile(values, share, limit, budget, blank)
    value = number_of(run, limit.metric, artifacts.get(run.artifact))
    return _judge_number(value, limit, blank, why_missing(run, limit.metric))


def _judge_number(value: float | None, limit: Limit, blank: Verdict, missing: str) -> Verdict:
    if value is None or not math.isfinite(value):
        return replace(blank, note=missing)
    kept = value <= limit.value if limit.bound == AT_MOST else value >= limit.value
    return replace(blank, outcome=PASS if kept else FAIL, value=value)


def _judge_share(run: Run, runs: Sequence[Run], limit: Limit, blank: Verdict) -> Verdict:
    whole = next((other for other in runs if other.artifact == limit.of), None)
    if whole is None:
        return replace(blank, note=f"there is no {limit.of} in the report")
    if quantile_of(limit.metric):
        return replace(blank, note="a share of a time is not judged")
    part, base = number_of(run, limit.metric), number_of(whole, limit.metric)
    share = part / base if part is not None and base else None
    return _judge_number(share, limit, blank, why_missing(run, limit.metric))


def _judge_quantile(
    values: Sequence[float], share: float, limit: Limit, budget: Budget, blank: Verdict
) -> Verdict:
    """The far end of the interval must keep the limit: a lucky median passes nothing."""
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
    near, far = found.low, found.high
    sign = 1 if limit.bound == AT_MOST else -1
    if sign < 0:
        near, far = far, near
    if sign * near > sign * limit.value:
        return replace(numbers, outcome=FAIL)
    if sign * far > sign * limit.value:
        needed = samples_to_decide(values, share, limit.value, budget.level)
        return replace(numbers, needed=needed, note=decided_by(needed, len(values)))
    if sign > 0 and _ends_above(values, share, limit.value):
        return replace(numbers, note="it passes on the whole but drifts above the limit; cool down")
    return replace(numbers, outcome=PASS)


def _ends_above(values: Sequence[float], share: float, at_most: float) -> bool:
    """Whether the samples drift, and their last third is over the limit."""
    if min(values) <= 0:
        return False
    trend = compare.drift(values)
    if trend is None or trend.value < 1:
        return False
    return stats.quantile(values[-(len(values) // 3) :], share) > at_most


def samples_to_decide(values: Sequence[float], share: float, limit: float, level: float) -> int:
    """About how many samples would leave no doubt; 0 where the estimate sits on the limit.

    The width of an interval shrinks with the root of n; a tail's bound exists only from
    log(tail) / log(share) independent samples on.
    """
    found = stats.quantile_interval(values, share, level)
    count, worth = len(values), stats.effective_size(values)
    exists = math.log((1 - level) / 2) / math.log(share) * count / worth
    gap = abs(limit - found.value)
    if gap == 0:
        return 0
    towards_low = math.isinf(found.high) or found.value > limit
    width = found.value - found.low if towards_low else found.high - found.value
    return max(count + 1, math.ceil(max(exists, count * (width / gap) ** 2)))


def _blank(limit: Limit) -> Verdict:
    return Verdict(
        outcome=INCONCLUSIVE,
        artifact=limit.artifact,
        runtime=limit.runtime,
        metric=limit.metric,
        limit=limit.value,
        unit=f"of {limit.of}" if limit.of else unit_of(limit.metric),
        bound=limit.bound,
    )
