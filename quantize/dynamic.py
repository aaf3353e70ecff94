"""An ONNX model -> its linear layers of int8 codes compute in int8, by each tensor's own range.

Nothing is calibrated: before every layer its input is searched for its least and largest number.
Convolutions stay float: ONNX Runtime has no quick kernel for them that does so.

    x, W of int8 codes   ->  DynamicQuantizeLinear(x), MatMulInteger(codes), Cast, Mul, Add

ONNX Runtime fuses the last four into one kernel. A weight is known by its numbers (onnx_codes).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from minuet.contracts.codes import Coded, block_of, find
from minuet.quantize import onnx_form
from minuet.quantize.onnx_graph import Graph, rewritten


def finish(model: Any) -> Any:
    """onnx_form.finish of a model whose linear layers of int8 codes are dynamic; in place."""
    return onnx_form.finish(rewritten(model, make_dynamic))


def make_dynamic(graph: Graph) -> None:
    """Compute every product with int8 codes in int8."""
    nodes, coded = list[Any](), set[str]()
    for node in list(graph.proto.node):
        found = codes_of(node, graph)
        nodes += [node] if found is None else _integer(node, found, graph, coded)
    del graph.proto.node[:]
    graph.proto.node.extend(nodes)


def codes_of(node: Any, graph: Graph) -> Coded | None:
    """The codes of a linear layer's weight, inputs first; None of any other node."""
    plain = {"alpha": 1.0, "beta": 1.0, "transA": 0}
    given = {row.name: row.f if row.name in ("alpha", "beta") else row.i for row in node.attribute}
    if node.op_type not in ("Gemm", "MatMul") or node.input[1] not in graph.constants:
        return None
    weight = graph.array(node.input[1])
    if weight.ndim != 2 or weight.dtype != np.float32:
        return None
    if any(given.get(name, usual) != usual for name, usual in plain.items()):
        return None
    rows = weight if given.get("transB") else weight.T
    found = find(rows, 8, block_of(rows.shape, 8))
    return found and found.turned()


def _integer(node: Any, found: Coded, graph: Graph, coded: set[str]) -> Iterator[Any]:
    """The nodes in place of one linear layer; an input that several read is coded once."""
    from onnx import TensorProto, helper

    given, weight, made = node.input[0], node.input[1], node.output[0]
    codes = graph.add(f"{weight}_codes", np.ascontiguousarray(found.codes))
    scales = graph.add(f"{weight}_scales", found.scales.astype(np.float32).reshape(-1))
    code = [f"{given}_{part}" for part in ("codes", "scale", "zero")]
    if given not in coded:
        coded.add(given)
        yield helper.make_node("DynamicQuantizeLinear", [given], code)
    sums, wide, scale, product = (f"{made}_{part}" for part in ("sums", "wide", "scale", "product"))
    bias = list(node.input[2:])
    yield helper.make_node("MatMulInteger", [code[0], codes, code[2]], [sums])
    yield helper.make_node("Cast", [sums], [wide], to=TensorProto.FLOAT)
    yield helper.make_node("Mul", [code[1], scales], [scale])
    yield helper.make_node("Mul", [wide, scale], [product if bias else made])
    if bias:
        yield helper.make_node("Add", [product, *bias], [made])
