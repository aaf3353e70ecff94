"""One artifact on one runtime, opened and run on request: in this process or another."""

import contextlib
import gc
import hashlib
import importlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np

from minuet.benchmarks import memory
from minuet.benchmarks.clock import Clock, now_ns, resolution
from minuet.benchmarks.memory import Memory, held
from minuet.contracts.artifact import Artifact, Manifest
from minuet.contracts.errors import MinuetError, RequestError
from minuet.contracts.files import contained, read_json
from minuet.contracts.report import Operator
from minuet.contracts.runtime import Runtime, Session
from minuet.contracts.stages import StageTimes
from minuet.contracts.tensors import Arrays

Block = dict[str, list[float]]  # milliseconds: "total", or "watched" and one key a stage


class GoneError(Exception):
    """A subject that cannot go on, with the reason: refused, failed, or vanished."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """What opening cost, in a process that had not opened it before."""

    load_ms: float  # importing the library included: an app pays for it too
    first_ms: float
    version: str
    shortest_ms: float = 0.0  # of a sample that the clock over there can be believed about


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """What a profiler told."""

    block: Block  # "watched", and "stage.<name>"
    operators: tuple[Operator, ...] = ()
    untimed: str = ""  # why none of them has a time


class Subject(Protocol):
    """Something that can be measured."""

    def open(self) -> Opened:
        """Load and run once."""
        ...

    def sample(self, count: int, batch: int = 1) -> Block:
        """Take `count` samples, each the mean of `batch` runs."""
        ...

    def save(self, path: Path) -> None:
        """Run once more and keep the outputs as an .npz."""
        ...

    def stages(self, count: int) -> Watched:
        """Open under watch and run `count` times, instead of `open`; GoneError if none can say."""
        ...

    def close(self, *, weigh: bool = False) -> Memory:
        """Let go, and tell what was held; `weigh`: after one more run, for peaks that pass."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What to open, in words that cross a process border."""

    runtime: str  # module:attribute
    bundle: Path
    artifact: str  # target-precision
    inputs: Arrays
    threads: int = 0

    def resolve(self) -> tuple[Runtime, Manifest, Artifact]:
        """The runtime, and the bundle's own words about the artifact.

        Raises:
            RequestError: no such runtime, or no such artifact in the bundle.
        """
        module, _, name = self.runtime.partition(":")
        try:
            found: Any = getattr(importlib.import_module(module), name)
        except (ImportError, AttributeError) as error:
            raise RequestError(f"the runtime {self.runtime} cannot be loaded: {error}") from error
        runtime = cast("Runtime", found() if callable(found) else found)
        path = self.bundle / "manifest.json"
        manifest = Manifest.from_json(read_json(path), str(path))
        for artifact in manifest.artifacts:
            if artifact.name == self.artifact:
                return runtime, manifest, artifact
        have = ", ".join(artifact.name for artifact in manifest.artifacts)
        raise RequestError(f"{self.bundle}: holds no {self.artifact}; it holds {have or 'none'}.")


@dataclass(slots=True, kw_only=True)
class Here:
    """A subject in this process: what is weighed is everybody's."""

    job: Job
    clock: Clock = now_ns
    _session: Session | None = None
    _files: tuple[Path, ...] = ()
    _stack: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)

    def open(self) -> Opened:
        """Load and run once; GoneError where the runtime refuses."""
        shortest_ms = resolution(self.clock).shortest_ms
        runtime, manifest, artifact = self.job.resolve()
        if refusal := runtime.available():
            raise GoneError(str(refusal))
        self._files = tuple(contained(self.job.bundle, file.path) for file in artifact.files)
        start = self.clock()
        opening = runtime.open(
            self.job.bundle, artifact, manifest.signature, threads=self.job.threads
        )
        self._session = self._stack.enter_context(opening)
        load_ms = (self.clock() - start) / 1e6
        first_ms = self.sample(1)["total"][0]
        version = runtime.version()
        return Opened(load_ms=load_ms, first_ms=first_ms, version=version, shortest_ms=shortest_ms)

    def sample(self, count: int, batch: int = 1) -> Block:
        """Take `count` samples."""
        run = self._opened().run
        return {"total": timed(run, self.job.inputs, count, batch, self.clock)}

    def stages(self, count: int) -> Watched:
        """What a runtime that watches tells of each stage, and of the whole as "watched"."""
        runtime, manifest, artifact = self.job.resolve()
        watch: Any = getattr(runtime, "stages", None)
        if watch is None:
            raise GoneError(f"{runtime.name} does not say what its operators took")
        found: StageTimes = watch(
            self.job.bundle,
            artifact,
            manifest.signature,
            self.job.inputs,
            runs=count,
            threads=self.job.threads,
        )
        rows = {f"stage.{name}": list(values) for name, values in found.stages_ms.items()}
        block = rows | ({"watched": list(found.total_ms)} if found.total_ms else {})
        return Watched(block=block, operators=found.operators, untimed=found.untimed)

    def save(self, path: Path) -> None:
        """Run once more and keep the outputs."""
        outputs: dict[str, Any] = dict(self._opened().run(self.job.inputs))
        np.savez(path, **outputs)

    def close(self, *, weigh: bool = False) -> Memory:
        """Leave the session."""
        found = self._weighed(weigh) if self._session else Memory()
        self._session = None
        self._stack.close()
        return found

    def _weighed(self, again: bool) -> Memory:
        run, inputs = self._opened().run, self.job.inputs
        return memory.weigh(lambda: run(inputs), self._files) if again else held(self._files)

    def _opened(self) -> Session:
        if self._session is None:
            raise GoneError("it is not open")
        return self._session


def timed(
    run: Callable[[Arrays], object],
    inputs: Arrays,
    count: int,
    batch: int = 1,
    clock: Clock = now_ns,
) -> list[float]:
    """`count` samples in ms, each the mean of `batch` runs; no garbage is collected meanwhile."""
    samples: list[float] = []
    with uncollected():
        for _ in range(count):
            start = clock()
            for _ in range(batch):
                run(inputs)
            samples.append((clock() - start) / 1e6 / batch)
    return samples


@contextlib.contextmanager
def uncollected() -> Iterator[None]:
    """Keep Python's collector from running inside a sample, as timeit does."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def artifact_hash(artifact: Artifact) -> str:
    """One hash for an artifact of many files."""
    lines = sorted(f"{file.sha256}  {file.path}\n" for file in artifact.files)
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def expected(error: Exception) -> str:
    """An expected error's own words, else its type and text."""
    if isinstance(error, (MinuetError, GoneError)):
        return str(error)
    return f"{type(error).__name__}: {error}"[:300]
