"""What a runtime's profiler says of operators -> what each stage took, and each operator."""

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from minuet.contracts.errors import RequestError
from minuet.contracts.report import Operator
from minuet.contracts.stages import OTHER, StageTimes, stage_of, unpack

Run = tuple[float, Sequence[Operator]]  # ms of the run; its operators in order, with theirs
MOST = 400  # operators that a report tells one by one


def table_of(text: str | None, where: str) -> dict[str, str]:
    """The stages that a file bears.

    Raises:
        RequestError: none; an earlier minuet wrote it, or somebody else.
        DamagedError: they cannot be read.
    """
    if text is None:
        raise RequestError(f"{where} does not say which stages it has; export it anew.")
    return unpack(text, where)


def stage_times(runs: Sequence[Run], stages: Mapping[str, str]) -> StageTimes:
    """Sums over the operators of each stage, in order of execution, and over those of none.

    An operator that knows its stage keeps it; any other's is found by its name.
    """
    placed = [(total, [_placed(one, stages) for one in operators]) for total, operators in runs]
    names = [*dict.fromkeys(stages.values()), OTHER]
    sums: dict[str, list[float]] = {name: [] for name in names}
    for _, operators in placed:
        spent = dict.fromkeys(names, 0.0)
        for operator in operators:
            spent[operator.stage] += operator.p50_ms
        for name, ms in spent.items():
            sums[name].append(ms)
    found = {name: tuple(values) for name, values in sums.items() if any(values)}
    return StageTimes(
        stages_ms=found,
        total_ms=tuple(total for total, _ in placed),
        operators=slowest(medians([operators for _, operators in placed])),
    )


def medians(runs: Sequence[Sequence[Operator]]) -> list[Operator]:
    """One row an operator, with its median over the runs; those of one name are one."""
    each = [_summed(operators) for operators in runs]
    keys = dict.fromkeys(key for operators in each for key in operators)
    found = []
    for key in keys:
        rows = [operators[key] for operators in each if key in operators]
        idle = [0.0] * (len(each) - len(rows))  # a branch that was not taken
        ms = statistics.median([*(row.p50_ms for row in rows), *idle])
        found.append(replace(rows[-1], p50_ms=ms))
    return found


def slowest(operators: Iterable[Operator], most: int = MOST) -> tuple[Operator, ...]:
    """The slowest first; those after the first `most` as one row a unit and dtype."""
    ordered = sorted(operators, key=lambda row: -row.p50_ms)
    rest: dict[tuple[str, str], list[Operator]] = {}
    for row in ordered[most:]:
        rest.setdefault((row.unit, row.dtype), []).append(row)
    summed = (
        replace(_sum(rows), name=f"{len(rows)} others", kind="others", stage="")
        for rows in rest.values()
    )
    return (*ordered[:most], *summed)


def _placed(operator: Operator, stages: Mapping[str, str]) -> Operator:
    return replace(operator, stage=operator.stage or stage_of(operator.name, stages))


def _summed(operators: Iterable[Operator]) -> dict[tuple[str, ...], Operator]:
    same: dict[tuple[str, ...], list[Operator]] = {}
    for one in operators:
        same.setdefault((one.name, one.kind, one.unit, one.stage, one.dtype), []).append(one)
    return {key: _sum(rows) for key, rows in same.items()}


def _sum(rows: Sequence[Operator]) -> Operator:
    """Several as one; its work is known where all of theirs is."""
    return replace(
        rows[0],
        p50_ms=sum(row.p50_ms for row in rows),
        macs=_total([row.macs for row in rows]),
        moved_bytes=_total([row.moved_bytes for row in rows]),
    )


def _total(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) if len(known) == len(values) else None
