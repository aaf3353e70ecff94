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
from minuet.runtimes.openvino_graph import counters, operators, source_work, without_first
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
        """What OpenVINO's counters tell of operators, and their sums stage by stage.

        They are means over the runs, from which the first is taken out: one value for all.
        """
        read, compiled = self._compiled(bundle, artifact, threads, {"PERF_COUNT": "YES"})
        table = table_of(said_of(read), artifact.entry)
        session = OpenVinoSession(compiled.create_infer_request(), signature)
        session.run(inputs)
        first = counters(session.request)
        totals_ms = []
        for _ in range(runs):
            session.run(inputs)
            totals_ms.append(session.request.latency)
        told = without_first(counters(session.request), first, runs)
        rows = operators(compiled.get_runtime_model(), told, table, source_work(read))
        return stage_times([(sum(totals_ms) / runs, list(rows))], table)

    def _compiled(
        self, bundle: Path, artifact: Artifact, threads: int, more: Mapping[str, str] | None = None
    ) -> tuple[Any, Any]:
        """The model as it was read, and as it was compiled."""
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
            return model, core.compile_model(model, "CPU", config)


def said_of(model: Any) -> str | None:
    """What the file of a model says of its stages."""
    place = ["framework", KEY]
    return str(model.get_rt_info(place).astype(str)) if model.has_rt_info(place) else None


# 8 bits of mantissa, for up to 5 times the speed where the processor has them.
BFLOAT16 = OpenVinoRuntime(name="openvino-bf16", precision="bf16")
