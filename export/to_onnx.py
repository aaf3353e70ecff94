"""Program -> ONNX file (opset 18; float32, float16, or int8 where the program carries q/dq)."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from minuet.contracts.artifact import Artifact
from minuet.contracts.errors import RequestError
from minuet.contracts.files import write_bytes
from minuet.export.capture import Program
from minuet.export.files import describe
from minuet.export.halve import halve
from minuet.export.quiet import quiet

# 18, not 21: an int8 model of opset 21 does not load in onnxruntime 1.31 (output_dtype INT8 does
# not match y_zero_point type UINT8), and no newer operator made anything faster.
OPSET = 18
# Where a walk back from sampling coordinates stops: what comes earlier is the network itself.
NETWORK = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})


def export_onnx(
    program: Program,
    bundle: Path,
    precision: str = "fp32",
    *,
    finish: Callable[[Any], Any] | None = None,
) -> Artifact:
    """Write bundle/onnx-<precision>/model.onnx.

    The bytes depend on the program alone: names of source files and stack traces are removed.
    Inputs and outputs keep the signature's dtypes in every precision. int8 takes a program that
    is quantized already (quantize-dequantize pairs, symmetric, per-channel weights).

    Args:
        finish: rewrites the ONNX model before it is written, as a quantizer may want to.
    """
    started = time.perf_counter()
    model = onnx_model(program)
    if precision == "fp16":
        model = half(model)
    if finish:
        model = strip(finish(model))
    return _write(model, bundle, precision, started)


def adopt_onnx(model: Path, bundle: Path, precision: str = "int8") -> Artifact:
    """Take an ONNX file that was made elsewhere (a static quantizer) into a bundle."""
    import onnx

    started = time.perf_counter()
    try:
        loaded = onnx.load(str(model))
        onnx.checker.check_model(loaded)
    except Exception as error:
        raise RequestError(f"{model}: not a sound ONNX model ({error}).") from error
    return _write(strip(loaded), bundle, precision, started)


def onnx_model(program: Program) -> Any:
    """A stripped onnx.ModelProto of a program, float32 outside q/dq pairs."""
    import torch

    names = program.signature
    with quiet(), torch.no_grad():
        made = torch.onnx.export(
            program.exported,
            (),
            dynamo=True,
            opset_version=OPSET,
            input_names=[spec.name for spec in names.inputs],
            output_names=[spec.name for spec in names.outputs],
            verbose=False,
        )
    if made is None:
        raise RequestError("torch.onnx.export gave no model.")
    return strip(made.model_proto)


def strip(model: Any) -> Any:
    """Remove what no runtime reads: stack traces, doc strings, inferred shapes (0.7 MB a step)."""
    del model.graph.value_info[:]
    del model.metadata_props[:]
    del model.graph.metadata_props[:]
    model.doc_string = model.graph.doc_string = ""
    model.producer_name, model.producer_version = "minuet", ""
    rows: Iterable[Any] = (*model.graph.node, *model.graph.input, *model.graph.output)
    for row in (*rows, *model.graph.initializer, *model.functions):
        row.ClearField("doc_string")
        del row.metadata_props[:]
    return model


def half(model: Any) -> Any:
    """The same graph with float16 arithmetic and weights; inputs and outputs stay.

    The coordinates of GridSample stay float32: next to 1 a float16 step is 2^-11, which is an
    eighth of a pixel on a sticker of 512.
    """
    return strip(halve(model, frozenset(sampling_nodes(model))))


def sampling_nodes(model: Any) -> list[str]:
    """Names of the nodes between the network and GridSample's coordinates."""
    makers = {name: node for node in model.graph.node for name in node.output}
    waiting = [node.input[1] for node in model.graph.node if node.op_type == "GridSample"]
    found: dict[str, None] = {}
    while waiting:
        node = makers.get(waiting.pop())
        if node is None or node.op_type in NETWORK or node.name in found:
            continue
        found[node.name] = None
        waiting.extend(node.input)
    return sorted(found)


def _write(model: Any, bundle: Path, precision: str, started: float) -> Artifact:
    path = bundle / f"onnx-{precision}" / "model.onnx"
    write_bytes(path, model.SerializeToString(deterministic=True))
    opset = next(row.version for row in model.opset_import if not row.domain)
    return describe(
        bundle,
        target="onnx",
        precision=precision,
        entry=path,
        requires={"opset": str(opset), "ir": str(model.ir_version)},
        seconds=time.perf_counter() - started,
    )
