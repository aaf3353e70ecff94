"""One question of a gate, answered with its numbers: pass, fail, or not enough evidence."""

from collections.abc import Iterable
from dataclasses import dataclass

PASS, FAIL, INCONCLUSIVE = "pass", "fail", "inconclusive"
AT_MOST, AT_LEAST = "at most", "at least"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """One question, answered with its numbers."""

    outcome: str
    artifact: str
    runtime: str
    metric: str
    limit: float
    unit: str
    value: float | None = None
    low: float | None = None
    high: float | None = None  # None: without bound, from too few samples
    samples: int = 0
    note: str = ""
    bound: str = AT_MOST  # on which side of the limit the value may be
    needed: int = 0  # samples that would decide; 0: it is decided, or no number would

    @property
    def subject(self) -> str:
        """What was judged."""
        return f"{self.artifact} on {self.runtime}"

    def __str__(self) -> str:
        found = "not measured" if self.value is None else f"{figure(self.value)} {self.unit}"
        if self.low is not None:
            high = "?" if self.high is None else figure(self.high)
            found += f" ({figure(self.low)} to {high})"
        limit = f"{self.bound} {figure(self.limit)} {self.unit}".strip()
        note = f"; {self.note}" if self.note else ""
        return f"{self.outcome}: {self.subject}: {self.metric} {found.strip()}, {limit}{note}"


def outcome_of(verdicts: Iterable[Verdict]) -> str:
    """One word for many: a failure decides, then a doubt."""
    outcomes = {verdict.outcome for verdict in verdicts}
    if FAIL in outcomes:
        return FAIL
    return INCONCLUSIVE if INCONCLUSIVE in outcomes or not outcomes else PASS


def figure(value: float) -> str:
    """A number as people write it: four digits, or all before the point."""
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def decided_by(needed: int, have: int) -> str:
    """How many samples would decide, in words."""
    if not needed:
        return "the estimate is the limit itself; no number of samples decides"
    return f"about {max(needed, have + 1)} samples would decide; there are {have}"
