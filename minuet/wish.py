"""What is wanted of a source -> plain values for a manifest; and back, whoever wrote them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from minuet.contracts.artifact import Manifest
from minuet.contracts.errors import DamagedError, RequestError
from minuet.contracts.records import record
from minuet.export.sources.bounds import check_bounds

ASKED = "asked"  # in a manifest's sampler: readers of every schema take what they find there
# Of the other arguments of a call, all together. The largest numbers there are sides in px.
MAX_VALUES, MAX_LETTERS, MAX_NUMBER = 256, 1000, 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What of a source is wanted, and how; None: the source's own choice."""

    size: tuple[int, int] | None = None  # height, width in px
    frames: int | None = None
    steps: int | None = None
    guidance: float | None = None
    components: tuple[str, ...] = ()
    fused: bool = False
    seed: int = 0
    more: dict[str, Any] = field(default_factory=dict)  # other arguments of a pipeline's call

    def __post_init__(self) -> None:
        check_bounds(size=self.size, frames=self.frames, steps=self.steps)
        if self.seed < 0:
            raise RequestError(f"--seed is 0 or more, not {self.seed}.")
        _insist_plain(self.more)

    def to_json(self) -> dict[str, Any]:
        """What was asked, without what was left to the source."""
        usual = Wish()
        rows = {row.name: getattr(self, row.name) for row in fields(self)}
        return {name: value for name, value in rows.items() if value != getattr(usual, name)}


def asked_of(manifest: Manifest) -> Wish:
    """What a bundle was exported with; nothing of one from before that was kept.

    Raises:
        DamagedError: values that no export would have written.
    """
    try:
        found: Wish = record(Wish, manifest.sampler.get(ASKED, {}), f"sampler.{ASKED}")
    except (ValueError, RequestError) as error:
        said = str(error).rstrip(".")
        raise DamagedError(f"{manifest.name}: damaged manifest ({said}); export again.") from error
    return found


def _insist_plain(more: Mapping[str, Any]) -> None:
    """Refuse what is not short and plain: it goes into a call, and into a manifest.

    Raises:
        RequestError: a name that is none, too many values, or one that is too large.
    """
    left, seen = [*more, *more.values()], 0
    while left:
        one, seen = left.pop(), seen + 1
        if isinstance(one, Mapping):
            left += [*one, *one.values()]
        elif isinstance(one, list):
            left += one
        if seen + len(left) > MAX_VALUES:
            raise RequestError(f"--set takes {MAX_VALUES} values at most, names included.")
        if isinstance(one, str) and len(one) > MAX_LETTERS:
            raise RequestError(f"--set takes texts up to {MAX_LETTERS} letters, not {len(one)}.")
        if isinstance(one, int | float) and not abs(one) <= MAX_NUMBER:
            raise RequestError(f"--set takes numbers up to {MAX_NUMBER}, not {one!r:.40}.")
    if strange := [name for name in more if not name.isidentifier()]:
        raise RequestError(f"--set takes name=value, got the name {strange[0]!r:.60}.")
