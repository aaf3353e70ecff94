"""ONNX file -> TensorRT engine, strongly typed: the precisions are the file's own."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from minuet.contracts.engine import Library, keep, recall
from minuet.contracts.errors import MissingBackendError, RequestError
from minuet.export.quiet import quiet
from minuet.export.tensorrt_layers import HEARD

WORDS = 500  # of an upstream reason that are worth a message


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What is to be built."""

    model: Path  # the ONNX file; data outside it lies beside it
    capabilities: tuple[str, ...]  # e.g. SM86; none for the GPU of this machine
    strip: bool = False  # leave the weights out: they are refitted from the model when it is opened


def build(library: Library, order: Order) -> bytes:
    """The engine's bytes, in memory; raises what build_into does."""
    stream = io.BytesIO()
    build_into(library, order, stream)
    return stream.getvalue()


def build_into(
    library: Library, order: Order, stream: BinaryIO, layers: list[str] | None = None
) -> str:
    """Write the engine as it is serialized, so that memory never holds it whole; its SHA-256.

    The same order gives the same bytes from TensorRT for RTX.

    Args:
        layers: gets what the library tells of the engine's layers, see tensorrt_layers.

    Raises:
        OSError: the stream takes no more.
        RequestError: TensorRT cannot read the model or cannot build it, in its own words.
        MissingBackendError: this library builds on a GPU, and none is here.
    """
    trt = library.trt
    heard: list[str] = []
    logger = _listener(trt, heard, layers)
    with quiet():
        builder = _builder(library, logger)
        network = builder.create_network(_flags(trt))
        parser = trt.OnnxParser(network, logger)
        if not parser.parse_from_file(str(order.model)):
            raise RequestError(f"TensorRT could not read the program: {_errors(parser)}.")
        config = builder.create_builder_config()
        if order.strip:
            config.set_flag(trt.BuilderFlag.STRIP_PLAN)
        if layers is not None:
            config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
        _aim(library, config, order.capabilities)
        cache = _timed(library, config)
        writer = _writer(trt, stream)
        built = _serialize(builder, network, config, writer)
    if writer.failure:
        raise writer.failure
    if not built:
        raise RequestError(_refused(order, heard))
    if cache:
        keep(cache, bytes(config.get_timing_cache().serialize()))
    return str(writer.digest.hexdigest())


def known_capabilities(library: Library) -> list[str]:
    """What a library builds for, e.g. SM75 to SM121."""
    if not library.aims:
        return []
    return sorted(name for name in dir(library.trt.ComputeCapability) if name.startswith("SM"))


def _listener(trt: Any, heard: list[str], layers: list[str] | None = None) -> Any:
    """A logger that keeps what went wrong, and what became of layers, instead of printing it."""

    class Listener(trt.ILogger):  # type: ignore[misc]
        def log(self, severity: Any, message: str) -> None:
            if severity in (trt.ILogger.ERROR, trt.ILogger.INTERNAL_ERROR):
                heard.append(message.strip())
            elif layers is not None and message.startswith(HEARD):
                layers.append(message)

    return Listener()


def _writer(trt: Any, stream: BinaryIO) -> Any:
    """What hands an engine on to a stream, piece by piece, and hashes it on the way.

    An exception may not pass through TensorRT: it is kept, and the rest is not taken.
    """

    class Writer(getattr(trt, "IStreamWriter", object)):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.digest = hashlib.sha256()
            self.failure: OSError | None = None

        def write(self, data: Any) -> int:
            try:
                stream.write(data)
            except OSError as error:
                self.failure = error
                return 0
            self.digest.update(data)
            return len(data)

    return Writer()


def _serialize(builder: Any, network: Any, config: Any, writer: Any) -> bool:
    """Whether there is an engine; older `tensorrt` packages make it in one piece."""
    if hasattr(builder, "build_serialized_network_to_stream"):
        return bool(builder.build_serialized_network_to_stream(network, config, writer))
    engine = builder.build_serialized_network(network, config)
    if engine is not None:
        writer.write(memoryview(engine))
    return engine is not None


def _builder(library: Library, logger: Any) -> Any:
    try:
        return library.trt.Builder(logger)
    except (TypeError, RuntimeError) as error:  # how both report that there is no driver
        raise MissingBackendError(
            f"{library.name} {library.version} builds engines on an NVIDIA GPU, and none is here; "
            "pip install 'minuet[tensorrt]' builds for GPUs elsewhere."
        ) from error


def _flags(trt: Any) -> int:
    """Strong typing is asked for where it is not the only kind there is."""
    flag = getattr(trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED", None)
    return 0 if flag is None else 1 << int(flag)


def _errors(parser: Any) -> str:
    reasons = (str(parser.get_error(i)) for i in range(parser.num_errors))
    return "; ".join(reasons)[:WORDS]


def _aim(library: Library, config: Any, capabilities: Sequence[str]) -> None:
    if not library.aims:
        if capabilities:
            raise RequestError(
                f"{library.name} builds for this machine's GPU alone, not for "
                f"{', '.join(capabilities)}; TensorRT for RTX builds for others."
            )
        return
    known = known_capabilities(library)
    for name in capabilities:
        if name not in known:
            raise RequestError(f"{name!r} is no compute capability; known: {', '.join(known)}.")
    config.num_compute_capabilities = len(capabilities)
    for place, name in enumerate(capabilities):
        config.set_compute_capability(getattr(library.trt.ComputeCapability, name), place)


def _timed(library: Library, config: Any) -> str:
    """Begin with what earlier builds of this user timed; the cache's name, or nothing."""
    if not library.times:
        return ""
    name = f"timing-{library.name}-{library.version}.cache"
    config.set_timing_cache(config.create_timing_cache(recall(name) or b""), False)
    return name


def _refused(order: Order, heard: Sequence[str]) -> str:
    reason = " ".join(heard)[-WORDS:] or "it gave no reason"
    where = ", ".join(order.capabilities) or "this GPU"
    advice = "Build it with its weights in it." if order.strip else "Try another precision or GPU."
    return f"TensorRT could not build the engine for {where}: {reason}. {advice}"
