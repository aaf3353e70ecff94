"""An ONNX graph of rounded weights -> codes and scales, and nodes that every runtime folds at load.

    float32 W of int8 codes   ->  int8 codes, Cast, Mul
    float32 W of int4 codes   ->  uint8 bytes of two codes; x / 16 rounded down is one, what is
                                  left the other; Sub 8, and Reshape, Mul, Reshape for groups

No operator of bits: OpenVINO 2026.4 does not fold those, and unpacks at every run. W is kept bit
for bit: one that is no product of codes and scales stays as it is.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minuet.contracts.codes import Coded, coded, packed_nibbles
from minuet.contracts.tensors import Array
from minuet.quantize.onnx_graph import WORTH_NODES, Graph


def store_codes(graph: Graph) -> None:
    """Replace every weight that has codes, in place; a matrix may lie transposed."""
    for name in [row.name for row in graph.proto.initializer]:
        found = codes_of(graph.array(name))
        if found:
            graph.drop(name)
            _unpack4(graph, name, found) if found.bits == 4 else _unpack8(graph, name, found)


def codes_of(weight: Array) -> Coded | None:
    """The codes of a constant that is worth it; an odd one would need a node more."""
    if weight.dtype != np.float32 or weight.size < WORTH_NODES or weight.size % 2:
        return None
    return coded(weight)


def _unpack8(graph: Graph, name: str, found: Coded) -> None:
    from onnx import TensorProto

    codes = graph.add(f"{name}_codes", np.ascontiguousarray(found.codes))
    wide = graph.make("Cast", [codes], f"{name}_wide", to=TensorProto.FLOAT)
    graph.make("Mul", [wide, _scales(graph, name, found)], name)


def _unpack4(graph: Graph, name: str, found: Coded) -> None:
    from onnx import TensorProto

    def number(value: float) -> str:
        return graph.add(f"nibbles_{value:g}", np.array([value], np.float32))

    both = graph.add(f"{name}_codes", packed_nibbles(found.codes))
    wide = graph.make("Cast", [both], f"{name}_wide", to=TensorProto.FLOAT)
    high = graph.make("Mul", [wide, number(1 / 16)], f"{name}_sixteenth")
    high = graph.make("Floor", [high], f"{name}_high")
    above = graph.make("Mul", [high, number(16)], f"{name}_above")
    low = graph.make("Sub", [wide, above], f"{name}_low")
    codes = graph.make("Concat", [low, high], f"{name}_both", axis=0)
    signed = graph.make("Sub", [codes, number(8)], f"{name}_signed")
    boxes = graph.add(f"{name}_boxes", _sizes(boxed(found)[0]))
    grouped = graph.make("Reshape", [signed, boxes], f"{name}_grouped")
    scaled = graph.make("Mul", [grouped, _scales(graph, name, found)], f"{name}_scaled")
    shape = graph.add(f"{name}_shape", _sizes(found.codes.shape))
    graph.make("Reshape", [scaled, shape], name)


def _scales(graph: Graph, name: str, found: Coded) -> str:
    """One for each box, so that they broadcast over it; stored in float16 where they are many."""
    shape = boxed(found)[1] if found.bits == 4 else found.scales.shape
    return graph.add(f"{name}_scales", found.scales.astype(np.float32).reshape(shape))


def boxed(found: Coded) -> tuple[list[int], list[int]]:
    """Shapes of codes and scales in which a block has axes of its own: (O, 96) -> (O, 3, 32)."""
    codes, scales = list[int](), list[int]()
    for size, count in zip(found.codes.shape, found.scales.shape, strict=True):
        pairs = [(count, count), (size // count, 1)]
        kept = [pair for pair in pairs if pair[0] > 1]
        codes += [pair[0] for pair in kept]
        scales += [pair[1] for pair in kept]
    return codes, scales


def _sizes(shape: Any) -> Array:
    return np.array(shape, np.int64)
