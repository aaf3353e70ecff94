"""Findings of many backends -> one table: a row a component and step, a column a backend."""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from minuet.benchmarks.parity import Difference, plain
from minuet.benchmarks.parity_trajectory import FINAL, SCOPES, Finding
from minuet.benchmarks.tolerances import tolerance
from minuet.contracts.artifact import VERDICTS
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
        return sign if self.db is None else f"{sign} {self.db:.1f}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One artifact on one runtime."""

    target: str
    precision: str
    runtime: str
    version: str = ""  # of the library that did the work
    refusal: str = ""  # why none of it was run
    divergence: str = ""  # the first layer that differs, where one was looked for

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
        if self.scope == FINAL:
            return f"final {self.output}"
        return f"{self.component} {self.output}, call {self.step}, {self.scope}"


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
        where = f" It {column.divergence}" if column.divergence else ""
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
            cells.setdefault(key, {})[column.name] = judged(column, one.found, one.depth)
    order = sorted(cells, key=lambda key: SCOPES.index(key[0]))
    rows = (_row(key, cells[key], found) for key in order)
    return ParityReport(subject=subject, oracle=oracle, columns=tuple(found), rows=tuple(rows))


def _row(key: Key, cells: Mapping[str, Cell], columns: Iterable[Column]) -> Row:
    scope, component, step, output = key
    none = {one.name: Cell(verdict=NOT_RUN, reason=one.refusal or "not asked") for one in columns}
    every = {name: cells.get(name, cell) for name, cell in none.items()}
    return Row(scope=scope, component=component, step=step, output=output, cells=every)


def judged(column: Column, found: Difference, depth: int | None = None) -> Cell:
    """The verdict on one difference."""
    asked = tolerance(column.target, column.precision, column.runtime, found.metric, depth)
    return Cell(
        verdict=PASS if not found.fault and found.db >= asked.db else FAIL,
        metric=found.metric,
        db=round(found.db, 2),
        needed_db=asked.db,
        reason=f"{found}; {asked.db:.1f} dB needed: {asked.reason}",
        found=plain(found),
    )


def text(report: ParityReport) -> str:
    """The table in plain characters, then what failed and what was not run."""
    heads = ["", *(column.name for column in report.columns)]
    body = [[row.name, *(str(row.cells[name]) for name in heads[1:])] for row in report.rows]
    widths = [max(len(line[i]) for line in [heads, *body]) for i in range(len(heads))]
    lines = ["  ".join(c.ljust(w) for c, w in zip(r, widths, strict=True)) for r in [heads, *body]]
    return "\n".join([f"{report.subject} against {report.oracle}, dB", *lines, *_notes(report)])


def _notes(report: ParityReport) -> list[str]:
    failed = [f"fail: {c.name}, {r.name}: {cell.reason}" for r, c, cell in report.failures]
    where = [f"{c.name} {c.divergence}" for c in report.columns if c.divergence]
    absent = [f"not run: {c.name}: {c.refusal}" for c in report.columns if c.refusal]
    return [*failed, *where, *absent]


def html_table(report: ParityReport) -> str:
    """The same as HTML, in the classes of page_style."""
    heads = "".join(f"<th>{_escaped(column.name)}</th>" for column in report.columns)
    rows = "".join(
        f"<tr><td>{_escaped(row.name)}</td>"
        + "".join(_cell(row.cells[column.name]) for column in report.columns)
        + "</tr>"
        for row in report.rows
    )
    notes = "".join(f'<p class="soft">{_escaped(note)}</p>' for note in _notes(report))
    table = f"<table><thead><tr><th></th>{heads}</tr></thead><tbody>{rows}</tbody></table>"
    return f'<div class="scroll">{table}</div>{notes}'


def _cell(cell: Cell) -> str:
    kind, _ = LOOKS[cell.verdict]
    return f'<td class="{kind}" title="{_escaped(cell.reason)}">{_escaped(cell)}</td>'


def _escaped(value: object) -> str:
    return html.escape(str(value), quote=True)
