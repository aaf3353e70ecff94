"""TensorRT engine -> frames, on an NVIDIA GPU. Engines are code: opened on explicit trust only."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from minuet.contracts.artifact import Artifact
from minuet.contracts.errors import DamagedError, MissingBackendError, Refusal, RequestError
from minuet.contracts.files import contained, sha256_of
from minuet.contracts.tensors import Arrays, Signature
from minuet.runtimes.loading import library, opened


@dataclass(frozen=True, slots=True)
class TensorRtSession:
    """An engine's context; torch owns the buffers on the GPU."""

    context: Any
    signature: Signature

    def run(self, inputs: Arrays) -> Arrays:
        """One call, waited for."""
        import torch

        self.signature.check_inputs(inputs)
        device = {name: torch.from_numpy(np.array(a)).cuda() for name, a in inputs.items()}
        for spec in self.signature.outputs:
            dtype = getattr(torch, spec.dtype)
            device[spec.name] = torch.empty(spec.shape, dtype=dtype, device="cuda")
        for name, tensor in device.items():
            self.context.set_tensor_address(name, tensor.data_ptr())
        stream = torch.cuda.current_stream()
        if not self.context.execute_async_v3(stream.cuda_stream):
            raise RequestError("TensorRT could not run the engine; build it on this machine.")
        stream.synchronize()
        return {spec.name: device[spec.name].cpu().numpy() for spec in self.signature.outputs}


@dataclass(frozen=True, slots=True)
class TensorRtRuntime:
    """TensorRT for RTX, or the tensorrt package, whichever is installed."""

    name: str = "tensorrt"
    targets: tuple[str, ...] = ("tensorrt",)
    trusted: bool = False  # the caller vouches for the engine's maker

    def available(self) -> Refusal | None:
        try:
            _bindings()
        except ImportError:
            return Refusal("TensorRT is not installed; pip install 'minuet[tensorrt]'")
        import torch

        if not torch.cuda.is_available():
            return Refusal("no NVIDIA GPU with a driver is here")
        if not self.trusted:
            return Refusal("an engine is code: say --trust-engines if its maker is trusted")
        return None

    def version(self) -> str:
        return library("tensorrt_rtx_cu13_bindings", "tensorrt")

    @contextmanager
    def open(
        self, bundle: Path, artifact: Artifact, signature: Signature, *, threads: int = 0
    ) -> Iterator[TensorRtSession]:
        check_trust(bundle, artifact, self.trusted)
        if refusal := self.available():
            raise MissingBackendError(f"{artifact.name}: {refusal}; not run.")
        trt = _bindings()
        with opened(bundle, artifact, self.version()) as path:
            engine = trt.Runtime(trt.Logger(trt.Logger.ERROR)).deserialize_cuda_engine(
                path.read_bytes()
            )
            if engine is None:
                raise RequestError(
                    f"{path}: built for {artifact.requires}, not for this machine; export here."
                )
        yield TensorRtSession(engine.create_execution_context(), signature)


def check_trust(bundle: Path, artifact: Artifact, trusted: bool) -> None:
    """Refuse an engine that nobody vouches for, or that is not the one in the manifest.

    Raises:
        RequestError: not trusted.
        DamagedError: its hash is not the manifest's.
    """
    if not trusted:
        raise RequestError(
            f"{artifact.name}: a TensorRT engine is code that this machine would run. "
            "If you trust whoever built it, say --trust-engines."
        )
    known = {file.path: file.sha256 for file in artifact.files}
    path = contained(bundle, artifact.entry)
    if not path.is_file() or known.get(artifact.entry) != sha256_of(path):
        raise DamagedError(f"{path}: not the engine that the manifest describes; export it again.")


def _bindings() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            import tensorrt_rtx_bindings as rtx
            import tensorrt_rtx_libs  # noqa: F401  (loads the shared libraries)

            return rtx
        except ImportError:
            import tensorrt as trt

            return trt
