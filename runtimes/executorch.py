"""ExecuTorch file -> frames, by ExecuTorch's own runtime with XNNPACK."""

import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from minuet.contracts.artifact import Artifact
from minuet.contracts.errors import DamagedError, Refusal
from minuet.contracts.files import contained, read_json
from minuet.contracts.records import record
from minuet.contracts.report import Operator
from minuet.contracts.stages import StageTimes
from minuet.contracts.tensors import Arrays, Signature
from minuet.runtimes.loading import installed, library, opened
from minuet.runtimes.watched import slowest

KERNEL = "portable kernel"  # what the export calls those that no backend took
PORTABLE = "portable"
UNTIMED = "this build of ExecuTorch has no event tracer: who runs each operator is from its export"


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
        """Who runs each operator, as the export wrote it down; nothing is run or timed."""
        beside = PurePosixPath(artifact.entry).with_name("delegation.json")
        path = contained(bundle, str(beside))
        operators = placed(read_json(path), str(path))
        return StageTimes(stages_ms={}, total_ms=(), operators=operators, untimed=UNTIMED)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Row:
    """One operator of a delegation.json, as far as one backend runs it."""

    operator: str
    runs_on: str
    count: int
    work: int
    module: str
    macs: int
    moved_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Table:
    delegates: int
    fallback: float
    operators: tuple[_Row, ...]


def placed(value: Any, where: str) -> tuple[Operator, ...]:
    """The operators of a delegation.json, by kind and unit; none is timed.

    Raises:
        DamagedError: it is no such table, or an earlier minuet's, without the work of each.
    """
    try:
        table: _Table = record(_Table, value)
        return slowest(map(_operator, table.operators))
    except ValueError as error:
        raise DamagedError(f"{where}: {error}; export the artifact anew.") from error


def _operator(row: _Row) -> Operator:
    return Operator(
        name=f"{row.operator} x{row.count}",
        kind=row.operator.partition(".")[2].partition(".")[0] or row.operator,  # aten.mm.default
        unit=PORTABLE if row.runs_on == KERNEL else row.runs_on,
        p50_ms=0.0,
        macs=row.macs,
        moved_bytes=row.moved_bytes,
    )


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
