"""Proofs of every artifact, and what was seen inside -> one report, backends side by side."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from minuet.benchmarks.parity import SAME_DB, Difference
from minuet.benchmarks.parity_report import Column, ParityReport, side_by_side
from minuet.benchmarks.parity_trajectory import FINAL, Finding
from minuet.contracts.artifact import MAIN, Artifact
from minuet.contracts.tensors import Signature
from minuet.proof import SECOND_OPINIONS, Proof

ORACLE = "the golden cases; inside, against float64"


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """One artifact on one runtime: what came out, and what was seen on the way."""

    artifact: Artifact
    signature: Signature
    proof: Proof
    inside: tuple[Finding, ...] = ()
    unseen: str = ""  # why nothing was seen inside, where that was asked for
    divergence: str = ""


def report(subject: str, compared: Iterable[Compared]) -> ParityReport:
    """One column a target, precision and runtime, whichever programs are in it."""
    columns: dict[str, list[Compared]] = {}
    for one in compared:
        columns.setdefault(f"{one.artifact.folder} {one.proof.runtime}", []).append(one)
    found = {_column(rows): list(_findings(rows)) for rows in columns.values()}
    return side_by_side(subject, ORACLE, found)


def _column(rows: list[Compared]) -> Column:
    artifact, proof = rows[0].artifact, rows[0].proof
    absent = [row for row in rows if row.proof.parity.verdict == "not run"]
    refused = len(absent) == len(rows)
    missed = (f"{row.artifact.component}: {row.proof.parity.reason}" for row in absent)
    return Column(
        target=artifact.target,
        precision=artifact.precision,
        runtime=proof.runtime,
        version=next(filter(None, (_version(row) for row in rows)), ""),
        refusal=proof.parity.reason if refused else "",
        missed="" if refused else "; ".join(missed),
        divergence=" ".join(filter(None, (row.divergence for row in rows))),
        unseen="" if refused else "; ".join(dict.fromkeys(filter(None, (r.unseen for r in rows)))),
        second=proof.runtime in SECOND_OPINIONS,
    )


def _version(row: Compared) -> str:
    return row.proof.parity.backend.partition(": ")[2]


def _findings(rows: list[Compared]) -> Iterator[Finding]:
    for row in rows:
        yield from (_owned(one, row.artifact) for one in row.inside)
        yield from _finals(row)


def _owned(one: Finding, artifact: Artifact) -> Finding:
    """A finding inside one of several programs, under that program's name."""
    if artifact.component == MAIN:
        return one
    return replace(one, component="/".join(filter(None, (artifact.component, one.component))))


def _finals(row: Compared) -> Iterator[Finding]:
    component = "" if row.artifact.component == MAIN else row.artifact.component
    nothing = Difference(metric="", db=-SAME_DB, fault=row.proof.parity.reason)
    for name in row.proof.outputs or [spec.name for spec in row.signature.outputs]:
        one = row.proof.outputs.get(name)
        yield Finding(
            scope=FINAL,
            component=component,
            step=0,
            output=name,
            found=one.found if one else nothing,
            depth=0,
            parity=one.parity if one else row.proof.parity,
        )
