"""Core ML package -> frames, by Core ML itself: on macOS only."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from minuet.contracts.artifact import Artifact
from minuet.contracts.errors import MissingBackendError, Refusal, RequestError
from minuet.contracts.tensors import Array, Arrays, Signature, TensorSpec
from minuet.runtimes.loading import installed, library, opened


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
            units = ct.ComputeUnit[UNITS.get(artifact.requires.get("units", ""), "ALL")]
            function = function_of(artifact) or None
            model = ct.models.MLModel(str(path), compute_units=units, function_name=function)
        yield CoreMLSession(model, signature)
