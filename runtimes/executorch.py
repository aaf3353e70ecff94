"""ExecuTorch file -> frames, by ExecuTorch's own runtime with XNNPACK."""

import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from minuet.contracts.artifact import Artifact
from minuet.contracts.errors import Refusal
from minuet.contracts.tensors import Arrays, Signature
from minuet.runtimes.loading import installed, library, opened


@dataclass(frozen=True, slots=True)
class ExecutorchSession:
    """A loaded method."""

    method: Any
    signature: Signature

    def run(self, inputs: Arrays) -> Arrays:
        """One call; results are copied out of buffers that the next call reuses."""
        import torch

        self.signature.check_inputs(inputs)
        # In row-major order: the runtime reads the buffer and not its strides.
        rows = [np.array(inputs[spec.name], order="C") for spec in self.signature.inputs]
        given = [torch.from_numpy(row) for row in rows]
        results = self.method.execute(given)
        outputs = zip(self.signature.outputs, results, strict=True)
        return {spec.name: result.numpy().copy() for spec, result in outputs}


@dataclass(frozen=True, slots=True)
class ExecutorchRuntime:
    """ExecuTorch on this CPU: the same kernels' x86 builds, not a phone's."""

    name: str = "executorch"
    targets: tuple[str, ...] = ("executorch",)

    def available(self) -> Refusal | None:
        return installed("executorch", "executorch")

    def version(self) -> str:
        return library("executorch")

    @contextmanager
    def open(
        self, bundle: Path, artifact: Artifact, signature: Signature, *, threads: int = 0
    ) -> Iterator[ExecutorchSession]:
        runtime = _runtime(threads or os.cpu_count() or 1)
        with opened(bundle, artifact, self.version()) as path:
            program = runtime.load_program(path)
            method = program.load_method("forward")
        yield ExecutorchSession(method, signature)


def _runtime(threads: int) -> Any:
    """The process-wide runtime with its thread pool sized anew."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)  # optional extensions of torchao that are not there
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from executorch.extension.pybindings import portable_lib
            from executorch.runtime import Runtime

            if portable_lib._threadpool_get_thread_count() != threads:
                portable_lib._unsafe_reset_threadpool(threads)
            return Runtime.get()
    finally:
        logging.disable(before)
