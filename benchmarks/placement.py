"""A watched run -> who ran its operators, and which of them fell off the unit that was meant."""

from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from minuet.contracts.report import Operator, Run

ELEMENT_BYTES = 8.0  # of an element that is read and written, both in float32
MOST = 10  # kinds of operators that a table names

# Why a unit is not the one that was meant, as far as its name tells; by shell pattern.
REASONS = {
    "CPUExecutionProvider": "the provider that was asked for left it to the CPU",
    "portable": "the backend's partitioner left it to a portable kernel",
    "CPU ref": "OpenVINO's reference kernel: none is made for this processor, dtype or layout",
    "*CPU*": "Core ML, or the runtime, prefers the CPU for it",
    "*GPU*": "the runtime prefers the GPU for it",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Unit:
    """One of those who ran the operators."""

    name: str
    operators: int
    ms: float
    share: float  # of all operators' time; of their work where nothing is timed


@dataclass(frozen=True, slots=True, kw_only=True)
class Fallen:
    """Operators of one kind that ran elsewhere than was meant."""

    kind: str
    unit: str
    operators: int
    ms: float
    share: float
    example: str  # the slowest of them
    why: str


def off_unit(run: Run, pattern: str) -> float | None:
    """The share of the operators' time that was spent off the units a shell pattern names.

    Where a runtime tells placement but no times (see `timed`), it is the share of the work:
    multiply-accumulates, and of other operators the elements that they move.

    Returns:
        In [0, 1]; None where the run's operators are not known.
    """
    weights = _weights(run.operators)
    if not sum(weights):
        return None
    pairs = zip(run.operators, weights, strict=True)
    off = sum(weight for one, weight in pairs if not fnmatchcase(one.unit, pattern))
    return off / sum(weights)


def timed(run: Run) -> bool:
    """Whether the run says what its operators took, and not only who ran them."""
    return any(one.p50_ms for one in run.operators)


def units(run: Run) -> list[Unit]:
    """Everyone who ran an operator, the busiest first."""
    return [
        Unit(name=row.unit, operators=row.operators, ms=row.ms, share=row.share)
        for row in _grouped(run, lambda one: one.unit)
    ]


def fallen(run: Run, pattern: str) -> list[Fallen]:
    """What ran off the units that a shell pattern names, by kind, the costliest first."""
    groups = _grouped(run, lambda one: (one.kind, one.unit))
    return [row for row in groups if not fnmatchcase(row.unit, pattern)]


def reason(unit: str) -> str:
    """Why something may run there; "" where its name says nothing."""
    return next((why for pattern, why in REASONS.items() if fnmatchcase(unit, pattern)), "")


def lines(run: Run, pattern: str = "") -> Iterator[str]:
    """The tables as text.

    Args:
        pattern: the units that were meant; else the busiest.
    """
    if not run.operators:
        yield f"placement is not known: {run.unplaced or 'the run was not watched'}"
        return
    found = units(run)
    meant = pattern or found[0].name
    of = "time" if timed(run) else "work; not timed"
    yield f"{'ran on':<28} {'operators':>9} {'ms':>10} {'share':>7}   of the {of}"
    for unit in found:
        yield f"{unit.name:<28} {unit.operators:>9} {unit.ms:>10.3f} {unit.share:>7.1%}"
    for row in fallen(run, meant)[:MOST]:
        yield (
            f"  off {meant}: {row.kind} x{row.operators}, {row.share:.1%}, e.g. {row.example}"
            + (f": {row.why}" if row.why else "")
        )


def _grouped(run: Run, key: Callable[[Operator], Hashable]) -> list[Fallen]:
    """Operators of one key as a row, the costliest first."""
    weights = _weights(run.operators)
    whole = sum(weights) or 1.0
    groups: dict[Hashable, list[tuple[float, Operator]]] = {}
    for weight, one in zip(weights, run.operators, strict=True):
        groups.setdefault(key(one), []).append((weight, one))
    found = []
    for held in groups.values():
        _, costliest = max(held, key=lambda pair: pair[0])
        row = Fallen(
            kind=costliest.kind,
            unit=costliest.unit,
            operators=len(held),
            ms=sum(one.p50_ms for _, one in held),
            share=sum(weight for weight, _ in held) / whole,
            example=costliest.name,
            why=reason(costliest.unit),
        )
        found.append(row)
    return sorted(found, key=lambda row: -row.share)


def _weights(operators: Sequence[Operator]) -> list[float]:
    """Times, or where there are none an estimate of work."""
    times = [one.p50_ms for one in operators]
    return times if any(times) else [_work(one) for one in operators]


def _work(operator: Operator) -> float:
    return operator.macs or (operator.moved_bytes or 0.0) / ELEMENT_BYTES
