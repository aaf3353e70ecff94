"""A place on the way through a model, and a backend's value there -> one finding of a report."""

from __future__ import annotations

from dataclasses import dataclass

from minuet.benchmarks.parity import Difference
from minuet.contracts.artifact import Parity

COMPONENT, STEP, TRAJECTORY, FINAL = SCOPES = ("component", "step", "trajectory", "final")


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One output at one place, as far as the backend is from the oracle."""

    scope: str
    component: str  # empty for what the whole program gave
    step: int
    output: str
    found: Difference
    depth: int  # contractions between the beginning, or the component's, and this value
    own_db: float | None = None  # what the eager program reaches there
    parity: Parity | None = None  # the verdict, where one was reached already
