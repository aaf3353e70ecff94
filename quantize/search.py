"""Each layer's error and bytes under each treatment -> the best choice for a size.

Errors of different layers are taken as independent, so that their mean squares add up. The least
sum of errors for a sum of bytes is then found by a price on bytes (Shoham and Gersho 1988, IEEE
TASSP 36, 9): at any price each layer chooses alone, and the price is raised until all fit.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from minuet.contracts.errors import RequestError

HALVINGS = 100  # of the interval of prices, in logarithms: far below one byte


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """What one treatment of one layer costs."""

    error: float  # mean square that it adds to the output
    size: int  # bytes


Options = Mapping[str, Mapping[str, Option]]  # layer -> treatment -> what it costs


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """A treatment for every layer."""

    layers: dict[str, str]
    error: float  # predicted: the sum of the layers' own
    size: int  # bytes

    @property
    def decibels(self) -> float:
        """The predicted PSNR of outputs in [0, 1]."""
        return -10 * math.log10(self.error) if self.error else math.inf


def smallest_error(options: Options, size: int) -> Choice:
    """The choice of least predicted error within `size` bytes.

    It lies on the lower convex hull of all choices, so it may leave less than one layer's step of
    the bytes unused.

    Raises:
        RequestError: not even the smallest treatments fit.
    """
    least = _at(options, math.inf)
    if least.size > size:
        raise RequestError(
            f"{size} bytes were asked for, and the smallest treatment of every layer takes "
            f"{least.size}; ask for more."
        )
    free = _at(options, 0.0)
    if free.size <= size:
        return free
    low, high, best = -300.0, 300.0, least  # powers of ten
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        found = _at(options, 10.0**middle)
        if found.size <= size:
            high, best = middle, found
        else:
            low = middle
    return best


def front(options: Options, sizes: Sequence[int]) -> list[Choice]:
    """The best choice for each of some sizes that any choice fits, smallest first."""
    least = _at(options, math.inf).size
    found = [smallest_error(options, size) for size in sorted(set(sizes)) if size >= least]
    return [one for at, one in enumerate(found) if not at or one.size > found[at - 1].size]


def _at(options: Options, price: float) -> Choice:
    """What every layer chooses at a price for a byte; at an infinite one, the fewest bytes."""

    def cost(one: Option) -> tuple[float, float]:
        if math.isinf(price):
            return one.size, one.error
        return one.error + price * one.size, one.size

    layers = {
        layer: min(treatments, key=lambda name: cost(treatments[name]))
        for layer, treatments in options.items()
    }
    chosen = [options[layer][name] for layer, name in layers.items()]
    return Choice(
        layers=layers,
        error=math.fsum(one.error for one in chosen),
        size=sum(one.size for one in chosen),
    )
