"""Weights -> palettes: every number becomes the nearest of 2^bits, and these are chosen well.

Han et al. 2016 (Deep compression, arXiv 1510.00149), sec. 3: k-means over one tensor's weights. In
one dimension the cells of Lloyd's iteration are intervals, so that with the weights sorted once a
round costs a search and a difference for each colour, not a distance for each weight.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from minuet.contracts.errors import RequestError

BITS = (2, 3, 4, 6, 8)  # what Core ML has tables for; 1 is of no use to these networks
ROUNDS = 100  # Lloyd's iteration has settled long before

Floats = NDArray[np.floating[Any]]
Doubles = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Palette:
    """A weight as codes into a small table."""

    values_K: NDArray[np.float32]  # K = 2^bits at most, rising
    codes: NDArray[np.uint8]  # of the weight's shape

    def unpack(self) -> NDArray[np.float32]:
        """The weight that the codes stand for, float32."""
        return self.values_K[self.codes]


def palettize(weight: Floats, bits: int) -> Palette:
    """The palette of a weight, found from half quantiles, half even spacing: always the same.

    A weight of no more than 2^bits different numbers comes back exactly.

    Args:
        weight: any shape, finite.
        bits: one of BITS.

    Raises:
        RequestError: no such palette, or a weight that is not finite.
    """
    if bits not in BITS:
        raise RequestError(f"a palette has {', '.join(map(str, BITS))} bits, not {bits}.")
    if not np.isfinite(weight).all():
        raise RequestError(f"a weight of shape {weight.shape} is not finite; nothing fits it.")
    sorted_W = np.sort(weight, axis=None).astype(np.float64)
    values = np.unique(sorted_W)
    if len(values) > 2**bits:
        values = _settled(sorted_W, _start(sorted_W, 2**bits))
    values_K = np.unique(values.astype(np.float32))
    codes = np.searchsorted(_borders(values_K.astype(np.float64)), weight)
    return Palette(values_K=values_K, codes=codes.astype(np.uint8))


def packed_bytes(count: int, bits: int) -> int:
    """What `count` weights take: their codes, and a table of float16."""
    return -(-count * bits // 8) + (2 << bits)


def _start(sorted_W: Doubles, colours: int) -> Doubles:
    """Between the quantiles, which serve the many, and even spacing, which serves the large."""
    share = np.linspace(0, 1, colours)
    even = sorted_W[0] + share * (sorted_W[-1] - sorted_W[0])
    spread = np.asarray(np.quantile(sorted_W, share), np.float64)
    return np.asarray((spread + even) / 2)


def _settled(sorted_W: Doubles, values_K: Doubles) -> Doubles:
    """Lloyd's iteration: each colour becomes the mean of its interval, until nothing moves."""
    sums = np.concatenate([[0.0], np.cumsum(sorted_W)])
    for _ in range(ROUNDS):
        ends = np.searchsorted(sorted_W, _borders(values_K))
        ends = np.concatenate([[0], ends, [len(sorted_W)]])
        counts = np.diff(ends)
        means = np.diff(sums[ends]) / np.maximum(counts, 1)
        moved = np.where(counts > 0, means, values_K)
        if np.array_equal(moved, values_K):
            break
        values_K = moved
    return values_K


def _borders(values_K: Doubles) -> Doubles:
    return np.asarray((values_K[1:] + values_K[:-1]) / 2)
