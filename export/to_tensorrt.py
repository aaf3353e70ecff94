"""Program -> TensorRT engine for named kinds of GPU, by way of an ONNX file that stays beside it.

The ONNX file is the model; the engine is a compiled copy for one library version and a list of
devices. Where an engine does not fit or is not trusted, it is built again from the file.
"""

from __future__ import annotations

import time
from pathlib import Path

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
from minuet.contracts.files import sha256_of, writing
from minuet.export.capture import Program
from minuet.export.files import describe
from minuet.export.onnx_write import write_onnx
from minuet.export.rewrites.engine import Log
from minuet.export.tensorrt_build import Order, build, build_into
from minuet.export.to_onnx import onnx_graph

CAPABILITY = "SM86"  # RTX 30 series
MODEL, ENGINE = "model.onnx", "model.engine"


def export_tensorrt(
    program: Program,
    bundle: Path,
    precision: str = "fp16",
    *,
    capability: str = CAPABILITY,
    strip: bool = False,
) -> Artifact:
    """Write model.onnx, model.engine and rewrites.json below bundle/tensorrt-<precision>/.

    TensorRT for RTX builds for named compute capabilities, GPU or not, and the same program gives
    the same bytes; the `tensorrt` package builds for, and on, the GPU of this machine. The engine
    is recorded as this user's own, see contracts/engine.py.

    Args:
        capability: one or several, e.g. "SM86,SM89": one engine serves all of them, and each
            further one adds a few kB. The `tensorrt` package has no choice but this machine's.
        strip: leave the weights out of the engine; they are refitted from model.onnx when it is
            opened. Needs a GPU: without one, TensorRT for RTX 1.7 fails in its compiler.

    Raises:
        RequestError: another capability than this machine's, by a library that has no choice.
    """
    started = time.perf_counter()
    library = installed_library()
    devices = devices_of(library, capability)
    folder = bundle / f"tensorrt-{precision}"
    model = folder / MODEL
    log = _write_model(program, precision, model)
    order = Order(model=model, capabilities=devices if library.aims else (), strip=strip)
    with writing(folder / ENGINE, sync=False) as stream:
        sha256 = build_into(library, order, stream)
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


def _write_model(program: Program, precision: str, path: Path) -> Log:
    """The graph is forgotten once it is written: building reads it from the file."""
    graph, log = onnx_graph(program, precision, "tensorrt")
    write_onnx(graph, path)
    return log


def devices_of(library: Library, capability: str = CAPABILITY) -> tuple[str, ...]:
    """What an engine will be for: what is asked, or, of a library without a choice, what is here.

    Raises:
        RequestError: something else was asked of such a library.
    """
    asked = tuple(one.strip() for one in capability.split(","))
    if library.aims:
        return asked
    here = this_device()
    if capability != CAPABILITY and asked != (here,):
        raise RequestError(
            f"{library.name} {library.version} builds for the GPU of this machine, {here}, and not "
            f"for {capability}; leave --gpu out, or pip install 'minuet[tensorrt]'."
        )
    return (here,)


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
