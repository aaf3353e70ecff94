"""Core ML package -> outputs where there is no Core ML: its saved program, evaluated by torch.

This checks what the file says, weights and all; not how a phone's engines round. Operations that
are not known are refused, never skipped.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from minuet.contracts.artifact import Artifact
from minuet.contracts.errors import Refusal
from minuet.contracts.tensors import Arrays, Signature
from minuet.runtimes.coreml import as_declared, function_of
from minuet.runtimes.loading import installed, library, opened
from minuet.runtimes.mil.package import Block, load_function


@dataclass(frozen=True, slots=True)
class MilSession:
    """A parsed program."""

    function: Block
    signature: Signature
    rounding: str = "declared"

    def run(self, inputs: Arrays) -> Arrays:
        """One call."""
        import torch

        from minuet.runtimes.mil.evaluate import Rules, evaluate

        self.signature.check_inputs(inputs)
        given = {name: torch.from_numpy(np.array(value)) for name, value in inputs.items()}
        results = evaluate(self.function, given, Rules(self.rounding))
        outputs = self.signature.outputs
        return {spec.name: as_declared(results[spec.name].numpy(), spec) for spec in outputs}


@dataclass(frozen=True, slots=True)
class MilRuntime:
    """An evaluator of ML Programs; slow, and everywhere."""

    name: str = "mil"
    targets: tuple[str, ...] = ("coreml",)
    rounding: str = "declared"

    def available(self) -> Refusal | None:
        return installed("coremltools", "coreml") or installed("torch", "distill")

    def version(self) -> str:
        return f"evaluator of the saved program, {library('coremltools')}, not Core ML"

    @contextmanager
    def open(
        self, bundle: Path, artifact: Artifact, signature: Signature, *, threads: int = 0
    ) -> Iterator[MilSession]:
        with opened(bundle, artifact, "the ML Program evaluator") as path:
            function = load_function(path, function_of(artifact))
        yield MilSession(function, signature, self.rounding)
