"""TensorRT engine -> outputs, on an NVIDIA GPU. Engines are code: only this user's own are run."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from minuet.contracts.artifact import Artifact
from minuet.contracts.engine import installed_library
from minuet.contracts.errors import MissingBackendError, Refusal, RequestError
from minuet.contracts.report import Operator
from minuet.contracts.stages import StageTimes
from minuet.contracts.tensors import Arrays, Signature
from minuet.runtimes.loading import library, opened
from minuet.runtimes.tensorrt_engine import Rebuild, Trust, opened_engine, trusted_engine
from minuet.runtimes.watched import Run, medians, slowest


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
    rebuild: Rebuild | None = None  # else an engine of another's is built anew by this

    def available(self) -> Refusal | None:
        try:
            installed_library()
        except MissingBackendError as error:
            return Refusal(str(error).rstrip("."))
        return None if device() else Refusal("no NVIDIA GPU")

    def version(self) -> str:
        return library("tensorrt_rtx_cu13_bindings", "tensorrt")

    @contextmanager
    def open(
        self, bundle: Path, artifact: Artifact, signature: Signature, *, threads: int = 0
    ) -> Iterator[TensorRtSession]:
        # Before anything else: what is wrong with the files is wrong on every machine.
        engine, gpu = installed_library(), device()
        trust = Trust(explicit=self.trusted, rebuild=self.rebuild if gpu else None)
        data = trusted_engine(bundle, artifact, engine, gpu, trust)
        if refusal := self.available():
            raise MissingBackendError(f"{artifact.name}: not run: {refusal}.")
        with ExitStack() as stack:
            with opened(bundle, artifact, self.version()):
                context = stack.enter_context(opened_engine(engine, data, bundle, artifact))
            yield TensorRtSession(context, signature)

    def stages(
        self,
        bundle: Path,
        artifact: Artifact,
        signature: Signature,
        inputs: Arrays,
        *,
        runs: int,
        threads: int = 0,
    ) -> StageTimes:
        """What TensorRT's profiler tells of an engine's layers; an engine knows no stages."""
        told: list[Run] = []
        with self.open(bundle, artifact, signature, threads=threads) as session:
            session.context.profiler = profiler = _profiler(installed_library())
            for _ in range(1 + runs):
                start = time.perf_counter()
                session.run(inputs)
                total_ms = 1e3 * (time.perf_counter() - start)
                told.append((total_ms, [_layer(*row) for row in profiler.rows]))
                profiler.rows.clear()
        return StageTimes(
            stages_ms={},
            total_ms=tuple(total for total, _ in told[1:]),
            operators=slowest(medians([layers for _, layers in told[1:]])),
            untimed="an engine bears no table of its stages",
        )


def _profiler(engine: Any) -> Any:
    """Collects (layer, ms) in `rows`, as TensorRT reports them."""

    class Profiler(engine.IProfiler):  # type: ignore[misc]
        def __init__(self) -> None:
            engine.IProfiler.__init__(self)
            self.rows: list[tuple[str, float]] = []

        def report_layer_time(self, layer_name: str, ms: float) -> None:
            self.rows.append((layer_name, ms))

    return Profiler()


def _layer(name: str, ms: float) -> Operator:
    return Operator(name=name, kind="layer", unit="GPU", p50_ms=ms)


def device() -> str:
    """The compute capability of this machine's GPU, e.g. SM89; empty where there is none."""
    import torch

    if not torch.cuda.is_available():
        return ""
    major, minor = torch.cuda.get_device_capability()
    return f"SM{major}{minor}"
