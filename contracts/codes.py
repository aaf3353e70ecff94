"""Weights that are whole numbers times scales <-> the numbers and the scales, bit for bit.

A quantizer rounds a weight until every number is a code times the scale of its block, and hands on
the weight alone. A writer finds codes and scales again in the numbers, and stores those. Nothing is
rounded here: what is no such weight has no codes.
"""

from dataclasses import dataclass
from math import ceil, prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

HIGH = {4: 7, 8: 127}  # the largest code: symmetric, so that w and -w are equally well kept
GROUP = 32  # input channels that share a scale in 4 bits
SMALLEST = 2.0**-14  # of a scale: the least that float16 holds with all its bits

Floats = NDArray[np.floating[Any]]
Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Coded:
    """A weight as codes, and a scale for every block of it."""

    codes: NDArray[np.int8]  # of the weight's shape
    scales: NDArray[np.float16]  # as many axes; each size divides the weight's
    bits: int

    @property
    def bytes(self) -> int:
        """What codes and scales take."""
        return ceil(self.codes.size * self.bits / 8) + self.scales.nbytes

    def unpack(self, dtype: Any = np.float32) -> Floats:
        """The weight; a product that float16 cannot hold is rounded to it once."""
        exact: Floats = self.codes * spread(self.scales.astype(np.float32), self.codes.shape)
        return exact.astype(dtype)

    def turned(self) -> "Coded":
        """Of the transposed matrix."""
        return Coded(codes=self.codes.T, scales=self.scales.T, bits=self.bits)


def block_of(shape: Shape, bits: int) -> Shape:
    """How many neighbours along each axis share a scale.

    In 8 bits an output channel does. In 4 bits GROUP input channels at one place of the kernel do,
    or a number of channels that divides them and is near GROUP; of very few, with their whole
    kernel. So a block is a box, which Core ML and a broadcast product have names for.
    """
    inputs, kernel = shape[1], shape[2:]
    if bits == 8:
        return (1, *shape[1:])
    divisors = [size for size in range(1, inputs + 1) if inputs % size == 0]
    width = min(divisors, key=lambda size: max(size / GROUP, GROUP / size))
    return (1, width, *(kernel if width < GROUP // 2 else (1,) * len(kernel)))


def coded(weight: Floats) -> Coded | None:
    """The smallest codes of a constant, which may be a matrix transposed; None if it has none.

    Tried are int4 groups, int8 with one scale for all, and int8 channels.
    """
    found = [_upright(weight)]
    if weight.ndim == 2:
        turned = _upright(weight.T)
        found.append(turned and turned.turned())
    return min((one for one in found if one), key=lambda one: one.bytes, default=None)


def _upright(weight: Floats) -> Coded | None:
    """The same for a weight whose outputs are its first axis, and its inputs the second."""
    if weight.ndim < 2 or not weight.size:
        return None
    tried = ((4, block_of(weight.shape, 4)), (8, weight.shape), (8, block_of(weight.shape, 8)))
    found = (find(weight, bits, block) for bits, block in tried)
    return next((one for one in found if one and one.bytes < weight.nbytes), None)


def find(weight: Floats, bits: int, block: Shape) -> Coded | None:
    """The codes that a weight of float32 or float16 was made of; None if it was not.

    The largest number of a block is HIGH times its scale, or the scale is SMALLEST. In float16 that
    product may have been rounded, so that the scale is one of three neighbours.
    """
    largest = block_max(weight.astype(np.float32), block)
    with np.errstate(over="ignore", invalid="ignore"):
        near = np.maximum(largest / HIGH[bits], SMALLEST).astype(np.float16)
        scales = near
        for tried in (near, np.nextafter(near, np.float16(np.inf)), np.nextafter(near, near * 0)):
            made = encode(weight, tried, bits).unpack(weight.dtype)
            wrong = block_max((made != weight).astype(np.float32), block)
            if not wrong.any():
                return encode(weight, tried, bits)
            scales = np.where(wrong == 0, tried, scales)
        made_of = encode(weight, scales, bits)
        return made_of if np.array_equal(made_of.unpack(weight.dtype), weight) else None


def encode(weight: Floats, scales: NDArray[np.float16], bits: int) -> Coded:
    """The nearest codes of a weight with these scales; what is too large saturates."""
    high, wide = HIGH[bits], spread(scales.astype(np.float32), weight.shape)
    codes = np.clip(np.rint(weight.astype(np.float32) / wide), -high, high)
    return Coded(codes=codes.astype(np.int8), scales=scales, bits=bits)


def block_max(values: Floats, block: Shape) -> Floats:
    """The largest magnitude of each block."""
    largest: Floats = np.abs(boxes(values, block)).max(axis=-1)
    return largest


def boxes(values: Floats, block: Shape) -> Floats:
    """One block after another: as many axes as before, one size each, and all numbers of it."""
    pairs = [(n // width, width) for n, width in zip(values.shape, block, strict=True)]
    inner = range(1, 2 * len(pairs), 2)
    whole = values.reshape([n for pair in pairs for n in pair])
    apart = np.moveaxis(whole, inner, range(len(pairs), 2 * len(pairs)))
    return apart.reshape([count for count, _ in pairs] + [prod(block)])


def spread(scales: Floats, shape: Shape) -> Floats:
    """One number a block -> one for each of the weight's, or what broadcasts to it."""
    for axis, (size, count) in enumerate(zip(shape, scales.shape, strict=True)):
        scales = scales if count in (1, size) else np.repeat(scales, size // count, axis)
    return scales


def packed_nibbles(codes: NDArray[np.int8]) -> NDArray[np.uint8]:
    """int4 codes, any shape -> two a byte, plus 8: the first half low, the second half high."""
    flat = codes.reshape(-1).astype(np.int16) + 8
    half = ceil(flat.size / 2)
    low, high = flat[:half], np.pad(flat[half:], (0, 2 * half - flat.size))
    return (low | high << 4).astype(np.uint8)
