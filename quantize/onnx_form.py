"""A quantized ONNX model as exported -> the same arithmetic in the form that runs fast and small.

What torch.onnx writes is right, and neither fast nor small: signed activations have no quick
kernel on x86, an int8 weight of a float layer is unpacked at every run, and what stayed float
takes 4 bytes a number. Five rewrites mend that, and change no weight:

    Q and DQ of int8 codes, zero point z   ->  of uint8 codes, zero point z + 128
    int8 W, DQ, float layer                ->  int8 W, Cast, Mul, float layer
    float32 W of codes times scales        ->  those codes and scales (see onnx_codes)
    float32 W, any use                     ->  float16 W, Cast, where that is exact
    two constants of the same bytes        ->  one

Every runtime folds Cast and Mul of constants when it loads a model; DQ it keeps.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minuet.quantize.onnx_codes import store_codes
from minuet.quantize.onnx_graph import QDQ, WORTH_NODES, Graph, rewritten
from minuet.quantize.scales import LOW


def finish(model: Any) -> Any:
    """All rewrites, in place, of an onnx.ModelProto; gives it back."""
    return rewritten(
        model,
        use_unsigned_activations,
        fold_weights,
        store_codes,
        merge_constants,
        halve_constants,
    )


def use_unsigned_activations(graph: Graph) -> None:
    """int8 codes q around z -> uint8 codes q + 128 around z + 128, for activations.

    x86 multiplies unsigned by signed bytes in one instruction (VPDPBUSD); onnxruntime's int8
    convolution of signed activations was slower than the float one.
    """
    for node in graph.proto.node:
        if node.op_type not in QDQ or node.input[0] in graph.constants:
            continue
        zero = graph.array(node.input[2])
        if zero.dtype == np.int8:
            unsigned = (zero.astype(np.int16) - LOW).astype(np.uint8)
            node.input[2] = graph.add(f"{node.input[2]}_unsigned", unsigned)


def fold_weights(graph: Graph) -> None:
    """The int8 weight of a layer that computes in float becomes Cast and Mul, folded at load."""
    from onnx import TensorProto

    unpackers = [
        node
        for node in graph.proto.node
        if node.op_type == "DequantizeLinear"
        and node.input[0] in graph.constants
        and not any(_computes_in_int8(reader, graph) for reader in graph.readers[node.output[0]])
    ]
    for node in unpackers:
        codes, scales = node.input[0], graph.array(node.input[1])
        shape = [1] * len(graph.constants[codes].dims)
        shape[_axis(node)] = -1
        name = graph.add(f"{codes}_scales", scales.reshape(shape))
        wide = f"{node.output[0]}_codes"
        graph.make("Cast", [codes], wide, to=TensorProto.FLOAT)
        graph.make("Mul", [wide, name], node.output[0])
        graph.proto.node.remove(node)


def merge_constants(graph: Graph) -> None:
    """Keep one of equal constants: a grid of coordinates is made anew for every frame's warp."""
    first: dict[tuple[int, tuple[int, ...], bytes], str] = {}
    for name, row in list(graph.constants.items()):
        values = graph.array(name)
        kept = first.setdefault((row.data_type, values.shape, values.tobytes()), name)
        if kept == name:
            continue
        for node in (*graph.first, *graph.proto.node):
            for at, given in enumerate(node.input):
                if given == name:
                    node.input[at] = kept
        graph.drop(name)


def halve_constants(graph: Graph) -> None:
    """Keep large float32 constants as float16 where no bit is lost, as in stored students."""
    from onnx import TensorProto, helper

    for row in list(graph.proto.initializer):
        values = graph.array(row.name)
        if values.dtype != np.float32 or values.size < WORTH_NODES:
            continue
        with np.errstate(over="ignore"):
            halves = values.astype(np.float16)
        if not np.array_equal(halves.astype(np.float32), values):
            continue
        half = graph.add(f"{row.name}_half", halves)
        graph.drop(row.name)
        graph.first.insert(0, helper.make_node("Cast", [half], [row.name], to=TensorProto.FLOAT))


def _computes_in_int8(reader: Any, graph: Graph) -> bool:
    """Whether a node that reads a weight gets its activations from codes too."""
    if reader.op_type == "Transpose":
        return any(_computes_in_int8(one, graph) for one in graph.readers[reader.output[0]])
    return graph.computes_in_codes(reader)


def _axis(node: Any) -> int:
    """The axis along which a DequantizeLinear has its scales."""
    return next((row.i for row in node.attribute if row.name == "axis"), 1)
