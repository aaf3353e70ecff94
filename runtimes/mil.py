"""Core ML package -> frames where there is no Core ML: its saved program, evaluated by torch.

This checks what the file says, weights and all; not how a phone's engines round. Every operation
computes in float32 and rounds to the type that the program declares for it. Operations outside
`mil_ops` are refused, never skipped.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from minuet.contracts.artifact import Artifact
from minuet.contracts.errors import Refusal, RequestError
from minuet.contracts.tensors import Arrays, Signature
from minuet.runtimes.coreml import as_declared
from minuet.runtimes.loading import installed, library, opened

MODEL = "Data/com.apple.CoreML/model.mlmodel"
WEIGHTS = "Data/com.apple.CoreML/weights"


@dataclass(frozen=True, slots=True)
class MilSession:
    """A parsed program."""

    function: Any
    signature: Signature

    def run(self, inputs: Arrays) -> Arrays:
        """One call."""
        import torch

        self.signature.check_inputs(inputs)
        given = {name: torch.from_numpy(np.array(value)) for name, value in inputs.items()}
        with torch.inference_mode():
            results = evaluate(self.function, given)
        outputs = self.signature.outputs
        return {spec.name: as_declared(results[spec.name].numpy(), spec) for spec in outputs}


@dataclass(frozen=True, slots=True)
class MilRuntime:
    """An evaluator of ML Programs; slow, and everywhere."""

    name: str = "mil"
    targets: tuple[str, ...] = ("coreml",)

    def available(self) -> Refusal | None:
        return installed("coremltools", "coreml") or installed("torch", "distill")

    def version(self) -> str:
        return f"evaluator of the saved program, {library('coremltools')}, not Core ML"

    @contextmanager
    def open(
        self, bundle: Path, artifact: Artifact, signature: Signature, *, threads: int = 0
    ) -> Iterator[MilSession]:
        with opened(bundle, artifact, "the ML Program evaluator") as path:
            function = _load(path)
        yield MilSession(function, signature)


def _load(package: Path) -> Any:
    before = logging.root.manager.disable
    logging.disable(logging.ERROR)  # no libcoremlpython outside macOS, as expected
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import coremltools as ct
            from coremltools.converters.mil.frontend.milproto.load import load

            # Not load_spec: it rewrites the package's index, and a bundle is read only.
            spec = ct.proto.Model_pb2.Model()
            spec.ParseFromString((package / MODEL).read_bytes())
            program = load(spec, spec.specificationVersion, str(package / WEIGHTS))
            return program.functions["main"]
    finally:
        logging.disable(before)


def evaluate(function: Any, inputs: dict[str, Any]) -> dict[str, Any]:
    """Run a MIL function's operations in order; results by name."""
    from minuet.runtimes.mil_ops import OPERATIONS, declared

    values: dict[str, Any] = dict(inputs)
    for op in function.operations:
        if op.op_type == "const":
            values[op.outputs[0].name] = op.outputs[0].val
            continue
        if op.op_type not in OPERATIONS:
            raise RequestError(f"the ML Program evaluator does not know {op.op_type!r}; not run.")
        results = OPERATIONS[op.op_type](_arguments(op, values))
        results = results if isinstance(results, list) else [results]
        for out, result in zip(op.outputs, results, strict=True):
            values[out.name] = declared(result, out)
    return {out.name: values[out.name] for out in function.outputs}


def _arguments(op: Any, values: dict[str, Any]) -> dict[str, Any]:
    def look_up(value: Any) -> Any:
        if isinstance(value, (list, tuple)):
            return [values[one.name] for one in value]
        return values[value.name]

    return {name: look_up(value) for name, value in op.inputs.items() if value is not None}
