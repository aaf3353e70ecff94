"""What a runtime's profiler says of operators -> what each stage of the program took."""

from collections.abc import Mapping, Sequence

from minuet.contracts.errors import RequestError
from minuet.contracts.stages import OTHER, StageTimes, stage_of, unpack

Run = tuple[float, Sequence[tuple[str, float]]]  # ms of the run; operators in order, with theirs


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
    """Sums over the operators of each stage, in order of execution, and over those of none."""
    names = [*dict.fromkeys(stages.values()), OTHER]
    sums: dict[str, list[float]] = {name: [] for name in names}
    for _, operators in runs:
        spent = dict.fromkeys(names, 0.0)
        for operator, ms in operators:
            spent[stage_of(operator, stages)] += ms
        for name, ms in spent.items():
            sums[name].append(ms)
    found = {name: tuple(values) for name, values in sums.items() if any(values)}
    return StageTimes(stages_ms=found, total_ms=tuple(total for total, _ in runs))
