"""A run's watched samples -> what each stage took, what share that is, and how far to trust it."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from minuet.contracts.report import Run
from minuet.contracts.stages import OTHER

PREFIX, WATCHED = "stage.", "watched"
SMALL = 0.01  # of the whole: stages below are told together
DOUBT = 0.1  # of the whole without a stage, above which the others are not the whole story


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """One stage, or several small ones."""

    name: str
    p50_ms: float
    share: float  # of the watched runs' median


def shares(run: Run) -> list[Share]:
    """Stages in order of execution; small ones at the end as one; empty where none are known."""
    whole = _median(run.samples_ms.get(WATCHED, ()))
    if not whole:
        return []
    found = [
        Share(name=name, p50_ms=spent, share=spent / whole) for name, spent in medians(run).items()
    ]
    large = [row for row in found if row.share >= SMALL]
    small = [row.p50_ms for row in found if row.share < SMALL]
    if small:
        name = f"{len(small)} smaller"
        large.append(Share(name=name, p50_ms=sum(small), share=sum(small) / whole))
    return large


def medians(run: Run) -> dict[str, float]:
    """Stage -> its median, ms."""
    return {
        name.removeprefix(PREFIX): _median(values)
        for name, values in run.samples_ms.items()
        if name.startswith(PREFIX)
    }


def doubt(run: Run) -> str:
    """That too much belongs to no stage; "" where that is little."""
    whole = _median(run.samples_ms.get(WATCHED, ()))
    rest = medians(run).get(OTHER, 0.0) / whole if whole else 0.0
    if rest <= DOUBT:
        return ""
    return f"{100 * rest:.0f} % is of no known stage, so each may have taken that much more"


def missing(run: Run, metric: str) -> str:
    """Why a run has no samples of a stage."""
    if run.unwatched:
        return f"not measured: {run.unwatched}"
    names = ", ".join(medians(run))
    return f"the run has no {metric}" + (f"; its stages are {names}" if names else "")


def _median(values: Sequence[float]) -> float:
    return statistics.median(values) if values else 0.0
