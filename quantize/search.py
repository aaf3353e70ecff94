"""Each layer's error, bytes and time under each treatment -> the best choice within limits.

Errors of different layers are taken as independent, so that their mean squares add up; bytes and
times add up anyway. The least of one sum within limits on the others is then found by a price on
each limit (Shoham and Gersho 1988, IEEE TASSP 36, 9): at any prices each layer chooses alone, and a
price is raised until its limit is kept.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from minuet.contracts.errors import RequestError

ERROR, SIZE, SECONDS = "error", "size", "seconds"  # what can be least, and what can be limited
UNITS = {ERROR: "of mean square error", SIZE: "bytes", SECONDS: "seconds"}
REACH, HALVINGS = 40.0, 60  # of a price's power of ten: from nothing to all, in far below one byte


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """What one treatment of one layer costs."""

    error: float  # mean square that it adds to the output
    size: int  # bytes
    seconds: float = 0.0


Options = Mapping[str, Mapping[str, Option]]  # layer -> treatment -> what it costs


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """A treatment for every layer."""

    layers: dict[str, str]
    error: float  # predicted: the sum of the layers' own
    size: int  # bytes
    seconds: float

    @property
    def decibels(self) -> float:
        """The predicted PSNR of outputs in [0, 1]."""
        return -10 * math.log10(self.error) if self.error else math.inf


def least(options: Options, goal: str, limits: Mapping[str, float]) -> Choice:
    """The choice of the least sum of one cost within limits on others.

    It lies on the lower convex hull of all choices, so it may leave less than one layer's step of a
    limit unused.

    Args:
        goal: error, size or seconds.
        limits: the most that others of these may come to.

    Raises:
        RequestError: no choice keeps a limit, or all of them together.
    """
    grid = _Grid(options)
    for name, limit in limits.items():
        fewest = grid.sum(name, grid.pick({name: 1.0}, goal))
        if fewest > limit:
            raise RequestError(
                f"{limit:.6g} {UNITS[name]} were asked for, and the least that any treatment of "
                f"every layer takes {fewest:.6g}; ask for more."
            )
    found = _bounded(grid, {goal: 1.0}, list(limits.items()))
    if found is None:
        told = " and ".join(f"{limit:.6g} {UNITS[name]}" for name, limit in limits.items())
        raise RequestError(f"no choice keeps within {told} at once; ask for more of one.")
    return grid.choice(found)


def smallest_error(options: Options, size: int) -> Choice:
    """The choice of least predicted error within `size` bytes; raises as least does."""
    return least(options, ERROR, {SIZE: size})


def front(options: Options, sizes: Sequence[int]) -> list[Choice]:
    """The best choice for each of some sizes that any choice fits, smallest first."""
    fewest = least(options, SIZE, {}).size
    found = [smallest_error(options, size) for size in sorted(set(sizes)) if size >= fewest]
    return [one for at, one in enumerate(found) if not at or one.size > found[at - 1].size]


Picks = NDArray[np.intp]  # of each layer, which treatment


class _Grid:
    """Options as arrays: a row a layer, a column a treatment, infinite where there is none."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.names = [list(treatments) for treatments in options.values()]
        shape = len(options), max(map(len, self.names), default=0)
        self.costs = {name: np.full(shape, np.inf) for name in UNITS}
        for row, treatments in enumerate(options.values()):
            for column, one in enumerate(treatments.values()):
                for name, costs in self.costs.items():
                    costs[row, column] = getattr(one, name)

    def pick(self, prices: Mapping[str, float], then: str = SIZE) -> Picks:
        """What each layer chooses at these prices; of equals, what is least of another cost."""
        paid = np.sum([price * self.costs[name] for name, price in prices.items()], axis=0)
        cheapest = paid <= paid.min(axis=1, keepdims=True)
        return np.asarray(np.where(cheapest, self.costs[then], np.inf).argmin(axis=1), np.intp)

    def sum(self, name: str, picks: Picks) -> float:
        """What a choice costs."""
        return math.fsum(self.costs[name][np.arange(len(picks)), picks])

    def choice(self, picks: Picks) -> Choice:
        """The same in words."""
        layers = {
            layer: names[at]
            for layer, names, at in zip(self.options, self.names, picks, strict=True)
        }
        sums = {name: self.sum(name, picks) for name in UNITS}
        return Choice(layers=layers, error=sums[ERROR], size=int(sums[SIZE]), seconds=sums[SECONDS])


def _bounded(
    grid: _Grid, prices: Mapping[str, float], limits: Sequence[tuple[str, float]]
) -> Picks | None:
    """The best choice at these prices that keeps all limits; None if there is none."""
    if not limits:
        return grid.pick(prices)
    (name, limit), *others = limits
    free = _bounded(grid, prices, others)
    if free is None or grid.sum(name, free) <= limit:
        return free
    # A price that drowns the dearest of those before it.
    low, high, best = -REACH, REACH + math.log10(max(*prices.values(), 1.0)), None
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        found = _bounded(grid, {**prices, name: 10.0**middle}, others)
        if found is not None and grid.sum(name, found) <= limit:
            high, best = middle, found
        else:
            low = middle
    return best
