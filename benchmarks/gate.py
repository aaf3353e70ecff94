"""Report + budget + baseline -> verdicts: pass, fail, or not enough evidence, with the numbers."""

from minuet.benchmarks.against import against, in_turns
from minuet.benchmarks.budget import Budget
from minuet.benchmarks.limits import Artifacts, judge_limit
from minuet.benchmarks.subject import artifact_hash
from minuet.benchmarks.verdict import FAIL, INCONCLUSIVE, PASS, Verdict, figure, outcome_of
from minuet.contracts.artifact import Manifest
from minuet.contracts.errors import RequestError
from minuet.contracts.report import Report

__all__ = [
    "FAIL",
    "INCONCLUSIVE",
    "PASS",
    "Verdict",
    "figure",
    "gate",
    "judge_limit",
    "outcome_of",
]


def gate(
    report: Report,
    budget: Budget,
    baseline: Report | None = None,
    *,
    manifest: Manifest | None = None,
    allow_strangers: bool = False,
) -> list[Verdict]:
    """Judge a report by a budget, and against what it was measured with or an earlier report.

    Args:
        manifest: of the bundle that was measured, whose proofs `parity.db` reads.

    Raises:
        RequestError: the budget is meant for another machine or size; the manifest is another
            bundle's; the baseline is another machine's, or no run of it can be compared.
    """
    _check(report, budget, allow_strangers)
    runs = [run for run in report.runs if not run.side]
    artifacts = _artifacts(report, manifest) if manifest else None
    verdicts = [
        verdict
        for limit in budget.limits
        for verdict in judge_limit(runs, limit, budget, artifacts)
    ]
    verdicts += in_turns(report, budget)
    if baseline:
        verdicts += against(report, baseline, budget, allow_strangers=allow_strangers)
    return verdicts


def _check(report: Report, budget: Budget, allow_strangers: bool) -> None:
    if budget.size and report.size and budget.size != report.size:
        raise RequestError(
            f"the budget {budget.name!r} is for {budget.size} px, the report for {report.size} px; "
            "choose the budget of that size."
        )
    strange = budget.device.strange(report.machine)
    if strange and not allow_strangers:
        raise RequestError(
            f"the budget {budget.name!r} is meant for another machine ({'; '.join(strange)}); "
            "choose the budget of this one, or allow strangers."
        )


def _artifacts(report: Report, manifest: Manifest) -> Artifacts:
    measured = {run.artifact_sha256 for run in report.runs}
    same = {one.name: one for one in manifest.artifacts if artifact_hash(one) in measured}
    if not same:
        raise RequestError(f"{manifest.name}: not the bundle that was measured; name that one.")
    return same
