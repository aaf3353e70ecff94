"""ONNX file -> frames, by ONNX Runtime on the CPU: all that a base install needs."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from minuet.contracts.artifact import Artifact
from minuet.contracts.errors import Refusal
from minuet.contracts.tensors import Arrays, Signature
from minuet.runtimes.loading import installed, library, opened


@dataclass(frozen=True, slots=True)
class OrtSession:
    """An opened ONNX file."""

    session: Any
    signature: Signature

    def run(self, inputs: Arrays) -> Arrays:
        """One call."""
        self.signature.check_inputs(inputs)
        names = [spec.name for spec in self.signature.outputs]
        return dict(zip(names, self.session.run(names, dict(inputs)), strict=True))


@dataclass(frozen=True, slots=True)
class OrtRuntime:
    """ONNX Runtime."""

    name: str = "ort"
    targets: tuple[str, ...] = ("onnx",)

    def available(self) -> Refusal | None:
        return installed("onnxruntime", "onnxruntime")

    def version(self) -> str:
        return library("onnxruntime", "onnxruntime-gpu")

    @contextmanager
    def open(
        self, bundle: Path, artifact: Artifact, signature: Signature, *, threads: int = 0
    ) -> Iterator[OrtSession]:
        import onnxruntime as ort

        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        with opened(bundle, artifact, self.version()) as path:
            session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        yield OrtSession(session, signature)
