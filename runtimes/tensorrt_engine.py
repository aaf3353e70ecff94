"""A TensorRT artifact -> an engine's context, if this user's own build made it; else rebuilt.

An engine file is compiled code. It is read once, and only the bytes whose hash is on record for
this library and this GPU reach TensorRT.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from minuet.contracts.artifact import Artifact
from minuet.contracts.engine import Library, Record, keep, recall, recorded
from minuet.contracts.errors import (
    DamagedError,
    MissingBackendError,
    Refusal,
    RequestError,
    UntrustedError,
)
from minuet.contracts.files import contained, sha256_of

MODEL = "model.onnx"  # beside the engine: what it was built from
Rebuild = Callable[[Path, str], bytes]  # ONNX file, device -> engine; recorded as this user's


@dataclass(frozen=True, slots=True, kw_only=True)
class Trust:
    """On whose word an engine may run."""

    explicit: bool = False  # the caller vouches for whoever built it
    rebuild: Rebuild | None = None  # how to make one of our own instead


def trusted_engine(
    bundle: Path, artifact: Artifact, library: Library, device: str, trust: Trust
) -> bytes:
    """The engine's bytes, or those of one built here from the ONNX file beside it.

    Raises:
        DamagedError: a file is not the one in the manifest.
        MissingBackendError: it is for another library or GPU, and none can be built in its place.
        UntrustedError: nobody vouches for it, and none can be built in its place.
    """
    engine = listed(bundle, artifact, artifact.entry).read_bytes()
    _same(artifact, artifact.entry, engine)
    known = recorded(engine)
    built = _claimed(artifact) if isinstance(known, Refusal) else known
    misfit = built.misfit(library, device) if built else None
    if misfit is None and (trust.explicit or not isinstance(known, Refusal)):
        return engine
    if trust.rebuild:
        model = str(PurePosixPath(artifact.entry).with_name(MODEL))
        return trust.rebuild(listed(bundle, artifact, model), device)
    if misfit:
        raise MissingBackendError(f"{artifact.name}: not run: {misfit}.")
    raise UntrustedError(
        f"{artifact.name}: a TensorRT engine is code that this machine would run, and "
        f"{known}. Export it here, or, if you trust whoever built it, say --trust-engines."
    )


def _claimed(artifact: Artifact) -> Record | None:
    """What its manifest says an engine is for: enough to refuse it, never to trust it."""
    told = artifact.requires
    if not {"library", "version", "gpu"} <= told.keys():
        return None
    devices = tuple(told["gpu"].split())
    return Record(sha256="", library=told["library"], version=told["version"], devices=devices)


def listed(bundle: Path, artifact: Artifact, name: str) -> Path:
    """The path of a file that the manifest names and describes.

    Raises:
        DamagedError: outside the bundle, not there, not listed, or another file.
    """
    known = {file.path: file.sha256 for file in artifact.files}
    path = contained(bundle, name)
    if not path.is_file() or known.get(name) != sha256_of(path):
        raise DamagedError(f"{path}: not the file that the manifest describes; export it again.")
    return path


def _same(artifact: Artifact, name: str, data: bytes) -> None:
    """The bytes in hand are those that were checked: a file may change between two readings."""
    known = {file.path: file.sha256 for file in artifact.files}
    if known[name] != hashlib.sha256(data).hexdigest():
        raise DamagedError(f"{name}: changed while it was being read; export it again.")


@contextmanager
def opened_engine(library: Library, data: bytes, bundle: Path, artifact: Artifact) -> Iterator[Any]:
    """An execution context; what TensorRT for RTX compiles for it is kept for the next time."""
    trt = library.trt
    runtime = trt.Runtime(trt.Logger(trt.Logger.ERROR))
    runtime.engine_host_code_allowed = False  # no lean runtime brought along inside the file
    engine = runtime.deserialize_cuda_engine(data)
    if engine is None:
        raise RequestError(
            f"{artifact.name}: {library.name} {library.version} cannot open it here "
            f"({diagnosis(trt, runtime, data)}); it was built for {artifact.requires}. Export here."
        )
    if artifact.requires.get("weights"):
        _refit(trt, engine, listed(bundle, artifact, _beside(artifact)))
    with _kept_kernels(library, engine, hashlib.sha256(data).hexdigest()) as config:
        yield engine.create_execution_context(*config)


def diagnosis(trt: Any, runtime: Any, data: bytes) -> str:
    """Why TensorRT for RTX thinks an engine unfit, in its own words."""
    if not hasattr(runtime, "get_engine_validity"):
        return "it gives no reason"
    found = int(runtime.get_engine_validity(data)[1])
    members = trt.EngineInvalidityDiagnostics.__members__
    words = [name for name, bit in members.items() if found & int(bit)]
    return ", ".join(words).lower().replace("_", " ") or "it gives no reason"


def _beside(artifact: Artifact) -> str:
    return str(PurePosixPath(artifact.entry).with_name(artifact.requires["weights"]))


def _refit(trt: Any, engine: Any, model: Path) -> None:
    """Give an engine without weights those of the ONNX file."""
    logger = trt.Logger(trt.Logger.ERROR)
    refitter = trt.Refitter(engine, logger)
    parser = trt.OnnxParserRefitter(refitter, logger)
    if not (parser.refit_from_file(str(model)) and refitter.refit_cuda_engine()):
        raise RequestError(f"{model}: its weights do not fit the engine; export it again.")


@contextmanager
def _kept_kernels(library: Library, engine: Any, name: str) -> Iterator[tuple[Any, ...]]:
    """A runtime configuration with last time's kernels, where the library compiles late."""
    if not library.compiles_late:
        yield ()
        return
    config = engine.create_runtime_config()
    cache = config.create_runtime_cache()
    if known := recall(f"{name}.kernels"):
        cache.deserialize(known)  # False where driver or device changed: then they are compiled
    config.set_runtime_cache(cache)
    yield (config,)
    keep(f"{name}.kernels", bytes(cache.serialize()))
