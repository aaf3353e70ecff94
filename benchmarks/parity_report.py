"""Findings of many backends -> one table: a row a component and step, a column a backend."""

from __future__ import annotations

import html
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from minuet.benchmarks.parity import judge, plain
from minuet.benchmarks.parity_trajectory import FINAL, SCOPES, Finding
from minuet.contracts.artifact import VERDICTS, Artifact
from minuet.contracts.errors import DamagedError, ParityError

PASS, FAIL, NOT_RUN = VERDICTS
LOOKS = {PASS: ("pass", "✓"), FAIL: ("fail", "✗"), NOT_RUN: ("soft", "-")}
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
        sign = LOOKS[self.verdict][1]
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

    def insist(self) -> None:
        """Stop where a backend runs another model.

        Raises:
            ParityError: the first failure, how many there are, and where it begins if known.
        """
        if not (failures := self.failures):
            return
        row, column, cell = failures[0]
        where = f" {column.divergence}" if column.divergence else ""
        raise ParityError(
            f"{self.subject}: {column.name} is not the same model: {row.name}, {cell.reason} "
            f"({len(failures)} failed in all).{where}"
        )

    def to_json(self) -> dict[str, Any]:
        """A plain value."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Any, where: str) -> ParityReport:
        """The reverse of to_json.

        Raises:
            DamagedError: not such a report, or a newer one.
        """
        try:
            if value["schema"] != SCHEMA:
                raise ValueError(f"schema {value['schema']!r}, this minuet reads {SCHEMA}")
            rows = tuple(
                Row(**row | {"cells": {k: Cell(**v) for k, v in row["cells"].items()}})
                for row in value["rows"]
            )
            columns = tuple(Column(**column) for column in value["columns"])
            return cls(**value | {"rows": rows, "columns": columns})
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise DamagedError(f"{where}: not a parity report ({error!r}).") from error


def side_by_side(
    subject: str, oracle: str, found: Mapping[Column, Iterable[Finding]]
) -> ParityReport:
    """Every backend's findings in one table; a backend without any is a column of its refusal."""
    cells: dict[Key, dict[str, Cell]] = {}
    for column, findings in found.items():
        for one in findings:
            key = one.scope, one.component, one.step, one.output
            cells.setdefault(key, {})[column.name] = judged(column, one)
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


def text(report: ParityReport) -> str:
    """The table in plain characters, then what failed and what was not run."""
    heads, body = table(report)
    heads = [head.replace("\n", " ") for head in heads]
    widths = [max(len(line[i]) for line in [heads, *body]) for i in range(len(heads))]
    lines = ["  ".join(c.ljust(w) for c, w in zip(r, widths, strict=True)) for r in [heads, *body]]
    return "\n".join([f"{report.subject} against {report.oracle}", *lines, *notes(report)])


def notes(report: ParityReport) -> list[str]:
    """What failed and why, where it begins, what was not looked at, what was not run."""
    where = [f"{c.name}: {c.divergence}" for c in report.columns if c.divergence]
    unseen = [f"not seen inside: {c.name}: {c.unseen}" for c in report.columns if c.unseen]
    absent = [f"not run: {c.name}: {c.refusal}" for c in report.columns if c.refusal]
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


def html_table(report: ParityReport) -> str:
    """The same as HTML, in the classes of page_style."""
    heads = "".join(f"<th>{_escaped(column.name)}</th>" for column in report.columns)
    rows = "".join(
        f"<tr><td>{_escaped(row.name)}</td>"
        + "".join(_cell(row.cells[column.name]) for column in report.columns)
        + "</tr>"
        for row in report.rows
    )
    told = "".join(f'<p class="soft">{_escaped(note)}</p>' for note in notes(report))
    body = f"<table><thead><tr><th></th>{heads}</tr></thead><tbody>{rows}</tbody></table>"
    return f'<div class="scroll">{body}</div>{told}'


def _cell(cell: Cell) -> str:
    kind, _ = LOOKS[cell.verdict]
    return f'<td class="{kind}" title="{_escaped(cell.reason)}">{_escaped(cell)}</td>'


def _escaped(value: object) -> str:
    return html.escape(str(value), quote=True)
