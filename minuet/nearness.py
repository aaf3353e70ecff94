"""Frames, and the float student's own of the same stickers -> how near they are."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from minuet.contracts.pixels import premultiplied
from minuet.contracts.tensors import Arrays
from minuet.quantize.runs import changed, outputs

if TYPE_CHECKING:
    from torch.fx import GraphModule

EXACT_DB = 120.0


def frames_error(made: Sequence[NDArray[Any]], reference: Sequence[NDArray[Any]]) -> float:
    """Mean square difference of premultiplied frames in 0..1; the first is given, and left out."""
    squares = [
        np.square(_visible(one) - _visible(two)).mean(dtype=np.float64)
        for one, two in zip(made, reference, strict=True)
    ]
    return float(np.mean(squares))


def error_with(
    graph_module: GraphModule,
    tensors: Arrays,
    inputs: Sequence[Arrays],
    reference: Sequence[NDArray[Any]],
) -> float:
    """frames_error of the program with other values in some parameters."""
    with changed(graph_module, tensors):
        return frames_error(outputs(graph_module, inputs), reference)


def decibels_of(error: float) -> float:
    """PSNR of a mean square error; what is the same is EXACT_DB, which JSON can say."""
    return min(-10 * math.log10(error), EXACT_DB) if error else EXACT_DB


def _visible(frames_TCHW: NDArray[Any]) -> NDArray[np.float32]:
    return premultiplied(np.moveaxis(frames_TCHW[1:], 1, -1))
