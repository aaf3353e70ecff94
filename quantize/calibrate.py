"""Seeded inputs through a captured program -> the range of every quantized layer's activations."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from minuet.contracts.errors import DamagedError, RequestError
from minuet.contracts.tensors import Arrays
from minuet.quantize.layers import Call, calls

if TYPE_CHECKING:
    from torch.fx import GraphModule, Node

METHODS = ("min-max", "percentile")
INPUT, OUTPUT = "in", "out"


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """How the ranges seen on single clips become one.

    min-max: the smallest and the largest value of all. percentile: of each clip the range that
    holds `share` of the values, and of these the mean: one outlier then costs no precision.
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

    def look(self, values: NDArray[Any]) -> tuple[float, float]:
        """The range of one tensor."""
        if self.name == "min-max":
            return float(values.min()), float(values.max())
        low, high = np.quantile(values, [1 - self.share, self.share])
        return float(low), float(high)

    def join(self, seen: NDArray[np.float64]) -> tuple[float, float]:
        """The ranges of all clips, (clips, 2), as one."""
        if self.name == "min-max":
            return float(seen[:, 0].min()), float(seen[:, 1].max())
        return float(seen[:, 0].mean()), float(seen[:, 1].mean())


Ranges = Mapping[str, tuple[float, float]]  # "layer@call.in" and ".out" -> low, high


def calibrate(
    graph_module: GraphModule, inputs: Iterable[Arrays], method: Method | None = None
) -> Ranges:
    """Run the program on every input and keep what its convolutions and linear layers saw.

    The same program, inputs and method give the same ranges. A layer that is called at several
    steps has ranges for each of them.

    Args:
        graph_module: an exported program's `.module()`: parameters by name.
        inputs: named arrays, in the program's order; made one at a time.

    Raises:
        RequestError: no inputs, inputs of another shape than the program's, or activations that
            are not finite.
    """
    import torch

    method = method or Method()
    watch = _watch(graph_module, calls(graph_module), method)
    clips = 0
    for one in inputs:
        try:
            with torch.no_grad():
                watch.run(*(torch.from_numpy(np.ascontiguousarray(v)) for v in one.values()))
        except (RuntimeError, TypeError, AssertionError) as error:
            shapes = {name: value.shape for name, value in one.items()}
            raise RequestError(
                f"the program does not run on calibration input {clips} of shapes {shapes}: "
                f"{str(error).splitlines()[0][:200]}."
            ) from error
        clips += 1
    if not clips:
        raise RequestError("there are no calibration clips; give at least one.")
    return {key: method.join(np.array(rows)) for key, rows in sorted(watch.seen.items())}


def _watch(graph_module: GraphModule, watched: Iterable[Call], method: Method) -> Any:
    """An interpreter of the program that looks at the watched calls' inputs and outputs."""
    from torch.fx import Interpreter

    by_node = {call.node: call for call in watched}

    class Watch(Interpreter):
        def __init__(self) -> None:
            super().__init__(graph_module)
            self.seen: dict[str, list[tuple[float, float]]] = defaultdict(list)

        def run_node(self, n: Node) -> Any:
            value = super().run_node(n)
            call = by_node.get(n)
            if call:
                given = self.env[n.args[0]]  # type: ignore[index]
                self._look(f"{call.key}.{INPUT}", given)
                self._look(f"{call.key}.{OUTPUT}", value)
            return value

        def _look(self, key: str, tensor: Any) -> None:
            low, high = method.look(tensor.numpy())
            if not (math.isfinite(low) and math.isfinite(high)):
                raise RequestError(
                    f"the activations at {key} are not finite ({low} to {high}); the weights or "
                    "the calibration clips are broken."
                )
            self.seen[key].append((low, high))

    return Watch()


def to_bytes(ranges: Ranges) -> bytes:
    """Ranges as safetensors: one float32 (low, high) a name; the same ranges, the same bytes."""
    from safetensors.numpy import save

    return save({key: np.array(ranges[key], np.float32) for key in sorted(ranges)})


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
