"""What torch.onnx 2.13 does twice -> once: a captured program is not traced again."""

from __future__ import annotations

import copy
import functools
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch.export import ExportedProgram


def settled(exported: ExportedProgram, opset: int) -> ExportedProgram:
    """A copy that torch.onnx takes as it is, where it has a translation of every operator.

    torch.onnx traces a program anew to take apart what it cannot translate: three quarters of its
    time (a UNet of 79 M parameters), for nothing where it can translate everything and nothing is
    changed in place. A program of which that is not known is given back untouched.
    """
    import torch

    aten = torch.ops.aten
    targets = {node.target for node in exported.graph.nodes if node.op == "call_function"}
    casts = {aten.to.dtype, aten.to.dtype_layout}
    removed = {aten._assert_tensor_metadata.default, aten._assert_scalar.default}
    known = _translated(opset) | casts | removed
    if _changes_in_place(exported, targets) or not targets <= known:
        return exported
    graph = copy.deepcopy(exported.graph)
    for node in graph.nodes:
        if node.target in casts:
            dtype = node.args[1] if len(node.args) > 1 else node.kwargs.get("dtype")
            node.target = aten._to_copy.default
            node.args, node.kwargs = node.args[:1], {} if dtype is None else {"dtype": dtype}
    twin = copy.copy(exported)
    twin._graph_module = torch.fx.GraphModule(exported.graph_module, graph)
    vars(twin)["run_decompositions"] = lambda *_: twin
    return twin


def _changes_in_place(exported: ExportedProgram, targets: set[Any]) -> bool:
    signature = exported.graph_signature
    if signature.buffers_to_mutate or signature.user_inputs_to_mutate:
        return True
    schemas = [getattr(target, "_schema", None) for target in targets]
    return any(schema is not None and schema.is_mutable for schema in schemas)


@functools.cache
def _translated(opset: int) -> frozenset[Any]:
    """Every operator that has a translation; none where torch.onnx is another than was known."""
    try:
        from torch.onnx._internal.exporter._decomp import get_onnx_implemented_overloads
        from torch.onnx._internal.exporter._registration import ONNXRegistry

        return frozenset(get_onnx_implemented_overloads(ONNXRegistry.from_torchlib(opset)))
    except (ImportError, AttributeError, TypeError):
        return frozenset()
