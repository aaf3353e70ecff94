"""A place in an artifact where its target is known to compute something else, or slowly."""

from collections.abc import Iterable
from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True, kw_only=True)
class Hazard:
    """One thing to know before an artifact is trusted: where, what, what to do, who says so."""

    place: str  # the operation's or tensor's name
    op: str  # the operation's type
    what: str
    fix: str
    module: str = ""  # the path of the module it was traced in, if known
    source: str = ""  # where this is reported, or how it was measured
    count: int = 1  # how many places are like this one

    def __str__(self) -> str:
        others = f" and {self.count - 1} more" if self.count > 1 else ""
        where = f" of {self.module}" if self.module else ""
        what = f"{self.what}. {self.fix}. [{self.source}]"
        return f"{self.place}{where}{others} ({self.op}): {what}"


def gathered(hazards: Iterable[Hazard]) -> tuple[Hazard, ...]:
    """Hazards of one kind and cause as one, at the first place, with their number."""
    found: dict[tuple[str, str], Hazard] = {}
    for one in hazards:
        key = one.op, one.what
        before = found.get(key)
        found[key] = replace(before, count=before.count + one.count) if before else one
    return tuple(found.values())
