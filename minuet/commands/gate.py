"""A report and a budget become a verdict and an exit code: 0 pass, 1 fail, 3 inconclusive."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from minuet.commands.common import Json, Out
from minuet.contracts.errors import BudgetError, InconclusiveError
from minuet.contracts.files import read_json
from minuet.contracts.report import Report


def gate(
    report: Annotated[Path, typer.Argument(help="a report's folder, or its report.json")],
    budget: Annotated[str, typer.Option(help="a .toml file, or the name of a shipped budget")],
    baseline: Annotated[
        Path | None, typer.Option(help="an earlier report that may not be undercut")
    ] = None,
    allow_strangers: Annotated[
        bool, typer.Option("--allow-strangers", help="compare with another machine's baseline")
    ] = False,
    json: Json = False,
) -> None:
    """Judge a report by a budget, and against an earlier report, with the doubt counted in."""
    from minuet.benchmarks.budget import find_budget, read_budget
    from minuet.benchmarks.gate import FAIL, PASS, outcome_of
    from minuet.benchmarks.gate import gate as judge

    out = Out(json=json)
    verdicts = judge(
        read_report(report),
        read_budget(find_budget(budget)),
        read_report(baseline) if baseline else None,
        allow_strangers=allow_strangers,
    )
    outcome = outcome_of(verdicts)
    for verdict in verdicts:
        out.say(str(verdict))
    value = {"verdict": outcome, "verdicts": [asdict(verdict) for verdict in verdicts]}
    out.finish(value, f"\nverdict: {outcome}")
    bad = [verdict for verdict in verdicts if verdict.outcome == outcome]
    if outcome == FAIL:
        raise BudgetError(f"{len(bad)} of {len(verdicts)} limits are broken; first: {bad[0]}.")
    if outcome != PASS:
        raise InconclusiveError(
            f"{len(bad)} of {len(verdicts)} limits are not decided; measure more, "
            "or on a quieter machine."
        )


def read_report(path: Path) -> Report:
    """A report from its folder or file.

    Raises:
        DamagedError: missing, not a report, or of a newer schema.
    """
    path = path / "report.json" if path.is_dir() else path
    return Report.from_json(read_json(path), str(path))
