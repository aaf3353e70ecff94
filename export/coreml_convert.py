"""Program -> coremltools' model, in the form that Core ML takes, of float16 or float32."""

from __future__ import annotations

import json
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from minuet.contracts.errors import RequestError
from minuet.contracts.files import write_bytes
from minuet.contracts.tensors import Signature
from minuet.export import shims_coreml_9_0 as shims
from minuet.export.blame import ADVICE, blame, owner
from minuet.export.capture import Program
from minuet.export.coreml_palettes import tabled
from minuet.export.coreml_weights import CODED, stored_in_codes
from minuet.export.quiet import quiet
from minuet.export.rewrites.engine import Log
from minuet.export.rewrites.table import rewrite

if TYPE_CHECKING:
    from torch.export import ExportedProgram

MODEL = "Data/com.apple.CoreML/model.mlmodel"
MOST_AXES = 5
NETWORK = frozenset({"conv", "conv_transpose", "linear", "matmul"})
PLACED = ("sin", "cos")


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """What the converter is given: operators that it knows, under the names that a package has."""

    exported: ExportedProgram
    log: Log  # what rules rewrote on the way there


def formed(program: Program, *, free: bool = False) -> Form:
    """A program in the form that the converter takes.

    Args:
        free: some sizes are not known; the rewriting rules, which count on them, are left out.

    Raises:
        RequestError: an operator that cannot be converted, named.
    """
    with quiet():
        shims.register()
        known, log = (program, Log()) if free else rewrite(program, "coreml")
        return Form(exported=shims.lowered(float_outputs(known.exported)), log=log)


def convert(
    program: Program, precision: str, ios: int, sizes: Sequence[Signature] = ()
) -> tuple[Any, Form]:
    """A program as coremltools' model, not loaded, and the form that it was made from.

    Raises:
        RequestError: the converter refused; the operator and its module are named if it names one.
    """
    form = formed(program, free=bool(sizes))
    with quiet():
        import coremltools as ct

        half = ct.transform.FP16ComputePrecision(op_selector=may_be_half)
        try:
            model = ct.convert(
                form.exported,
                convert_to="mlprogram",
                minimum_deployment_target=ct.target[f"iOS{ios}"],
                compute_precision=ct.precision.FLOAT32 if precision == "fp32" else half,
                inputs=_inputs(program.signature, sizes),
                outputs=[
                    ct.TensorType(name=s.name, dtype=np.float32) for s in program.signature.outputs
                ],
                skip_model_load=True,
            )
        except Exception as error:
            insist_axes(form.exported, error)
            where = blame(program, error)
            raise RequestError(
                f"coremltools could not convert {where or 'the program'}: {str(error)[:300]}."
                + (f" {ADVICE}" if where else "")
            ) from error
    if precision == "palettes":
        return tabled(model, ios), form
    return (stored_in_codes(model) if precision in CODED else model), form


def save(model: Any, path: Path) -> None:
    """Write a package; the same model gives the same bytes."""
    with quiet():
        model.save(str(path))
    make_reproducible(path)


def insist_axes(form: ExportedProgram, error: Exception) -> None:
    """Name the operator where the converter found too many axes; it folds some of them itself.

    Raises:
        RequestError: the first operator that gives too many.
    """
    if f"rank <= {MOST_AXES}" not in str(error):
        return
    for node in form.graph.nodes:
        axes = getattr(node.meta.get("val"), "ndim", 0)
        if axes > MOST_AXES:
            raise RequestError(
                f"Core ML has at most {MOST_AXES} axes, and {node.target} of {owner(node)} gives "
                f"{axes}. Fold axes that are neighbours before and after it. {ADVICE}"
            ) from error


def _inputs(signature: Signature, sizes: Sequence[Signature]) -> list[Any]:
    import coremltools as ct

    found = []
    for place, spec in enumerate(signature.inputs):
        shapes = [spec.shape or (1,)] + [one.inputs[place].shape for one in sizes]
        shape: Any = shapes[0]
        if len(set(shapes)) > 1:
            shape = ct.EnumeratedShapes(shapes=shapes, default=shapes[0])
        found.append(ct.TensorType(name=spec.name, shape=shape))
    return found


def float_outputs(exported: ExportedProgram) -> ExportedProgram:
    """A copy of the program without the casts to uint8 in front of its outputs."""
    import copy

    import torch

    # A shallow copy of the graph: weights are shared, the caller's program stays as it was.
    graph = copy.deepcopy(exported.graph_module)
    out = next(node for node in graph.graph.nodes if node.op == "output")
    renamed: dict[str, str] = {}
    results = []
    for node in out.args[0]:
        source = node
        if node.meta["val"].dtype == torch.uint8 and node.op == "call_function":
            source = node.args[0]
            renamed[node.name] = source.name
        results.append(source)
    out.args = (tuple(results),)
    graph.graph.eliminate_dead_code()
    graph.recompile()
    return _with_graph(exported, graph, renamed)


def _with_graph(exported: ExportedProgram, graph: Any, renamed: dict[str, str]) -> ExportedProgram:
    import copy

    from torch.export import ExportedProgram as Made

    signature = copy.deepcopy(exported.graph_signature)
    for spec in signature.output_specs:
        spec.arg.name = renamed.get(spec.arg.name, spec.arg.name)
    return Made(
        root=graph,
        graph=graph.graph,
        graph_signature=signature,
        state_dict=exported.state_dict,
        range_constraints=exported.range_constraints,
        module_call_graph=exported.module_call_graph,
        constants=exported.constants,
        verifiers=exported.verifiers,
    )


def may_be_half(op: Any) -> bool:
    """Whether an operation may compute in float16: all but those that place samples, or phases.

    Next to 1 a float16 step is 2^-11, an eighth of a pixel on a sticker of 512; next to 999, the
    first phase of many a network that is told the time, it is a half.
    """
    return op.op_type not in (*PLACED, "resample") and not _places(op, depth=0)


def _places(op: Any, depth: int) -> bool:
    """Whether what an operation gives becomes a coordinate or a phase before a network sees it."""
    if depth > 12 or op.op_type in NETWORK:
        return False
    users = [(user, out) for out in op.outputs for user in out.child_ops]
    return any(
        user.op_type in PLACED
        or (user.op_type == "resample" and user.inputs.get("coordinates") is out)
        or (user.op_type != "resample" and _places(user, depth + 1))
        for user, out in users
    )


def make_reproducible(package: Path) -> None:
    """Give the package's parts names by content instead of random ones, and fix the order."""
    import coremltools as ct

    # Written for another library; the package's own index does not know it.
    (package / "executorch_debug_handle_mapping.json").unlink(missing_ok=True)
    model = ct.proto.Model_pb2.Model()
    model.ParseFromString((package / MODEL).read_bytes())
    write_bytes(package / MODEL, model.SerializeToString(deterministic=True))
    index = json.loads((package / "Manifest.json").read_text())
    stable = {
        old: str(uuid.uuid5(uuid.NAMESPACE_URL, row["path"])).upper()
        for old, row in index["itemInfoEntries"].items()
    }
    index["itemInfoEntries"] = {stable[old]: row for old, row in index["itemInfoEntries"].items()}
    index["rootModelIdentifier"] = stable[index["rootModelIdentifier"]]
    # With its newline: Core ML's tools rewrite an index that looks otherwise when they open it.
    text = json.dumps(index, indent=4, sort_keys=True) + "\n"
    write_bytes(package / "Manifest.json", text.encode())
