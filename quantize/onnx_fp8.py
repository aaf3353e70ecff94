"""A calibrated int8 ONNX model, weights in float -> the same layers in float8 e4m3 (fp8).

    Q and DQ of int8 codes, scale s  ->  of float8, scale s * 127 / 448: the same range
    float32 W, a layer that reads codes  ->  float8 W, DQ, one scale an output channel

Micikevicius et al. 2022 (arXiv 2209.05433): e4m3 has 448 as its largest number, no infinities, and
3 bits of mantissa, so that its error grows with the number and not with the range: zero points mean
nothing to it. What exceeds 448 saturates.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from minuet.quantize.onnx_graph import QDQ, Graph, rewritten
from minuet.quantize.scales import SMALLEST, SYMMETRIC_HIGH

LARGEST = 448.0  # of e4m3


def finish(model: Any) -> Any:
    """Both rewrites, in place, of an onnx.ModelProto of operator set 19 or later; gives it back."""
    return rewritten(model, narrow_activations, narrow_weights)


def narrow_activations(graph: Graph) -> None:
    """int8 codes of activations -> float8 of the same range."""
    for node in graph.proto.node:
        if node.op_type not in QDQ or graph.array(node.input[2]).dtype != np.int8:
            continue
        assert not graph.array(node.input[2]).any(), node.name
        scale = graph.array(node.input[1]) * np.float32(SYMMETRIC_HIGH / LARGEST)
        node.input[1] = graph.add(f"{node.input[1]}_of_fp8", scale)
        node.input[2] = _zeros(graph, ())


def narrow_weights(graph: Graph) -> None:
    """Every weight of a layer that reads float8 becomes float8, once."""
    from onnx import helper

    for node in graph.proto.node:
        if not (graph.computes_in_codes(node) and node.input[1] in graph.constants):
            continue
        given, axis = node.input[1], _channels(node, graph)
        made = f"{given}_from_fp8"
        if made not in graph.makers:
            codes, scales = encode(graph.array(given), axis)
            inputs = [graph.add(f"{given}_fp8", codes), graph.add(f"{given}_scales", scales)]
            inputs.append(_zeros(graph, scales.shape))
            unpacker = helper.make_node("DequantizeLinear", inputs, [made], made, axis=axis)
            graph.makers[made] = unpacker
            graph.first.append(unpacker)
        node.input[1] = made


def encode(weight: NDArray[Any], axis: int) -> tuple[NDArray[Any], NDArray[np.float32]]:
    """A weight -> float8 numbers and one float32 scale a channel along an axis: max |w| / 448."""
    import ml_dtypes

    others = tuple(at for at in range(weight.ndim) if at != axis)
    scales = np.maximum(np.abs(weight).max(axis=others) / LARGEST, SMALLEST).astype(np.float32)
    shape = [1] * weight.ndim
    shape[axis] = -1
    # Rounding to float8 does not saturate: a quotient just above 448 would become no number.
    codes = np.clip(weight / scales.reshape(shape), -LARGEST, LARGEST)
    return codes.astype(ml_dtypes.float8_e4m3fn), scales


def _zeros(graph: Graph, shape: tuple[int, ...]) -> str:
    """Zero points, which say of what type the codes are."""
    import ml_dtypes

    zeros = np.zeros(shape, ml_dtypes.float8_e4m3fn)
    return graph.add(f"zero_of_fp8_{'x'.join(map(str, shape))}", zeros)


def _channels(node: Any, graph: Graph) -> int:
    """The axis of a weight along which the output channels lie."""
    if node.op_type == "MatMul":
        return len(graph.constants[node.input[1]].dims) - 1
    turned = any(row.name == "transB" and row.i for row in node.attribute)
    return 0 if node.op_type == "Conv" or turned else 1
