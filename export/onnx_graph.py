"""Program -> ONNX graph in memory; its weights stay where torch has them, uncopied."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from minuet.contracts.errors import RequestError
from minuet.contracts.stages import KEY
from minuet.export.blame import ADVICE, blame
from minuet.export.capture import Program
from minuet.export.onnx_stages import note_stages
from minuet.export.quiet import quiet
from minuet.export.shims_torch_2_13 import settled, sparing

if TYPE_CHECKING:
    import onnx_ir as ir
    from torch.export import ExportedProgram

SAME_BELOW = 1 << 20  # elements; what is larger comes from one parameter, which is one already


Note = Callable[["ir.Model"], None]


def graph_of(program: Program, opset: int, note: Note = note_stages) -> ir.Model:
    """A bare, simplified model, in the program's own precision.

    Args:
        note: writes what operators are parts of, while they still know their modules.

    Raises:
        RequestError: an operator has no ONNX form; it is named, with the module that holds it.
    """
    inputs = [spec.name for spec in program.signature.inputs]
    outputs = [spec.name for spec in program.signature.outputs]
    try:
        return graph_from(program.exported, inputs, outputs, opset, note)
    except RequestError as error:
        if what := blame(program, error):
            raise RequestError(f"{what} has no ONNX form. {ADVICE}") from error
        raise


def graph_from(
    exported: ExportedProgram,
    inputs: Sequence[str],
    outputs: Sequence[str],
    opset: int,
    note: Note = note_stages,
) -> ir.Model:
    """The same of a captured graph, whose shapes may be open, and the names of its edges."""
    import torch

    program = settled(exported, opset)
    with quiet(), torch.no_grad(), sparing(program):
        try:
            made = torch.onnx.export(
                program,
                (),
                dynamo=True,
                optimize=False,  # simplify() does what pays of it
                opset_version=opset,
                verbose=False,
            )
        except Exception as error:
            said = (str(error).strip() or type(error).__name__).splitlines()[0][:300]
            raise RequestError(f"torch.onnx could not translate the program: {said}") from error
        if made is None:
            raise RequestError("torch.onnx.export gave no model.")
        model = name_edges(simplify(made.model), inputs, outputs)
        note(model)
        return strip(model)


def simplify(model: ir.Model) -> ir.Model:
    """Fold constants, drop what does nothing or is there twice."""
    from onnx_ir.passes import common
    from onnxscript.optimizer import fold_constants_ir
    from onnxscript.rewriter import rewrite

    common.InlinePass()(model)
    fold_constants_ir(model, onnx_shape_inference=True)
    # First, for the rules below look at every node that is there.
    common.RemoveUnusedNodesPass()(model)
    common.IdentityEliminationPass()(model)
    rewrite(model, _rules())
    common.IdentityEliminationPass()(model)  # a division by 1 has become one
    turn_weights(model)
    common.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0)(model)
    common.RemoveUnusedNodesPass()(model)
    share_equal_constants(model)
    common.CommonSubexpressionEliminationPass()(model)
    common.RemoveUnusedFunctionsPass()(model)  # type: ignore[no-untyped-call]
    common.RemoveUnusedOpsetsPass()(model)
    common.OutputFixPass()(model)
    return model


def name_edges(model: ir.Model, inputs: Sequence[str], outputs: Sequence[str]) -> ir.Model:
    """Names for a graph's edges, and for all else names that are none of these.

    Not torch's to name: it takes an input that is handed on for the output, and lets neither be
    named like a weight.
    """
    from onnx_ir.passes.common import NameFixPass

    edges = [*model.graph.inputs, *model.graph.outputs]
    for value, name in zip(edges, [*inputs, *outputs], strict=True):
        taken = model.graph.initializers.get(name)
        if taken is not None and taken is not value:
            taken.name = f"{name}.held"
        value.name = name
    NameFixPass()(model)
    return model


def strip(model: ir.Model) -> ir.Model:
    """Remove what no runtime reads: stack traces, doc strings (0.7 MB a step), the maker.

    Of where operators came from the table of stages stays.
    """
    from onnx_ir.passes.common import ClearMetadataAndDocStringPass

    kept = {key: value for key, value in model.metadata_props.items() if key == KEY}
    ClearMetadataAndDocStringPass()(model)
    model.metadata_props.clear()
    model.metadata_props.update(kept)
    for value in (*model.graph.inputs, *model.graph.outputs, *model.graph.initializers.values()):
        value.metadata_props.clear()
        value.doc_string = None
    model.graph.doc_string = model.doc_string = None
    model.producer_name, model.producer_version = "minuet", None
    model.graph.name = "main"
    return model


def share_equal_constants(model: ir.Model) -> None:
    """Of constants with the same bytes keep the first: the steps of a fused program repeat them."""
    seen: dict[tuple[Any, ...], ir.Value] = {}
    for name, value in list(model.graph.initializers.items()):
        tensor = value.const_value
        if tensor is None or tensor.size > SAME_BELOW or value.is_graph_output():
            continue
        digest = hashlib.sha256(tensor.tobytes()).digest()
        first = seen.setdefault((tensor.dtype, tuple(tensor.shape), digest), value)
        if first is not value:
            value.replace_all_uses_with(first)
            del model.graph.initializers[name]


def turn_weights(model: ir.Model) -> None:
    """Transposed weights are kept transposed, not transposed at every load.

    torch keeps a linear layer's weight as (out, in), MatMul wants (in, out).
    """
    for node in list(model.graph):
        source = node.inputs[0] if node.op_type == "Transpose" else None
        turned = node.outputs[0]
        if source is None or source.const_value is None or not source.is_initializer():
            continue
        if turned.is_graph_output() or "perm" not in node.attributes:
            continue
        stored, perm = source.const_value, node.attributes["perm"].as_ints()
        made = _initializer(f"{source.name}.turned{''.join(map(str, perm))}", _turn(stored, perm))
        if made.name not in model.graph.initializers:
            model.graph.initializers.add(made)
        turned.replace_all_uses_with(model.graph.initializers[made.name or ""])
        model.graph.remove(node, safe=True)
        if not source.uses():
            del model.graph.initializers[source.name or ""]


def _turn(stored: Any, perm: Any) -> Any:
    """A tensor that is transposed when it is read, and forgotten afterwards."""
    import onnx_ir as ir

    def turned() -> Any:
        return ir.Tensor(np.ascontiguousarray(stored.numpy().transpose(perm)), dtype=stored.dtype)

    shape = ir.Shape([stored.shape[axis] for axis in perm])
    return ir.LazyTensor(turned, dtype=stored.dtype, shape=shape)


def _initializer(name: str, tensor: Any) -> ir.Value:
    import onnx_ir as ir

    tensor.name = name
    kind = ir.TensorType(tensor.dtype)
    return ir.Value(name=name, shape=tensor.shape, type=kind, const_value=tensor)


def _rules() -> list[Any]:
    """The rules of onnxscript that are cheap to try and were seen to do something.

    Left out above all: slice_split_rule, which walks the whole graph for each Slice, and took
    as long as the folding of all constants.
    """
    from onnxscript.rewriter.rules import common as rules

    return [
        rules.mul_by_1_rule,
        rules.add_0_rule,
        rules.sub_0_rule,
        rules.div_by_1_rule,
        rules.two_reshapes_matmul_reshape_rule,
        rules.one_reshape_matmul_reshape_rule,
        rules.cast_cast_rule,
        rules.no_op_cast_rule,
        rules.no_op_expand_rule,
        rules.no_op_transpose_rule,
        rules.reshape_reshape_rule,
        rules.transpose_transpose_rule,
        rules.unsqueeze_unsqueeze_rule,
    ]
