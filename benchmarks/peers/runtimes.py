"""Each peer as a runtime that the harness can open: what it needs, and what it runs."""

import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from minuet.benchmarks.machine import versions
from minuet.benchmarks.peers.loop import HostLoop, Part
from minuet.benchmarks.peers.prepare import ONNX, PTE, REFUSED, TORCH, names_of
from minuet.contracts.artifact import Artifact
from minuet.contracts.errors import Refusal, RequestError
from minuet.contracts.files import contained, read_json
from minuet.contracts.tensors import Arrays, Signature


@dataclass(frozen=True, slots=True)
class Peer:
    """A way to run a student; `load` opens one part of it, or all of it."""

    name: str
    library: str
    targets: tuple[str, ...]
    load: Callable[[Path, int], Any]
    note: str = ""
    needs: tuple[str, ...] = ()  # programs on the path

    def available(self) -> Refusal | None:
        """Whether the library and what it calls are here."""
        if not versions([self.library]):
            return Refusal(f"{self.library} is not installed: pip install {self.library}")
        if lacking := [name for name in self.needs if not shutil.which(name)]:
            return Refusal(f"{self.name} needs {', '.join(lacking)} on the path")
        return None

    def version(self) -> str:
        """Library, version, setting."""
        return f"{self.library} {versions([self.library])[self.library]} {self.note}".strip()

    @contextmanager
    def open(
        self, bundle: Path, artifact: Artifact, signature: Signature, *, threads: int = 0
    ) -> Iterator[Any]:
        """A session; RequestError where this peer's own export had failed."""
        if why := artifact.requires.get(REFUSED):
            raise RequestError(f"its own export failed: {why}")
        folder, count = contained(bundle, artifact.entry), threads or os.cpu_count() or 1
        if self.targets == (TORCH,):
            yield self.load(folder, count)
            return
        sampler = read_json(bundle / "manifest.json")["sampler"]
        suffix = ".pte" if self.targets == (PTE,) else ".onnx"
        files = {path.stem: path for path in sorted(folder.glob(f"*{suffix}"))}
        parts: Mapping[str, Part] = {n: self.load(path, count) for n, path in files.items()}
        side = next(spec for spec in signature.inputs if spec.name == "noise").shape[-1]
        yield HostLoop(parts, sampler["levels"], side)


@dataclass(frozen=True, slots=True)
class Module:
    """The student's own program in torch."""

    program: Any

    def run(self, inputs: Arrays) -> Arrays:
        """One call."""
        import torch

        given = [torch.from_numpy(np.array(inputs[n])) for n in ("image", "tokens", "noise")]
        with torch.inference_mode():
            return {"frames": self.program(*given).numpy()}


def eager(folder: Path, threads: int) -> Module:
    """Plain torch."""
    import torch

    from minuet.models.student import load_student

    torch.set_num_threads(threads)
    side = read_json(folder.parent / "manifest.json")["programs"]["main"]["outputs"][0]["shape"][-1]
    return Module(load_student(folder / "student").animator(int(side)))


def compiled(folder: Path, threads: int) -> Module:
    """torch.compile with its defaults; compiling is part of the first run."""
    import torch

    return Module(torch.compile(eager(folder, threads).program))


def ort(path: Path, threads: int) -> Part:
    """An ONNX file by ONNX Runtime with its defaults."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return lambda given: session.run(None, dict(given))


def openvino(precision: str) -> Callable[[Path, int], Part]:
    """An ONNX file by OpenVINO for one call at a time, in a precision."""

    def load(path: Path, threads: int) -> Part:
        import openvino as ov

        settings = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_NUM_THREADS": str(threads),
            "INFERENCE_PRECISION_HINT": precision,
        }
        model = ov.Core().compile_model(str(path), "CPU", settings)
        request = model.create_infer_request()

        def run(given: Mapping[str, Any]) -> list[Any]:
            request.infer(dict(given))
            return [np.array(request.get_tensor(one).data) for one in model.outputs]

        return run

    return load


def executorch(path: Path, threads: int) -> Part:
    """A .pte by ExecuTorch's Python runtime."""
    import torch
    from executorch.extension.pybindings import portable_lib
    from executorch.runtime import Runtime

    if portable_lib._threadpool_get_thread_count() != threads:
        portable_lib._unsafe_reset_threadpool(threads)
    program = Runtime.get().load_program(path)
    held = program, program.load_method("forward")  # a method does not outlive its program
    names = names_of(path.stem)

    def run(given: Mapping[str, Any]) -> list[Any]:
        rows = [torch.from_numpy(np.array(given[name], order="C")) for name in names]
        return [one.numpy().copy() for one in held[1].execute(rows)]

    return run


EAGER = Peer("torch", "torch", (TORCH,), eager)
COMPILED = Peer("torch.compile", "torch", (TORCH,), compiled, "compiled", ("g++",))
ORT = Peer("ort, host loop", "onnxruntime", (ONNX,), ort)
OPENVINO = Peer("openvino, host loop", "openvino", (ONNX,), openvino("f32"))
BFLOAT16 = Peer("openvino bf16, host loop", "openvino", (ONNX,), openvino("bf16"), "bf16")
EXECUTORCH = Peer("executorch, host loop", "executorch", (PTE,), executorch)

PEERS = ("EAGER", "COMPILED", "ORT", "OPENVINO", "BFLOAT16", "EXECUTORCH")
