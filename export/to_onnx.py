"""Program -> ONNX file (float32, float16, bfloat16, or int8 where the program carries q/dq)."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from minuet.contracts.artifact import Artifact
from minuet.contracts.tensors import Signature
from minuet.export.capture import Program
from minuet.export.files import describe
from minuet.export.halve import WIDTHS, halve
from minuet.export.onnx_consumers import opset_for
from minuet.export.onnx_graph import Note, graph_of, strip
from minuet.export.onnx_read import read_onnx
from minuet.export.onnx_stages import note_stages
from minuet.export.onnx_write import LIMIT_BYTES, bare, write_onnx
from minuet.export.rewrites.engine import Log
from minuet.export.rewrites.table import rewrite
from minuet.export.sources.onnx_file import OnnxProgram

if TYPE_CHECKING:
    import onnx_ir as ir

CONSUMER = "onnxruntime"  # the one that a base install brings


def export_onnx(
    program: Program,
    bundle: Path,
    precision: str = "fp32",
    *,
    consumer: str = CONSUMER,
    finish: Callable[[Any], Any] | None = None,
    note: Note = note_stages,
    inline_bytes: int = LIMIT_BYTES,
) -> Artifact:
    """Write bundle/onnx-<precision>/model.onnx, its .data where that is too large, rewrites.json.

    The bytes depend on the program alone: names of source files and stack traces are removed.
    Inputs and outputs keep the signature's dtypes in every precision. int8 takes a program that
    is quantized already (quantize-dequantize pairs, symmetric, per-channel weights).

    Args:
        consumer: who will read it; a row of onnx_consumers.
        finish: rewrites the onnx.ModelProto before it is written, as a quantizer may want to.
        note: what operators are timed as; stages, or layers.
        inline_bytes: weights that together take more lie in a file of their own.
    """
    started = time.perf_counter()
    model, log = onnx_graph(program, precision, consumer, note)
    if finish:
        model = finished(model, finish)
    to = bundle, precision, started
    return _write(model, *to, inline_bytes=inline_bytes, consumer=consumer, log=log)


def adopt_onnx(
    model: Path,
    bundle: Path,
    precision: str = "int8",
    *,
    signature: Signature | None = None,
    inline_bytes: int = LIMIT_BYTES,
) -> Artifact:
    """Take an ONNX file that was made elsewhere (a static quantizer) into a bundle.

    Raises:
        DamagedError: it lies about its shapes, its sizes, or where its weights are.
        RequestError: it is no model, takes custom operators, or is not what the signature says.
    """
    started = time.perf_counter()
    found = strip(read_onnx(model, signature))
    return _write(found, bundle, precision, started, inline_bytes=inline_bytes)


def onnx_graph(
    program: Program | OnnxProgram,
    precision: str = "fp32",
    consumer: str = CONSUMER,
    note: Note = note_stages,
) -> tuple[ir.Model, Log]:
    """A model in memory, in a precision, for a reader, and the log of what rules rewrote.

    The model's weights are torch's own, or the file's, until they are read.
    """
    if isinstance(program, OnnxProgram):  # which keeps its own operators
        return program.graph(precision), Log()
    rewritten, log = rewrite(program, "tensorrt" if consumer == "tensorrt" else "onnx")
    model = graph_of(rewritten, opset_for(consumer, precision), note)
    return halve(model, precision) if precision in WIDTHS else model, log


def onnx_model(program: Program, precision: str = "fp32", consumer: str = CONSUMER) -> Any:
    """The same as an onnx.ModelProto, with a copy of every weight: for what wants bytes."""
    return _proto(onnx_graph(program, precision, consumer)[0])


def half(model: Any) -> Any:
    """A float16 copy of an onnx.ModelProto; inputs and outputs stay, and so do coordinates."""
    import onnx_ir as ir

    return _proto(halve(ir.from_proto(model), "fp16"))


def _proto(model: ir.Model) -> Any:
    import onnx_ir as ir

    return bare(ir.to_proto(model))


def finished(model: ir.Model, finish: Callable[[Any], Any]) -> ir.Model:
    """A model after what rewrites an onnx.ModelProto."""
    import onnx_ir as ir

    return strip(ir.from_proto(finish(_proto(model))))


def _write(
    model: ir.Model,
    bundle: Path,
    precision: str,
    started: float,
    *,
    inline_bytes: int,
    consumer: str = CONSUMER,
    log: Log | None = None,
) -> Artifact:
    path = bundle / f"onnx-{precision}" / "model.onnx"
    write_onnx(model, path, inline_bytes=inline_bytes)
    if log:
        log.write_beside(path)
    requires = {"opset": str(model.opset_imports[""]), "ir": str(model.ir_version)}
    return describe(
        bundle,
        target="onnx",
        precision=precision,
        entry=path,
        requires=requires | ({} if consumer == CONSUMER else {"consumer": consumer}),
        seconds=time.perf_counter() - started,
    )
