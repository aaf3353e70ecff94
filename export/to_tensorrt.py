"""Program -> TensorRT engine for one kind of GPU, by way of ONNX (float32 or float16)."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from minuet.contracts.artifact import Artifact
from minuet.contracts.errors import MissingBackendError, RequestError
from minuet.contracts.files import write_bytes
from minuet.export.capture import Program
from minuet.export.files import describe
from minuet.export.quiet import quiet
from minuet.export.to_onnx import half, onnx_model

CAPABILITY = "SM86"  # RTX 30 series


def export_tensorrt(
    program: Program, bundle: Path, precision: str = "fp16", *, capability: str = CAPABILITY
) -> Artifact:
    """Write bundle/tensorrt-<precision>/model.engine.

    TensorRT for RTX builds for a named compute capability, GPU or not; the `tensorrt` package
    builds for the GPU of this machine. An engine is code for one library version and its bytes
    differ from build to build: the one artifact that is not reproducible.
    """
    started = time.perf_counter()
    model = onnx_model(program)
    if precision == "fp16":
        model = half(model)
    trt, name = bindings()
    engine = build_engine(trt, model.SerializeToString(deterministic=True), capability, name)
    path = bundle / f"tensorrt-{precision}" / "model.engine"
    write_bytes(path, engine)
    gpu = capability if name == "tensorrt_rtx" else "the building machine's"
    return describe(
        bundle,
        target="tensorrt",
        precision=precision,
        entry=path,
        requires={"library": name, "version": str(trt.__version__), "gpu": gpu},
        seconds=time.perf_counter() - started,
    )


def bindings() -> tuple[Any, str]:
    """The TensorRT module that is installed, and its name.

    Raises:
        MissingBackendError: none is.
    """
    with quiet():
        try:
            import tensorrt_rtx_bindings as rtx
            import tensorrt_rtx_libs  # noqa: F401  (loads the shared libraries)

            return rtx, "tensorrt_rtx"
        except ImportError:
            pass
        try:
            import tensorrt as trt

            return trt, "tensorrt"
        except ImportError as error:
            raise MissingBackendError(
                "TensorRT is not installed; pip install 'minuet[tensorrt]'."
            ) from error


def build_engine(trt: Any, model: bytes, capability: str, library: str) -> bytes:
    """Strongly typed build: the precisions are the ONNX model's own."""
    logger = trt.Logger(trt.Logger.ERROR)
    builder = trt.Builder(logger)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, logger)
    if not parser.parse(model):
        reasons = "; ".join(str(parser.get_error(i)) for i in range(parser.num_errors))
        raise RequestError(f"TensorRT could not read the program: {reasons[:400]}.")
    config = builder.create_builder_config()
    if library == "tensorrt_rtx":
        _aim(trt, config, capability)
    engine = builder.build_serialized_network(network, config)
    if engine is None:
        raise RequestError(f"TensorRT could not build the engine for {capability}.")
    return bytes(engine)


def _aim(trt: Any, config: Any, capability: str) -> None:
    target = getattr(trt.ComputeCapability, capability, None)
    if target is None:
        known = sorted(n for n in dir(trt.ComputeCapability) if n.startswith("SM"))
        raise RequestError(f"{capability!r} is no compute capability; known: {', '.join(known)}.")
    config.num_compute_capabilities = 1
    config.set_compute_capability(target, 0)
