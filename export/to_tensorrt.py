"""Program -> TensorRT engine for named kinds of GPU, by way of an ONNX file that stays beside it.

The ONNX file is the model; the engine is a compiled copy for one library version and a list of
devices. Where an engine does not fit or is not trusted, it is built again from the file.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from minuet.contracts.artifact import Artifact
from minuet.contracts.engine import (
    Library,
    doubt,
    installed_library,
    keep,
    recall,
    remember,
    remember_hash,
)
from minuet.contracts.errors import MissingBackendError, RequestError
from minuet.contracts.files import sha256_of, write_json, writing
from minuet.export.capture import Program
from minuet.export.files import describe
from minuet.export.halve import halve
from minuet.export.onnx_write import write_onnx
from minuet.export.rewrites.engine import Log
from minuet.export.sources.onnx_file import OnnxProgram
from minuet.export.tensorrt_build import Order, build, build_into
from minuet.export.tensorrt_layers import LAYERS, products
from minuet.export.to_onnx import finished, onnx_graph

CAPABILITY = "SM86"  # RTX 30 series
FP8_SINCE = 89  # RTX 40 series (Ada), the first tensor cores that take it
CODES = ("int8", "fp8")  # of a program's products; around them it computes in float16
MODEL, ENGINE = "model.onnx", "model.engine"


def export_tensorrt(
    program: Program | OnnxProgram,
    bundle: Path,
    precision: str = "fp16",
    *,
    capability: str = "",
    strip: bool = False,
    finish: Callable[[Any], Any] | None = None,
) -> Artifact:
    """Write model.onnx, model.engine, layers.json, rewrites.json in bundle/tensorrt-<precision>/.

    TensorRT for RTX builds for named compute capabilities, GPU or not, and the same program gives
    the same bytes; the `tensorrt` package builds for, and on, the GPU of this machine. The engine
    is recorded as this user's own, see contracts/engine.py. int8 and fp8 take a program that is
    quantized already (quantize-dequantize pairs, zero points of 0, per-channel weights).

    Args:
        capability: one or several, e.g. "SM86,SM89": one engine serves all of them, and each
            further one adds a few kB; none: SM86, for fp8 SM89. The `tensorrt` package has no
            choice but this machine's.
        strip: leave the weights out of the engine; they are refitted from model.onnx when it is
            opened. Needs a GPU: without one, TensorRT for RTX 1.7 fails in its compiler.
        finish: rewrites the onnx.ModelProto before it is narrowed and written.

    Raises:
        RequestError: another capability than this machine's, by a library that has no choice; or
            fp8 for a GPU that has none.
    """
    started = time.perf_counter()
    library = installed_library()
    devices = devices_of(library, capability, precision)
    folder = bundle / f"tensorrt-{precision}"
    model = folder / MODEL
    log = _write_model(program, precision, model, finish)
    order = Order(model=model, capabilities=devices if library.aims else (), strip=strip)
    layers: list[str] = []
    with writing(folder / ENGINE, sync=False) as stream:
        sha256 = build_into(library, order, stream, layers)
    write_json(folder / LAYERS, [asdict(one) for one in products(layers)])
    remember_hash(sha256, library, devices)
    log.write_beside(model)
    requires = {"library": library.name, "version": library.version, "gpu": " ".join(devices)}
    return describe(
        bundle,
        target="tensorrt",
        precision=precision,
        entry=folder / ENGINE,
        requires=requires | ({"weights": MODEL} if strip else {}),
        seconds=time.perf_counter() - started,
    )


def _write_model(
    program: Program | OnnxProgram, precision: str, path: Path, finish: Callable[[Any], Any] | None
) -> Log:
    """The graph is forgotten once it is written: building reads it from the file."""
    coded = precision in CODES and not isinstance(program, OnnxProgram)  # files stay as they are
    graph, log = onnx_graph(program, "fp32" if coded else precision, "tensorrt")
    if finish:
        graph = finished(graph, finish)
    write_onnx(halve(graph, "fp16") if coded else graph, path)
    return log


def asked_devices(capability: str, precision: str) -> tuple[str, ...]:
    """The compute capabilities that are named, else the usual one of a precision.

    Raises:
        RequestError: fp8 for one that has none.
    """
    usual = f"SM{FP8_SINCE}" if precision == "fp8" else CAPABILITY
    devices = tuple(one.strip() for one in (capability or usual).split(","))
    _check_precision(devices, precision)
    return devices


def devices_of(library: Library, capability: str = "", precision: str = "fp16") -> tuple[str, ...]:
    """What an engine will be for: what is asked, or, of a library without a choice, what is here.

    Raises:
        RequestError: something else was asked of such a library, or fp8 of a GPU that has none.
    """
    asked = asked_devices(capability, precision)
    if library.aims:
        return asked
    here = this_device()
    _check_precision((here,), precision)
    if capability and asked != (here,):
        raise RequestError(
            f"{library.name} {library.version} builds for the GPU of this machine, {here}, and not "
            f"for {capability}; leave --gpu out, or pip install 'minuet[tensorrt]'."
        )
    return (here,)


def _check_precision(devices: Sequence[str], precision: str) -> None:
    numbers = {one: one.removeprefix("SM") for one in devices}
    old = [one for one, told in numbers.items() if told.isdecimal() and int(told) < FP8_SINCE]
    if precision == "fp8" and old:
        raise RequestError(
            f"fp8 needs SM{FP8_SINCE} (RTX 40 series) or later, and {', '.join(old)} is older; "
            f"build for SM{FP8_SINCE}, or quantize with --scheme int8."
        )


def rebuild(model: Path, device: str) -> bytes:
    """An engine for one device from an ONNX file, recorded and kept as this user's own."""
    library = installed_library()
    name = f"{sha256_of(model)}-{device}-{library.name}-{library.version}.engine"
    known = recall(name)
    if known and doubt(known, library, device) is None:
        return known
    engine = build(library, Order(model=model, capabilities=(device,) if library.aims else ()))
    remember(engine, library, (device,))
    keep(name, engine)
    return engine


def this_device() -> str:
    """The compute capability of this machine's GPU, e.g. SM89.

    Raises:
        MissingBackendError: there is none.
    """
    import torch

    if not torch.cuda.is_available():
        raise MissingBackendError("no NVIDIA GPU with a driver is here.")
    major, minor = torch.cuda.get_device_capability()
    return f"SM{major}{minor}"
