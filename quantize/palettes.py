"""Weights -> palettes: every number becomes the nearest of 2^bits, and these are chosen well.

Han et al. 2016 (Deep compression, arXiv 1510.00149), sec. 3: k-means over one tensor's weights. In
one dimension the cells of Lloyd's iteration are intervals, so that with the weights sorted once a
round costs a search and a difference for each colour, not a distance for each weight.

A weight counts by the mean square of what it multiplies (quantize/energies.py), so that the error
of the layer's answer is small, not that of its weights: inputs taken as independent, the sum of
energy * (w - colour)^2 is the mean square error of the answer.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from minuet.contracts.errors import DamagedError, RequestError
from minuet.contracts.tensors import Arrays

BITS = (2, 3, 4, 6, 8)  # what Core ML has tables for; 1 is of no use to these networks
FAINTEST = 1e-4  # of the mean energy: what multiplied nothing on these clips is still a weight
CODES, TABLE = ".codes", ".palette"  # how a parameter's name goes on where it is stored
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


def palettize(weight: Floats, bits: int, energies: Floats | None = None) -> Palette:
    """The palette of a weight, found from half quantiles, half even spacing: always the same.

    A weight of no more than 2^bits different numbers comes back exactly.

    Args:
        weight: any shape, finite.
        bits: one of BITS.
        energies: the mean square of what each number multiplies, of a shape that broadcasts to
            the weight's; none: all alike.

    Raises:
        RequestError: no such palette, or a weight or energies that are not finite.
    """
    if bits not in BITS:
        raise RequestError(f"a palette has {', '.join(map(str, BITS))} bits, not {bits}.")
    if not np.isfinite(weight).all():
        raise RequestError(f"a weight of shape {weight.shape} is not finite; nothing fits it.")
    order = np.argsort(weight, axis=None, kind="stable")
    sorted_W = weight.reshape(-1)[order].astype(np.float64)
    values = np.unique(sorted_W)
    if len(values) > 2**bits:
        shares_W = _shares(energies, weight.shape)[order]
        values = _settled(sorted_W, shares_W, _start(sorted_W, 2**bits))
    return nearest(weight, values)


def nearest(weight: Floats, values_K: Floats) -> Palette:
    """Every number as the nearest of these; of two as near, the lesser."""
    values_K = np.unique(values_K.astype(np.float32))
    codes = np.searchsorted(_borders(values_K.astype(np.float64)), weight)
    return Palette(values_K=values_K, codes=codes.astype(np.uint8))


def to_arrays(palettes: Mapping[str, Palette]) -> Arrays:
    """Palettes by parameter -> what is stored: codes and a table for each, by name."""
    codes = {name + CODES: one.codes for name, one in palettes.items()}
    return codes | {name + TABLE: one.values_K for name, one in palettes.items()}


def unpacked(stored: Arrays, where: str) -> Arrays:
    """The reverse: the weights that are meant, float32 by parameter, as is all else that is stored.

    Raises:
        DamagedError: codes that have no table or point outside it, or numbers that are none.
    """
    pairs = {name.removesuffix(CODES) for name in stored if name.endswith(CODES)}
    pairs |= {name.removesuffix(TABLE) for name in stored if name.endswith(TABLE)}
    made = {name: _looked_up(stored, name, where) for name in sorted(pairs)}
    plain = {name: one for name, one in stored.items() if not name.endswith((CODES, TABLE))}
    for name, one in (plain | made).items():
        if one.dtype != np.float32 or not np.isfinite(one).all():
            raise DamagedError(f"{where}: {name} is not of finite float32; quantize again.")
    return plain | made


def _looked_up(stored: Arrays, name: str, where: str) -> NDArray[Any]:
    codes, table_K = stored.get(name + CODES), stored.get(name + TABLE)
    if codes is None or table_K is None or name in stored:
        raise DamagedError(f"{where}: {name} is not codes and one table; quantize again.")
    if codes.dtype != np.uint8 or table_K.ndim != 1 or codes.max(initial=0) >= len(table_K):
        raise DamagedError(f"{where}: codes of {name} point outside their table; quantize again.")
    return np.asarray(table_K[codes])


def packed_bytes(count: int, bits: int) -> int:
    """What `count` weights take: their codes, and a table of float16."""
    return -(-count * bits // 8) + (2 << bits)


def _start(sorted_W: Doubles, colours: int) -> Doubles:
    """Between the quantiles, which serve the many, and even spacing, which serves the large."""
    share = np.linspace(0, 1, colours)
    even = sorted_W[0] + share * (sorted_W[-1] - sorted_W[0])
    spread = np.asarray(np.quantile(sorted_W, share), np.float64)
    return np.asarray((spread + even) / 2)


def _shares(energies: Floats | None, shape: tuple[int, ...]) -> Doubles:
    """How much each number counts, flat: 1 in the mean, and nothing counts for nothing."""
    if energies is None:
        return np.ones(math.prod(shape))
    mean = float(np.mean(energies, dtype=np.float64))
    if not (np.isfinite(mean) and np.min(energies) >= 0):
        raise RequestError(f"energies for a weight of shape {shape} are not finite squares.")
    shares = np.maximum(energies / mean, FAINTEST) if mean else np.ones_like(energies)
    return np.broadcast_to(shares, shape).reshape(-1).astype(np.float64)


def _settled(sorted_W: Doubles, shares_W: Doubles, values_K: Doubles) -> Doubles:
    """Lloyd's iteration: each colour becomes the mean of its interval, until nothing moves."""
    sums = np.concatenate([[0.0], np.cumsum(shares_W * sorted_W)])
    weights = np.concatenate([[0.0], np.cumsum(shares_W)])
    for _ in range(ROUNDS):
        ends = np.searchsorted(sorted_W, _borders(values_K))
        ends = np.concatenate([[0], ends, [len(sorted_W)]])
        taken = np.diff(weights[ends])
        means = np.diff(sums[ends]) / np.where(taken > 0, taken, 1)
        moved = np.where(np.diff(ends) > 0, means, values_K)
        if np.array_equal(moved, values_K):
            break
        values_K = moved
    return values_K


def _borders(values_K: Doubles) -> Doubles:
    return np.asarray((values_K[1:] + values_K[:-1]) / 2)
