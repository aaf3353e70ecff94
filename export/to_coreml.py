"""Program -> Core ML package (mlprogram for iOS 18; float16 or float32 arithmetic)."""

from __future__ import annotations

import json
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from minuet.contracts.artifact import Artifact
from minuet.contracts.errors import RequestError
from minuet.contracts.files import write_bytes
from minuet.export import shims_coreml_9_0 as shims
from minuet.export.capture import Program
from minuet.export.files import describe
from minuet.export.quiet import quiet

if TYPE_CHECKING:
    from torch.export import ExportedProgram

MODEL = "Data/com.apple.CoreML/model.mlmodel"
NETWORK = frozenset({"conv", "conv_transpose", "linear", "matmul"})


def export_coreml(program: Program, bundle: Path, precision: str = "fp16") -> Artifact:
    """Write bundle/coreml-<precision>/model.mlpackage.

    Core ML has no uint8 outputs: frames leave as float32 of 0..255, to be truncated by the host
    as the program itself would.
    """
    started = time.perf_counter()
    model = _convert(program, precision)
    path = bundle / f"coreml-{precision}" / "model.mlpackage"
    with quiet():
        model.save(str(path))
    _make_reproducible(path)
    return describe(
        bundle,
        target="coreml",
        precision=precision,
        entry=path,
        requires={"ios": "18", "macos": "15", "frames": "float32 0..255"},
        seconds=time.perf_counter() - started,
    )


def _convert(program: Program, precision: str) -> Any:
    with quiet():
        import coremltools as ct

        shims.register()
        arithmetic = {
            "fp16": ct.transform.FP16ComputePrecision(op_selector=may_be_half),
            "fp32": ct.precision.FLOAT32,
        }
        try:
            return ct.convert(
                float_outputs(program.exported).run_decompositions(shims.decompositions()),
                convert_to="mlprogram",
                minimum_deployment_target=ct.target.iOS18,
                compute_precision=arithmetic[precision],
                outputs=[
                    ct.TensorType(name=s.name, dtype=np.float32) for s in program.signature.outputs
                ],
                skip_model_load=True,
            )
        except Exception as error:
            raise RequestError(
                f"coremltools could not convert the program: {str(error)[:300]}."
            ) from error


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
    """Whether an operation may compute in float16: all but those that place samples.

    Next to 1 a float16 step is 2^-11: an eighth of a pixel on a sticker of 512.
    """
    return op.op_type != "resample" and not _places_samples(op, depth=0)


def _places_samples(op: Any, depth: int) -> bool:
    if depth > 12 or op.op_type in NETWORK:
        return False
    users = [(user, out) for out in op.outputs for user in out.child_ops]
    return any(
        (user.op_type == "resample" and user.inputs.get("coordinates") is out)
        or (user.op_type != "resample" and _places_samples(user, depth + 1))
        for user, out in users
    )


def _make_reproducible(package: Path) -> None:
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
