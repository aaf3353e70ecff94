"""Weights -> the nearest weights that are codes times scales of few bits, for a writer to find.

The scales are float16 numbers, so that the files of every target hold the same ones. In 4 bits they
have 8 significant bits: times a code that is 11 at most, a float16 number again, and the weight is
the same in either arithmetic.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from minuet.contracts.codes import HIGH, SMALLEST, Coded, block_max, block_of, boxes, encode
from minuet.contracts.errors import RequestError
from minuet.quantize.palettes import palettize

SHORT = 8  # significant bits of an int4 scale
# Shares of a group's largest number that its scale is tried for: where one number is far out, all
# others gain if it saturates.
SHARES = (1.0, 0.95, 0.9, 0.85, 0.8, 0.75, 0.7)

Floats = NDArray[np.floating[Any]]
Halves = NDArray[np.float16]


def pack8(weight: Floats) -> Coded:
    """int8 codes, one scale an output channel (axis 0): max |w| / 127."""
    return _checked(weight, 8, block_of(weight.shape, 8))


def pack4(weight: Floats) -> Coded:
    """int4 codes, a scale for a group (see contracts.codes.block_of), of least square error.

    Choosing among clipped scales by their error: Banner et al. 2019 (arXiv 1810.05723), sec. 3.
    """
    block = block_of(weight.shape, 4)
    best = _checked(weight, 4, block)
    least = _errors(weight, best, block)
    for share in SHARES[1:]:
        tried = encode(weight, _scales(weight, 4, block, share), 4)
        errors = _errors(weight, tried, block)
        scales = np.where(errors < least, tried.scales, best.scales)
        best, least = encode(weight, scales, 4), np.minimum(errors, least)
    return best


def pack_palette(weight: Floats, bits: int) -> Coded:
    """A palette whose colours are int8 codes, with one scale for the whole weight."""
    return _checked(palettize(weight, bits).unpack(), 8, weight.shape)


def _checked(weight: Floats, bits: int, block: tuple[int, ...]) -> Coded:
    if not np.isfinite(weight).all() or np.abs(weight).max(initial=0) > np.finfo(np.float16).max:
        raise RequestError(f"a weight of shape {weight.shape} is not in float16's range.")
    return encode(weight, _scales(weight, bits, block), bits)


def _scales(weight: Floats, bits: int, block: tuple[int, ...], share: float = 1.0) -> Halves:
    scales = np.maximum(block_max(weight, block) * share / HIGH[bits], SMALLEST)
    return (_short(scales) if bits == 4 else scales).astype(np.float16)


def _short(scales: Floats) -> Floats:
    """Rounded to SHORT significant bits."""
    mantissa, exponent = np.frexp(scales)
    return np.asarray(np.ldexp(np.rint(np.ldexp(mantissa, SHORT)), exponent - SHORT))


def _errors(weight: Floats, made: Coded, block: tuple[int, ...]) -> Floats:
    """Sum of squares by block."""
    return np.asarray(boxes(np.square(made.unpack() - weight), block).sum(axis=-1))
