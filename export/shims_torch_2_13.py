"""What torch.onnx 2.13 does twice -> once: a captured program is not traced again."""

from __future__ import annotations

import contextlib
import copy
import functools
from collections.abc import Generator
from typing import TYPE_CHECKING, Any

from minuet.export.quiet import quiet

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


@contextlib.contextmanager
def sparing(settled_one: ExportedProgram) -> Generator[None]:
    """While it lasts, torch.onnx does not interpret a settled program in search of promotions.

    It does so node by node, to write a cast wherever torch mixes element types: half of what is
    left of its time. Where every operator takes floats of one kind there is nothing to find.
    """
    if "run_decompositions" not in vars(settled_one) or not _mixes_nothing(settled_one):
        yield
        return
    from torch.onnx._internal.exporter import _fx_passes

    kept = _fx_passes.insert_type_promotion_nodes
    vars(_fx_passes)["insert_type_promotion_nodes"] = lambda module: None
    try:
        yield
    finally:
        vars(_fx_passes)["insert_type_promotion_nodes"] = kept


def _mixes_nothing(exported: ExportedProgram) -> bool:
    """Whether no operator promotes its inputs; whole numbers beside floats are made floats."""
    import torch
    from torch.fx import Node
    from torch.onnx._internal.fx.passes.type_promotion import TypePromotionTable

    rules = TypePromotionTable()
    for node in exported.graph.nodes:
        packet = getattr(node.target, "overloadpacket", None)
        rule = rules.get_rule(packet) if packet is not None else None
        if rule is None:
            continue
        places = [p for p in getattr(rule, "promote_args_positions", (0,)) if p < len(node.args)]
        values = [node.args[place] for place in places]
        given = [one for v in values for one in (v if isinstance(v, list | tuple) else [v])]
        tensors = [one.meta["val"] for one in given if isinstance(one, Node)]
        if not all(isinstance(tensor, torch.Tensor) for tensor in tensors):
            return False
        kinds = {tensor.dtype for tensor in tensors}
        if len(kinds) != 1 or not kinds.pop().is_floating_point:
            return False
        for place, value in zip(places, values, strict=True):
            if type(value) is int:
                node.update_arg(place, float(value))
    return True


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

        with quiet():  # of torchvision's operators, where that is not installed
            return frozenset(get_onnx_implemented_overloads(ONNXRegistry.from_torchlib(opset)))
    except (ImportError, AttributeError, TypeError):
        return frozenset()
