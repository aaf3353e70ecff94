"""A calibrated int8 ONNX model -> the same layers, activations of 16 bits (w8a16).

Hexagon, by ONNX Runtime's QNN provider, multiplies int8 weights by uint16 activations. The ranges
are the int8 model's own, and so is all that stays float; each of its 255 steps becomes 257:

    Q and DQ of int8 codes, scale s, zero point z
        ->  of uint16 codes, scale s / 257, zero point (z + 128) * 257

Codes of 16 bits are in the operator set from 21 on.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minuet.quantize.onnx_form import fold_weights, halve_constants, merge_constants
from minuet.quantize.onnx_graph import QDQ, Graph, rewritten
from minuet.quantize.scales import LOW

STEPS = 65535 // 255  # of uint16 for each of int8's: both ends of the range stay where they are


def finish(model: Any) -> Any:
    """All rewrites, in place, of an onnx.ModelProto; gives it back."""
    return rewritten(model, widen_activations, fold_weights, merge_constants, halve_constants)


def widen_activations(graph: Graph) -> None:
    """int8 codes of activations -> uint16 codes of the same range."""
    for node in graph.proto.node:
        if node.op_type not in QDQ or node.input[0] in graph.constants:
            continue
        zero = graph.array(node.input[2])
        if zero.dtype != np.int8:
            continue
        finer = (graph.array(node.input[1]) / STEPS).astype(np.float32)
        node.input[1] = graph.add(f"{node.input[1]}_of_16", finer)
        shifted = (zero.astype(np.int32) - LOW) * STEPS
        node.input[2] = graph.add(f"{node.input[2]}_of_16", shifted.astype(np.uint16))
