"""What a pipeline may be asked for: sides, frames, steps."""

from __future__ import annotations

from collections.abc import Sequence

from minuet.contracts.errors import RequestError

MAX_SIDE = 8192  # px
MAX_FRAMES = 1024
MAX_STEPS = 1000  # as many as schedulers were trained with


def check_bounds(
    *, size: Sequence[int] | None = None, frames: int | None = None, steps: int | None = None
) -> None:
    """Refuse sides and counts that are none.

    Raises:
        RequestError: with the number.
    """
    if size is not None and len(size) != 2:
        raise RequestError(f"a size is height and width, not {len(size)} numbers.")
    if wrong := [side for side in size or () if not 1 <= side <= MAX_SIDE]:
        raise RequestError(f"a side is 1 to {MAX_SIDE} px, not {wrong[0]}.")
    if frames is not None and not 1 <= frames <= MAX_FRAMES:
        raise RequestError(f"a video has 1 to {MAX_FRAMES} frames, not {frames}.")
    if steps is not None and not 1 <= steps <= MAX_STEPS:
        raise RequestError(f"a pipeline takes 1 to {MAX_STEPS} steps, not {steps}.")
