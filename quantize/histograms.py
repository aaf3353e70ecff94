"""Activations -> histograms that add up exactly -> the range that a code of 8 bits serves best.

The cells of a histogram are as wide as a power of two, so that one made for small values becomes
one for larger values by adding neighbours. What was seen is then the same in whatever order, and
whatever pieces, it was seen.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from minuet.quantize.scales import HIGH, LOW, SMALLEST, affine

# Shapes: N cells of a histogram, M of them in a window.

CELLS = 8192  # on [-2^power, 2^power): at least 8 for each code of a range that half fills its side
LEVELS = HIGH - LOW  # steps of an int8 code
STRIDE = 32  # cells between the windows that entropy compares
SHARES = 64  # parts of a range that mse tries, one end at a time
SMOOTH = 1e-4  # what a cell without a share in a distribution is given

Counts = NDArray[np.int64]
Doubles = NDArray[np.float64]
Range = tuple[float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Histogram:
    """How often values fell into each cell of [-2^power, 2^power)."""

    counts_N: Counts
    power: int
    low: float  # the extremes themselves
    high: float

    @property
    def width(self) -> float:
        """Of a cell."""
        return math.ldexp(2.0, self.power) / len(self.counts_N)

    def centers_N(self) -> Doubles:
        """What a value in each cell is taken for: never more than was seen."""
        count = len(self.counts_N)
        made = (np.arange(count) - count // 2 + 0.5) * self.width
        return np.clip(made, self.low, self.high)

    def widened(self, power: int) -> Histogram:
        """The same values in fewer, wider cells."""
        counts_N = self.counts_N
        for _ in range(power - self.power):
            pairs = counts_N.reshape(-1, 2).sum(1)
            counts_N = np.pad(pairs, len(pairs) // 2)
        return Histogram(counts_N=counts_N, power=power, low=self.low, high=self.high)

    def __add__(self, other: Histogram) -> Histogram:
        power = max(self.power, other.power)
        return Histogram(
            counts_N=self.widened(power).counts_N + other.widened(power).counts_N,
            power=power,
            low=min(self.low, other.low),
            high=max(self.high, other.high),
        )


def histogram(values: NDArray[Any], cells: int = CELLS) -> Histogram:
    """What finite values of any shape come to; cells is a multiple of 4."""
    low, high = float(values.min()), float(values.max())
    power = max(math.frexp(max(-low, high))[1], math.frexp(SMALLEST)[1])
    at = np.floor(values.ravel() * (cells // 2 * 2.0**-power)).astype(np.int32) + cells // 2
    counts_N = np.bincount(at, minlength=cells).astype(np.int64)
    return Histogram(counts_N=counts_N, power=power, low=low, high=high)


def least_square_range(seen: Histogram) -> Range:
    """The range of least mean square error: clipped little, rounded finely.

    Each end in turn is tried at SHARES shares of what was seen, until neither moves.
    """
    full = seen.counts_N > 0
    centers_M, counts_M = seen.centers_N()[full], seen.counts_N[full]
    low, high = min(seen.low, 0.0), max(seen.high, 0.0)
    shares = np.arange(SHARES, 0, -1) / SHARES

    def best(ranges: list[Range]) -> Range:
        return min(ranges, key=lambda one: _error(centers_M, counts_M, *one))

    found = best([(float(low * share), float(high * share)) for share in shares])
    for _ in range(SHARES):
        before = found
        found = best([before, *((float(low * share), before[1]) for share in shares)])
        found = best([found, *((found[0], float(high * share)) for share in shares)])
        if found == before:
            break
    return found


def entropy_range(seen: Histogram, levels: int = LEVELS, stride: int = STRIDE) -> Range:
    """The range whose codes keep most of what the distribution tells.

        argmin over t of KL(P_t || Q_t)

    P_t is the histogram within [-t, t] with what lies beyond in its last cells; Q_t is what
    `levels` codes leave of the part within. Migacz 2017 (8-bit inference with TensorRT, GTC S7310),
    with the two ends and the smoothing of onnxruntime's calibrator. Departure: the window ends
    where nothing was seen, or an activation without negative values would waste half of its codes.
    """
    half, (first, last) = len(seen.counts_N) // 2, np.flatnonzero(seen.counts_N)[[0, -1]]
    best, found = math.inf, (seen.low, seen.high)
    widest = max(half - int(first), int(last) + 1 - half)
    for reach in range(widest, 0, -stride):
        start, stop = max(half - reach, int(first)), min(half + reach, int(last) + 1)
        if stop - start <= levels:
            break
        told = divergence(seen.counts_N, start, stop, levels)
        if told < best:
            best = told
            ends = ((start - half) * seen.width, (stop - half) * seen.width)
            found = max(seen.low, ends[0]), min(seen.high, ends[1])
    return found


def divergence(counts_N: Counts, start: int, stop: int, levels: int) -> float:
    """KL(P || Q) in nats of cells start to stop, coded in `levels` groups of like size.

    Infinite where too little lies within to be smoothed.
    """
    inside_M = counts_N[start:stop].astype(np.float64)
    clipped_M = inside_M.copy()
    clipped_M[0] += counts_N[:start].sum()
    clipped_M[-1] += counts_N[stop:].sum()
    group_M = np.arange(len(inside_M)) * levels // len(inside_M)
    full_M = clipped_M > 0
    totals = np.bincount(group_M, inside_M, levels)
    shared = np.bincount(group_M, full_M, levels)
    coded_M = np.where(full_M, totals[group_M] / np.maximum(shared, 1)[group_M], 0.0)
    p_M, q_M = _smoothed(clipped_M), _smoothed(coded_M)
    if p_M is None or q_M is None:
        return math.inf
    return float(np.sum(p_M * np.log(p_M / q_M)))


def _smoothed(weights_M: Doubles) -> Doubles | None:
    """A distribution without zeros: each gets SMOOTH, and the others give it."""
    total, empty = weights_M.sum(), weights_M == 0
    if total == 0 or empty.all():
        return None
    given = SMOOTH * empty.sum() / (~empty).sum()
    made = np.where(empty, SMOOTH, weights_M - given)
    return None if (made <= 0).any() else np.asarray(made / made.sum())


def _error(centers_M: Doubles, counts_M: Counts, low: float, high: float) -> float:
    code = affine(low, high)
    coded = np.clip(np.rint(centers_M / code.scale) + code.zero_point, LOW, HIGH)
    off = (coded - code.zero_point) * code.scale - centers_M
    return float(np.dot(counts_M, off * off) / counts_M.sum())


RANGES: dict[str, Callable[[Histogram], Range]] = {
    "entropy": entropy_range,
    "mse": least_square_range,
}
