"""Ranges and weights -> integer scales, zero points and codes: pure arithmetic.

A real number r is kept as an integer code q with r = scale * (q - zero_point): Jacob et al. 2018
(arXiv 1712.05877), eq. 1. Rounding is to the nearest, ties to even, as IEEE 754 and ONNX have it.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

LOW, HIGH = -128, 127  # int8 codes
SYMMETRIC_HIGH = 127  # symmetric codes leave -128 out, so that r and -r are equally well kept
SMALLEST = 2.0**-20  # of a scale: an all-zero tensor has one too, and requantization stays finite

Floats = NDArray[np.floating[Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Affine:
    """How one tensor becomes codes."""

    scale: float
    zero_point: int

    def __post_init__(self) -> None:
        if not (np.isfinite(self.scale) and self.scale > 0 and LOW <= self.zero_point <= HIGH):
            raise ValueError(f"need a scale above 0 and a zero point in int8, got {self}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Packed:
    """A weight as int8 codes, one scale a channel."""

    codes: NDArray[np.int8]
    scales: NDArray[np.float32]  # one for each index along `axis`
    axis: int

    def unpack(self) -> NDArray[np.float32]:
        """The weight that the codes stand for, float32."""
        return (self.codes * _along(self.scales, self.codes.ndim, self.axis)).astype(np.float32)


def affine(low: float, high: float) -> Affine:
    """The finest int8 code of [low, high] in which zero is exact.

    Krishnamoorthi 2018 (arXiv 1806.08342), sec. 2.1: the range is first stretched to hold zero.
    """
    low, high = _checked(low, high)
    scale = max((high - low) / (HIGH - LOW), SMALLEST)
    zero_point = int(np.clip(np.rint(LOW - low / scale), LOW, HIGH))
    return Affine(scale=scale, zero_point=zero_point)


def symmetric(low: float, high: float) -> Affine:
    """The finest int8 code of [low, high] whose zero point is 0 (TensorRT, Core ML).

    Krishnamoorthi 2018, sec. 2.2.
    """
    low, high = _checked(low, high)
    return Affine(scale=max(max(-low, high) / SYMMETRIC_HIGH, SMALLEST), zero_point=0)


def encode(values: Floats, code: Affine) -> NDArray[np.int8]:
    """Values of any shape -> int8 codes; what is outside the range saturates."""
    codes: NDArray[Any] = np.clip(np.rint(values / code.scale) + code.zero_point, LOW, HIGH)
    return codes.astype(np.int8)


def decode(codes: NDArray[np.int8], code: Affine) -> NDArray[np.float32]:
    """int8 codes -> the float32 values they stand for."""
    shifted = codes.astype(np.int32) - code.zero_point
    return (shifted * np.float32(code.scale)).astype(np.float32)


def channel_scales(weight: Floats, axis: int = 0) -> NDArray[np.float32]:
    """One symmetric scale for each index along an axis: max |w| / 127 (float32).

    Krishnamoorthi 2018, sec. 3.1.2: per output channel, or 8 bits lose the small channels.
    """
    others = tuple(at for at in range(weight.ndim) if at != axis % weight.ndim)
    largest: Floats = np.abs(weight).max(axis=others) / SYMMETRIC_HIGH
    return np.maximum(largest, SMALLEST).astype(np.float32)


def pack(weight: Floats, axis: int = 0) -> Packed:
    """A weight -> symmetric int8 codes with one scale a channel along `axis`."""
    scales = channel_scales(weight, axis)
    codes = np.rint(weight / _along(scales, weight.ndim, axis))
    codes = np.clip(codes, -SYMMETRIC_HIGH, SYMMETRIC_HIGH).astype(np.int8)
    return Packed(codes=codes, scales=scales, axis=axis)


def _checked(low: float, high: float) -> tuple[float, float]:
    """The range, stretched to hold zero."""
    if not (np.isfinite(low) and np.isfinite(high) and low <= high):
        raise ValueError(f"a range goes from a finite low to a finite high, got {low} to {high}")
    return min(float(low), 0.0), max(float(high), 0.0)


def _along(scales: Floats, rank: int, axis: int) -> Floats:
    """Scales shaped so that they broadcast along one axis."""
    shape = [1] * rank
    shape[axis] = -1
    return scales.reshape(shape)
