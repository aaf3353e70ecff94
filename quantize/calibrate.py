"""Seeded inputs through a captured program -> the range of every quantized layer's activations."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from minuet.contracts.errors import DamagedError, RequestError
from minuet.contracts.tensors import Arrays, to_safetensors
from minuet.quantize.histograms import RANGES, Histogram, Range, histogram
from minuet.quantize.layers import Call
from minuet.quantize.runs import watched
from minuet.quantize.sofar import Sofar, address, resumed, write_notes

if TYPE_CHECKING:
    from torch import Tensor
    from torch.fx import GraphModule

METHODS = ("min-max", "percentile", *RANGES)
INPUT, OUTPUT = "in", "out"


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """How what was seen on single clips becomes a range.

    min-max: the smallest and the largest value of all. percentile: of each clip the range that
    holds `share` of the values, and of these the mean: one outlier then costs no precision.
    entropy and mse: what serves the histogram of all clips best; see histograms.RANGES.
    """

    name: str = "min-max"
    share: float = 0.9999

    def __post_init__(self) -> None:
        if self.name not in METHODS:
            raise RequestError(f"the method is one of {', '.join(METHODS)}, not {self.name!r}.")
        if not 0.5 < self.share <= 1:
            raise RequestError(
                f"a percentile's share is above 0.5 and at most 1, not {self.share}."
            )

    @property
    def counts(self) -> bool:
        """Whether it needs histograms."""
        return self.name in RANGES

    def look(self, values: NDArray[Any]) -> Range:
        """The range of one tensor."""
        if self.name != "percentile":
            return float(values.min()), float(values.max())
        low, high = np.quantile(values, [1 - self.share, self.share])
        return float(low), float(high)

    def join(self, seen: NDArray[np.float64], counted: Histogram | None = None) -> Range:
        """The ranges of all clips, (clips, 2), and their histogram where it is needed, as one."""
        if counted:
            return RANGES[self.name](counted)
        if self.name == "percentile":
            return float(seen[:, 0].mean()), float(seen[:, 1].mean())
        return float(seen[:, 0].min()), float(seen[:, 1].max())


Ranges = Mapping[str, Range]  # "layer@call.in" and ".out" -> low, high


def calibrate(
    graph_module: GraphModule,
    inputs: Iterable[Arrays],
    method: Method | None = None,
    notes: Path | None = None,
) -> Ranges:
    """Run the program on every input and keep what its convolutions and linear layers saw.

    The same program, inputs and method give the same ranges, interrupted or not. A layer that is
    called at several steps has ranges for each of them; what one call sees in a batch, as the
    branches of guidance, shares a range.

    Args:
        graph_module: an exported program's `.module()`: parameters by name.
        inputs: named arrays, in the program's order; made one at a time.
        notes: a file that keeps what was seen, after each clip; an interrupted calibration of the
            same weights, inputs and method goes on from it. It stays when all is done.

    Raises:
        RequestError: no inputs, inputs of another shape than the program's, or activations that
            are not finite.
    """
    method = method or Method()
    inputs = iter(inputs)
    start = address(graph_module, method)
    sofar, inputs = resumed(notes, start, inputs) if notes else (Sofar(digest=start), inputs)

    def see(call: Call, given: Tensor, made: Tensor) -> None:
        _note(f"{call.key}.{INPUT}", given.numpy(), method, sofar)
        _note(f"{call.key}.{OUTPUT}", made.numpy(), method, sofar)

    for one in watched(graph_module, inputs, see, sofar.clips):
        sofar.finish(one)
        if notes:
            write_notes(notes, sofar)
    if not sofar.clips:
        raise RequestError("there are no calibration clips; give at least one.")
    return {
        key: method.join(np.array(rows), sofar.counted.get(key))
        for key, rows in sorted(sofar.seen.items())
    }


def _note(key: str, values: NDArray[Any], method: Method, sofar: Sofar) -> None:
    """Add one tensor to what was seen."""
    low, high = float(values.min()), float(values.max())
    if not (math.isfinite(low) and math.isfinite(high)):
        raise RequestError(
            f"the activations at {key} are not finite ({low} to {high}); the weights or "
            "the calibration clips are broken."
        )
    sofar.add(key, method.look(values), histogram(values) if method.counts else None)


def to_bytes(ranges: Ranges) -> bytes:
    """Ranges as safetensors: one float32 (low, high) a name; the same ranges, the same bytes."""
    return to_safetensors({key: np.asarray(ends, np.float32) for key, ends in ranges.items()})


def from_bytes(data: bytes, where: str) -> Ranges:
    """The reverse of to_bytes.

    Raises:
        DamagedError: not a ranges file.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        found = {key: (float(low), float(high)) for key, (low, high) in load(data).items()}
    except (SafetensorError, ValueError, TypeError) as error:
        raise DamagedError(f"{where}: damaged ranges ({error}); quantize again.") from error
    if not all(math.isfinite(low) and low <= high < math.inf for low, high in found.values()):
        raise DamagedError(f"{where}: holds ranges that are none; quantize again.")
    return found
