"""The clock, measured before it is believed: pairs of readings -> resolution and overhead."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from minuet.contracts.errors import RequestError

Clock = Callable[[], int]  # nanoseconds, never going back

now_ns: Clock = time.perf_counter_ns

PAIRS = 2000
TICKS_PER_SAMPLE = 200  # a sample of 200 ticks is wrong by at most 0.5 % through the clock


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolution:
    """What this clock can tell apart."""

    tick_ns: float  # the smallest step it was seen to make
    overhead_ns: float  # what one reading costs

    @property
    def shortest_ms(self) -> float:
        """The shortest time that one sample may have and be believed."""
        return TICKS_PER_SAMPLE * max(self.tick_ns, self.overhead_ns) / 1e6


def resolution(clock: Clock = now_ns, pairs: int = PAIRS) -> Resolution:
    """Read the clock in pairs until its smallest step is known.

    Raises:
        RequestError: the clock stood still or went back.
    """
    start = clock()
    steps = [-clock() + clock() for _ in range(pairs)]
    overhead = (clock() - start) / (2 * pairs)
    moved = [step for step in steps if step > 0]
    if min(steps) < 0 or (not moved and overhead == 0):
        raise RequestError("the clock stands still or goes back; nothing can be measured by it.")
    return Resolution(tick_ns=float(min(moved, default=overhead)), overhead_ns=overhead)
