"""A report and a budget become a verdict and an exit code: 0 pass, 1 fail, 3 inconclusive."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from minuet.commands.common import Json, Out, complain
from minuet.contracts.artifact import Manifest
from minuet.contracts.errors import BudgetError, InconclusiveError, RequestError
from minuet.contracts.files import read_json, write_bytes

if TYPE_CHECKING:
    from minuet.benchmarks.history import History
    from minuet.benchmarks.verdict import Verdict

LINE = 1000  # characters of a verdict for people


Measured = Annotated[
    Path | None, typer.Argument(help="a report's folder or file; or samples, as JSON or CSV")
]
Limits = Annotated[str, typer.Option(help="a .toml file, or the name of a shipped budget")]
Earlier = Annotated[Path | None, typer.Option(help="an earlier report that may not be undercut")]
Bundle = Annotated[Path | None, typer.Option(help="the measured bundle, for limits on its proofs")]
Folder = Annotated[
    Path | None, typer.Option(help="a folder of earlier reports: tell when it changed")
]
Unit = Annotated[str, typer.Option(help="of samples that name none: s, ms, us or ns")]
Strangers = Annotated[
    bool, typer.Option("--allow-strangers", help="take another machine's report or baseline")
]
Junit = Annotated[Path | None, typer.Option(help="write JUnit XML here")]
Markdown = Annotated[Path | None, typer.Option(help="write a summary here")]
Github = Annotated[bool, typer.Option("--github", help="print GitHub's annotations, too")]
SelfTest = Annotated[
    bool, typer.Option("--self-test", help="measure how often the gate errs on this machine")
]
Seconds = Annotated[float, typer.Option(min=1, help="self-test: of measuring in one gate run")]
Runs = Annotated[int, typer.Option(min=1, help="self-test: gate runs of each kind")]


def gate(
    report: Measured = None,
    budget: Limits = "",
    baseline: Earlier = None,
    bundle: Bundle = None,
    history: Folder = None,
    unit: Unit = "",
    allow_strangers: Strangers = False,
    junit: Junit = None,
    markdown: Markdown = None,
    github: Github = False,
    self_test: SelfTest = False,
    seconds: Seconds = 60.0,
    runs: Runs = 300,
    json: Json = False,
) -> None:
    """Judge a report by a budget, and against an earlier report, with the doubt counted in."""
    out = Out(json=json)
    if self_test:
        return try_itself(out, seconds, runs)
    if report is None:
        raise RequestError("name a report to judge, or say --self-test.")
    verdicts, course, title = judge(
        report, budget, baseline, bundle, history, unit, allow_strangers=allow_strangers
    )
    publish(out, verdicts, title, junit, markdown, github=github)
    tell(out, verdicts, course)


def judge(
    report: Path,
    budget: str,
    baseline: Path | None,
    bundle: Path | None,
    history: Path | None,
    unit: str,
    *,
    allow_strangers: bool,
) -> tuple[list[Verdict], History | None, str]:
    """The verdicts, the course of earlier reports, and what to call them.

    Raises:
        RequestError: there is nothing to judge by, or what there is does not fit.
    """
    from minuet.benchmarks.budget import Budget, find_budget, read_budget
    from minuet.benchmarks.foreign import read_report
    from minuet.benchmarks.gate import gate as judged
    from minuet.benchmarks.history import read_history

    limits = read_budget(find_budget(budget)) if budget else Budget(name="")
    new = read_report(report, unit)
    if not (budget or baseline or history or any(run.side for run in new.runs)):
        raise RequestError(
            "nothing to judge by: give a --budget, a --baseline, or a report of two bundles "
            "(`minuet bench NEW --against OLD`)."
        )
    verdicts = judged(
        new,
        limits,
        read_report(baseline, unit) if baseline else None,
        manifest=read_manifest(bundle) if bundle else None,
        allow_strangers=allow_strangers,
    )
    course = (
        read_history(history, new, limits, allow_strangers=allow_strangers) if history else None
    )
    return verdicts, course, ": ".join(filter(None, (new.bundle, limits.name)))


def publish(
    out: Out,
    verdicts: Sequence[Verdict],
    title: str,
    junit: Path | None,
    markdown: Path | None,
    *,
    github: bool,
) -> None:
    """The verdicts for whoever else wants them."""
    from minuet.benchmarks import outputs

    if junit:
        outputs.write_junit(junit, verdicts, title)
    if markdown:
        write_bytes(markdown, outputs.markdown(verdicts, title).encode())
    for line in outputs.github(verdicts) if github else ():
        complain(line) if out.json else out.say(line)  # the runner reads both streams


def tell(out: Out, verdicts: Sequence[Verdict], course: History | None) -> None:
    """The verdicts for people or programs, then the exit code as an error where it is not 0."""
    from minuet.benchmarks.outputs import one_line
    from minuet.benchmarks.verdict import FAIL, INCONCLUSIVE, outcome_of

    outcome = outcome_of(verdicts) if verdicts else "none"
    for line in [*verdicts, *(course.courses if course else ())]:
        out.say(one_line(str(line), LINE))
    for line in course.left_out if course else ():
        out.warn(f"history: left out: {one_line(line, LINE)}")
    value: dict[str, Any] = {"verdict": outcome, "verdicts": [asdict(row) for row in verdicts]}
    if course:
        rows = [row.to_json() for row in course.courses]
        value["history"] = {"reports": course.reports, "courses": rows}
    out.finish(value, f"\nverdict: {outcome}")
    bad = [verdict for verdict in verdicts if verdict.outcome == outcome]
    if outcome == FAIL:
        first = one_line(str(bad[0]), LINE)
        raise BudgetError(f"{len(bad)} of {len(verdicts)} limits are broken; first: {first}.")
    if outcome == INCONCLUSIVE:
        raise InconclusiveError(
            f"{len(bad)} of {len(verdicts)} limits are not decided; measure more, "
            "or on a quieter machine."
        )


def try_itself(out: Out, seconds: float, runs: int) -> None:
    """Measure a model and slower copies of it, and count how the gate judges them.

    Raises:
        InconclusiveError: it does not keep its promises on this machine.
    """
    from minuet.benchmarks.machine import fingerprint
    from minuet.benchmarks.selftest import replay
    from minuet.planted import record

    machine = fingerprint()
    with out.progress("measuring the gate itself") as step:
        samples = record(seconds, lambda note: step(note=note))
        step(note="judging")
        found = replay(samples, runs=runs, seconds=seconds)
    for result in found.results:
        out.say(str(result))
    out.say(found.method)
    where = f"{machine.cpu}, {machine.cores} cores, load {machine.load_1min}"
    missed = [result.scenario.name for result in found.results if not result.kept]
    out.finish({"machine": asdict(machine), **found.to_json()}, f"on {where}")
    if missed:
        raise InconclusiveError(
            f"the gate does not keep its promises on this machine: {', '.join(missed)}; "
            "measure longer, or on a quieter one."
        )


def read_manifest(bundle: Path) -> Manifest:
    """A bundle's manifest; its files are not looked at."""
    path = bundle / "manifest.json"
    return Manifest.from_json(read_json(path), str(path))
