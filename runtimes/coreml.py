"""Core ML package -> frames, by Core ML itself: on macOS only."""

import statistics
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from minuet.contracts.artifact import Artifact
from minuet.contracts.errors import MissingBackendError, Refusal, RequestError
from minuet.contracts.report import Operator
from minuet.contracts.stages import StageTimes
from minuet.contracts.tensors import Array, Arrays, Signature, TensorSpec
from minuet.runtimes.loading import installed, library, opened
from minuet.runtimes.watched import slowest

ESTIMATED = "Core ML tells its plan alone: operators' times are its estimates of their shares"


@dataclass(frozen=True, slots=True)
class CoreMLSession:
    """A compiled package."""

    model: Any
    signature: Signature

    def run(self, inputs: Arrays) -> Arrays:
        """One call."""
        self.signature.check_inputs(inputs)
        results = self.model.predict(dict(inputs))
        return {spec.name: as_declared(results[spec.name], spec) for spec in self.signature.outputs}


def as_declared(value: Array, spec: TensorSpec) -> Array:
    """Core ML's float32 0..255 -> the signature's dtype, truncated as the program would.

    Raises:
        RequestError: it is no number, which would become a black byte here and a crash in Swift.
    """
    if spec.dtype != "uint8":
        return value.astype(spec.dtype)
    strange = value.size - int(np.isfinite(value).sum())
    if strange:
        raise RequestError(
            f"{strange} of {value.size} values of {spec.name} are not numbers; "
            "export in a wider precision, or look for an overflow in hazards.json."
        )
    return np.clip(value, 0, 255).astype(np.uint8)


def function_of(artifact: Artifact) -> str:
    """The function that is an artifact's program; "" where it is the default one."""
    names = artifact.requires.get("functions", "").split(", ")
    return artifact.component if artifact.component in names else ""


# What an artifact asks for -> coremltools' name of it.
UNITS = {
    "all": "ALL",
    "cpuAndGPU": "CPU_AND_GPU",
    "cpuAndNeuralEngine": "CPU_AND_NE",
    "cpuOnly": "CPU_ONLY",
}


@dataclass(frozen=True, slots=True)
class CoreMLRuntime:
    """Core ML with the compute units that the artifact asks for."""

    name: str = "coreml"
    targets: tuple[str, ...] = ("coreml",)

    def available(self) -> Refusal | None:
        if sys.platform != "darwin":
            return Refusal("Core ML runs only on macOS")
        return installed("coremltools", "coreml")

    def version(self) -> str:
        return library("coremltools")

    @contextmanager
    def open(
        self, bundle: Path, artifact: Artifact, signature: Signature, *, threads: int = 0
    ) -> Iterator[CoreMLSession]:
        if refusal := self.available():
            raise MissingBackendError(f"{artifact.name}: {refusal}; not run.")
        import coremltools as ct

        with opened(bundle, artifact, self.version()) as path:
            units = ct.ComputeUnit[units_of(artifact)]
            function = function_of(artifact) or None
            model = ct.models.MLModel(str(path), compute_units=units, function_name=function)
        yield CoreMLSession(model, signature)

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
        """Where Core ML plans to run each operator, and its estimate of what share that takes."""
        totals_ms = []
        with self.open(bundle, artifact, signature, threads=threads) as session:
            for _ in range(1 + runs):
                start = time.perf_counter()
                session.run(inputs)
                totals_ms.append(1e3 * (time.perf_counter() - start))
            operators = planned(session.model, artifact, statistics.median(totals_ms[1:]))
        return StageTimes(
            stages_ms={}, total_ms=tuple(totals_ms[1:]), operators=operators, untimed=ESTIMATED
        )


def units_of(artifact: Artifact) -> str:
    """The compute units that an artifact asks for, as coremltools calls them."""
    return UNITS.get(artifact.requires.get("units", ""), "ALL")


def planned(model: Any, artifact: Artifact, total_ms: float) -> tuple[Operator, ...]:
    """The operators of a loaded model, each with its estimated share of a run's time."""
    import coremltools as ct
    from coremltools.models.compute_plan import MLComputePlan

    units = ct.ComputeUnit[units_of(artifact)]
    plan = MLComputePlan.load_from_path(model.get_compiled_model_path(), compute_units=units)
    functions = plan.model_structure.program.functions
    program = functions.get(function_of(artifact)) or next(iter(functions.values()))
    rows = (_planned(plan, one, total_ms) for one in _operations(program.block))
    return slowest(row for row in rows if row)


def _operations(block: Any) -> Iterator[Any]:
    for one in block.operations:
        yield one
        for inner in one.blocks:
            yield from _operations(inner)


def _planned(plan: Any, operation: Any, total_ms: float) -> Operator | None:
    """None of constants, which run nowhere."""
    usage = plan.get_compute_device_usage_for_mlprogram_operation(operation)
    cost = plan.get_estimated_cost_for_mlprogram_operation(operation)
    if usage is None:
        return None
    kind = str(operation.operator_name)
    return Operator(
        name=str(operation.outputs[0].name) if operation.outputs else kind,
        kind=kind.rpartition(".")[2],  # ios17.conv
        unit=_unit(type(usage.preferred_compute_device).__name__),
        p50_ms=total_ms * cost.weight if cost else 0.0,
    )


def _unit(kind: str) -> str:
    """MLNeuralEngineComputeDevice -> NeuralEngine."""
    return kind.removeprefix("ML").removesuffix("ComputeDevice")
