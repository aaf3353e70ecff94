"""Findings of many backends -> one table: a row a component and step, a column a backend."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from minuet.benchmarks.parity import judge, plain
from minuet.benchmarks.parity_trajectory import FINAL, SCOPES, Finding
from minuet.contracts.artifact import VERDICTS, Artifact

PASS, FAIL, NOT_RUN = VERDICTS
SIGNS = {PASS: "✓", FAIL: "✗", NOT_RUN: "-"}
SCHEMA = 1
Key = tuple[str, str, int, str]  # scope, component, step, output


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One backend's verdict on one value."""

    verdict: str
    metric: str = ""
    db: float | None = None
    needed_db: float | None = None
    reason: str = ""  # what was found and why so much is asked, or why it was not run
    found: dict[str, Any] | None = None  # the whole difference, as JSON holds it

    def __post_init__(self) -> None:
        if self.verdict not in VERDICTS:
            raise ValueError(f"verdict {self.verdict!r} is not one of {VERDICTS}")

    def __str__(self) -> str:
        sign = SIGNS[self.verdict]
        if self.db is None or self.needed_db is None:
            return sign
        return f"{sign} {self.db:.1f} {'≥' if self.verdict == PASS else '<'} {self.needed_db:.1f}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One artifact on one runtime."""

    target: str
    precision: str
    runtime: str
    version: str = ""  # of the library that did the work
    refusal: str = ""  # why none of it was run
    missed: str = ""  # where some of it was run: what was not, and why
    divergence: str = ""  # the first layer that differs, where one was looked for
    unseen: str = ""  # why nothing inside it was compared, where that was asked for
    second: bool = False  # a second opinion: where it disagrees, only it is unfit for the file

    @property
    def name(self) -> str:
        """As a heading."""
        return f"{self.target}-{self.precision} on {self.runtime}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One value of the loop on every backend."""

    scope: str
    component: str
    step: int
    output: str
    cells: dict[str, Cell]  # by column name

    @property
    def name(self) -> str:
        """As a heading."""
        what = " ".join(filter(None, (self.component, self.output)))
        if self.scope == FINAL:
            return f"final {what}"
        if not self.component:
            return f"{self.scope} {self.step}"
        call = f", call {self.step}" if self.step else ""
        return f"{self.scope} {what}{call}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ParityReport:
    """Is it still the same model, everywhere."""

    subject: str
    oracle: str  # what everything was compared with
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    schema: int = SCHEMA

    @property
    def failures(self) -> list[tuple[Row, Column, Cell]]:
        """Every cell that says no, of columns whose no counts."""
        return [one for one in self.refusals if not one[1].second]

    @property
    def refusals(self) -> list[tuple[Row, Column, Cell]]:
        """Every cell that says no."""
        cells = (
            (row, column, row.cells[column.name]) for row in self.rows for column in self.columns
        )
        return [one for one in cells if one[2].verdict == FAIL]

    def to_json(self) -> dict[str, Any]:
        """A plain value."""
        return asdict(self)


def side_by_side(
    subject: str, oracle: str, found: Mapping[Column, Iterable[Finding]]
) -> ParityReport:
    """Every backend's findings in one table; a backend without any is a column of its refusal.

    Raises:
        ValueError: a backend has two findings for one place.
    """
    cells: dict[Key, dict[str, Cell]] = {}
    for column, findings in found.items():
        for one in findings:
            key = one.scope, one.component, one.step, one.output
            row = cells.setdefault(key, {})
            if column.name in row:
                raise ValueError(f"{column.name}: {key} was found twice; one would hide the other")
            row[column.name] = judged(column, one)
    order = sorted(cells, key=lambda key: SCOPES.index(key[0]))
    rows = (_row(key, cells[key], found) for key in order)
    return ParityReport(subject=subject, oracle=oracle, columns=tuple(found), rows=tuple(rows))


def _row(key: Key, cells: Mapping[str, Cell], columns: Iterable[Column]) -> Row:
    scope, component, step, output = key
    none = {one.name: Cell(verdict=NOT_RUN, reason=one.refusal or "not asked") for one in columns}
    every = {name: cells.get(name, cell) for name, cell in none.items()}
    return Row(scope=scope, component=component, step=step, output=output, cells=every)


def judged(column: Column, finding: Finding) -> Cell:
    """The verdict on one difference, where none was reached yet."""
    found, parity = finding.found, finding.parity
    if parity and parity.value is None:
        return Cell(verdict=parity.verdict, reason=parity.reason)
    if parity is None:
        row = Artifact(
            target=column.target, precision=column.precision, entry="", files=(), requires={}
        )
        told = row, column.runtime, column.version, found
        parity = judge(*told, depth=finding.depth, own_db=finding.own_db)
    return Cell(
        verdict=parity.verdict,
        metric=found.metric,
        db=parity.value,
        needed_db=parity.tolerance,
        reason=f"{parity.tolerance} dB needed: {parity.reason}",
        found=plain(found),
    )


def table(report: ParityReport) -> tuple[list[str], list[list[str]]]:
    """Headings and rows of what was run, a column a backend, its name on two lines."""
    shown = [column for column in report.columns if not column.refusal]
    heads = ["dB", *(column.name.replace(" on ", "\non ") for column in shown)]
    return heads, [[row.name, *(str(row.cells[c.name]) for c in shown)] for row in report.rows]


def notes(report: ParityReport) -> list[str]:
    """What failed and why, where it begins, what was not looked at, what was not run."""
    where = [f"{c.name}: {c.divergence}" for c in report.columns if c.divergence]
    unseen = [f"not seen inside: {c.name}: {c.unseen}" for c in report.columns if c.unseen]
    absent = [f"not run: {c.name}: {why}" for c in report.columns if (why := c.refusal or c.missed)]
    return [*_refusals(report), *where, *unseen, *absent]


def _refusals(report: ParityReport) -> Iterator[str]:
    """The first of each column and scope; the rest are counted."""
    found: dict[tuple[str, str], list[tuple[Row, Column, Cell]]] = {}
    for row, column, cell in report.refusals:
        found.setdefault((column.name, row.scope), []).append((row, column, cell))
    for (name, _), ((row, column, cell), *more) in found.items():
        word = "unfit" if column.second else "fail"
        others = f" (and {len(more)} more)" if more else ""
        yield f"{word}: {name}, {row.name}: {cell.reason}{others}"
