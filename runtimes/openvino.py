"""The same ONNX file -> frames, by OpenVINO on the CPU; float32, or bfloat16 where it is fast."""

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from minuet.contracts.artifact import Artifact
from minuet.contracts.errors import Refusal
from minuet.contracts.stages import KEY, StageTimes
from minuet.contracts.tensors import Arrays, Signature
from minuet.runtimes.loading import installed, library, opened, refuse_links
from minuet.runtimes.watched import stage_times, table_of


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
        _, compiled = self._compiled(bundle, artifact, threads)
        yield OpenVinoSession(compiled.create_infer_request(), signature)

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
        """Sum the times of operators that OpenVINO's counters tell, stage by stage.

        They are means over all runs, the first too, and so one value comes back for all.
        """
        said, compiled = self._compiled(bundle, artifact, threads, {"PERF_COUNT": "YES"})
        table = table_of(said, artifact.entry)
        session = OpenVinoSession(compiled.create_infer_request(), signature)
        totals_ms = []
        for _ in range(1 + runs):
            session.run(inputs)
            totals_ms.append(session.request.latency)
        told = session.request.get_profiling_info()
        operators = [(row.node_name, row.real_time.total_seconds() * 1e3) for row in told]
        return stage_times([(sum(totals_ms) / len(totals_ms), operators)], table)

    def _compiled(
        self, bundle: Path, artifact: Artifact, threads: int, more: Mapping[str, str] | None = None
    ) -> tuple[str | None, Any]:
        """What the file says of its stages, and the model compiled from it."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import openvino

        config = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": self.precision}
        config |= more or {}
        if threads:
            config["INFERENCE_NUM_THREADS"] = str(threads)
        refuse_links(bundle, artifact)
        with opened(bundle, artifact, self.version()) as path:
            core = openvino.Core()
            model = core.read_model(str(path))
            place = ["framework", KEY]
            said = str(model.get_rt_info(place).astype(str)) if model.has_rt_info(place) else None
            return said, core.compile_model(model, "CPU", config)


# 8 bits of mantissa, for up to 5 times the speed where the processor has them.
BFLOAT16 = OpenVinoRuntime(name="openvino-bf16", precision="bf16")
