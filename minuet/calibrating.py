"""A seed and a number of clips -> addresses of stickers among which every motion is as frequent."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING, Any

from minuet.contracts.errors import RequestError
from minuet.contracts.tensors import Arrays
from minuet.stickers import world
from minuet.stickers.motions import MOTIONS

if TYPE_CHECKING:
    from minuet.models.student import Student


@dataclass(frozen=True, slots=True, kw_only=True)
class Strata:
    """Which stickers are drawn, and what they show."""

    addresses: tuple[int, ...]  # rising
    clips: dict[str, int]  # of each motion; no two differ by more than one

    @property
    def unseen(self) -> str:
        """What too few clips leave out, as a sentence; "" where every motion is seen."""
        lost = [motion for motion, number in self.clips.items() if not number]
        every = len(self.clips)
        if not lost:
            return ""
        return (
            f"{len(self.addresses)} clips show {every - len(lost)} of {every} motions, not "
            f"{', '.join(lost)}; --clips {every} would show all."
        )


def strata(seed: int, clips: int, split: str = "train") -> Strata:
    """The first addresses at which every motion occurs equally often, give or take one.

    The same seed gives the same addresses on every machine.

    Raises:
        RequestError: no clips are asked for, or a split that is none.
    """
    if clips < 1:
        raise RequestError(f"calibration needs clips, and {clips} are asked for; give at least 1.")
    found, addresses = Counter[str](), list[int]()
    each, extra = divmod(clips, len(MOTIONS))
    for at in count():
        motion = world.sample(seed, at, split).motion
        if found[motion] < each or (found[motion] == each and extra):
            extra -= found[motion] == each
            found[motion] += 1
            addresses.append(at)
        if len(addresses) == clips:
            break
    return Strata(addresses=tuple(addresses), clips={motion: found[motion] for motion in MOTIONS})


def drawn_inputs(student: Student, signature: Any, seed: int, clips: int) -> Iterator[Arrays]:
    """Training stickers with captions and noise, stratified over motions.

    A student's steps are calls of one program, so every clip passes through all of them; guidance
    is folded into the student, and where a program has it, its branches are rows of one batch.
    """
    from minuet.sources import golden_inputs

    for at in strata(seed, clips).addresses:
        yield golden_inputs(student, signature, seed, at, "train")
