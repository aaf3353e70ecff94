"""The same ONNX file -> frames, by OpenVINO on the CPU; float32, or bfloat16 where it is fast."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from minuet.contracts.artifact import Artifact
from minuet.contracts.errors import Refusal
from minuet.contracts.tensors import Arrays, Signature
from minuet.runtimes.loading import installed, library, opened, refuse_links


@dataclass(frozen=True, slots=True)
class OpenVinoSession:
    """A compiled model with one request: calls from several threads would queue."""

    request: Any
    signature: Signature

    def run(self, inputs: Arrays) -> Arrays:
        """One call; results are copied out of buffers that the next call reuses."""
        self.signature.check_inputs(inputs)
        self.request.infer(dict(inputs))
        names = [spec.name for spec in self.signature.outputs]
        return {name: self.request.get_tensor(name).data.copy() for name in names}


@dataclass(frozen=True, slots=True)
class OpenVinoRuntime:
    """OpenVINO, in the precision of the file unless told otherwise."""

    name: str = "openvino"
    targets: tuple[str, ...] = ("onnx",)
    precision: str = "f32"

    def available(self) -> Refusal | None:
        return installed("openvino", "openvino")

    def version(self) -> str:
        note = "" if self.precision == "f32" else f" {self.precision}"
        return library("openvino") + note

    @contextmanager
    def open(
        self, bundle: Path, artifact: Artifact, signature: Signature, *, threads: int = 0
    ) -> Iterator[OpenVinoSession]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import openvino

        config = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": self.precision}
        if threads:
            config["INFERENCE_NUM_THREADS"] = str(threads)
        refuse_links(bundle, artifact)
        with opened(bundle, artifact, self.version()) as path:
            core = openvino.Core()
            compiled = core.compile_model(core.read_model(str(path)), "CPU", config)
        yield OpenVinoSession(compiled.create_infer_request(), signature)


# 8 bits of mantissa, for up to 5 times the speed where the processor has them.
BFLOAT16 = OpenVinoRuntime(name="openvino-bf16", precision="bf16")
