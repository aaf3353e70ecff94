"""One artifact on one runtime, opened and run on request: here, or in a fresh process."""

import contextlib
import hashlib
import importlib
import json
import os
import queue
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np

from minuet.benchmarks.clock import Clock, now_ns
from minuet.benchmarks.machine import peak_rss_mib
from minuet.contracts.artifact import Artifact, Manifest
from minuet.contracts.errors import MinuetError, RequestError
from minuet.contracts.files import read_json
from minuet.contracts.runtime import Runtime, Session
from minuet.contracts.stages import StageTimes
from minuet.contracts.tensors import Arrays

Block = dict[str, list[float]]  # milliseconds: "total", or "watched" and one key a stage

ANSWER_SECONDS = 600.0  # an engine may be built while opening


class GoneError(Exception):
    """A subject that cannot go on, with the reason: refused, failed, or vanished."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """What opening cost, in a process that had not opened it before."""

    load_ms: float  # importing the library included: an app pays for it too
    first_ms: float
    version: str


class Subject(Protocol):
    """Something that can be measured."""

    def open(self) -> Opened:
        """Load and run once."""
        ...

    def sample(self, count: int) -> Block:
        """Run `count` times, each run timed."""
        ...

    def save(self, path: Path) -> None:
        """Run once more and keep the outputs as an .npz."""
        ...

    def stages(self, count: int) -> Block:
        """Open under watch and run `count` times, instead of `open`; GoneError if none can say."""
        ...

    def close(self) -> float | None:
        """Let go; peak memory in MiB where it is known and meant."""
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
    """A subject in this process: its memory is everybody's, so none is reported."""

    job: Job
    clock: Clock = now_ns
    _session: Session | None = None
    _stack: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)

    def open(self) -> Opened:
        """Load and run once; GoneError where the runtime refuses."""
        runtime, manifest, artifact = self.job.resolve()
        if refusal := runtime.available():
            raise GoneError(str(refusal))
        start = self.clock()
        opening = runtime.open(
            self.job.bundle, artifact, manifest.signature, threads=self.job.threads
        )
        self._session = self._stack.enter_context(opening)
        load_ms = (self.clock() - start) / 1e6
        first = self.sample(1)["total"][0]
        return Opened(load_ms=load_ms, first_ms=first, version=runtime.version())

    def sample(self, count: int) -> Block:
        """Run `count` times."""
        session, inputs, clock = self._opened(), self.job.inputs, self.clock
        block: Block = {"total": []}
        for _ in range(count):
            start = clock()
            session.run(inputs)
            block["total"].append((clock() - start) / 1e6)
        return block

    def stages(self, count: int) -> Block:
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
        return rows | {"watched": list(found.total_ms)}

    def save(self, path: Path) -> None:
        """Run once more and keep the outputs."""
        outputs: dict[str, Any] = dict(self._opened().run(self.job.inputs))
        np.savez(path, **outputs)

    def close(self) -> float | None:
        """Leave the session."""
        self._session = None
        self._stack.close()
        return None

    def _opened(self) -> Session:
        if self._session is None:
            raise GoneError("it is not open")
        return self._session


class Child:
    """A subject in a fresh process of its own: cold start and memory are honest.

    The two sides speak JSON, one line a message, so that a phone or a board behind a pipe can
    answer in the same words. Nothing is pickled.
    """

    def __init__(self, job: Job, *, answer_seconds: float = ANSWER_SECONDS) -> None:
        self.job = job
        self.answer_seconds = answer_seconds
        self._process: subprocess.Popen[str] | None = None
        self._listener: threading.Thread | None = None
        self._answers: queue.Queue[str | None] = queue.Queue()
        self._folder: tempfile.TemporaryDirectory[str] | None = None

    def open(self) -> Opened:
        """Start the process; GoneError where it refuses."""
        self._start(watch=0)
        answer = self._answer()
        return Opened(
            load_ms=answer["load_ms"], first_ms=answer["first_ms"], version=answer["version"]
        )

    def stages(self, count: int) -> Block:
        """Start a process that does nothing else."""
        self._start(watch=count)
        block: Block = self._answer()["block"]
        return block

    def sample(self, count: int) -> Block:
        """Ask for `count` runs."""
        block: Block = self._ask({"do": "sample", "count": count})["block"]
        return block

    def save(self, path: Path) -> None:
        """Ask for the outputs of one more run."""
        self._ask({"do": "save", "path": str(path.resolve())})

    def close(self) -> float | None:
        """End the process, by its own will if it can, and tell its peak memory."""
        peak: float | None = None
        if self._process:
            with contextlib.suppress(GoneError):
                peak = self._ask({"do": "close"})["peak_rss_mib"]
            self._end()
        if self._folder:
            self._folder.cleanup()
        return peak

    def _start(self, watch: int) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="minuet-bench-")
        job = Path(self._folder.name) / "job.json"
        inputs: dict[str, Any] = dict(self.job.inputs)
        np.savez(job.with_name("inputs.npz"), **inputs)
        job.write_text(
            json.dumps(
                {
                    "runtime": self.job.runtime,
                    "bundle": str(self.job.bundle.resolve()),
                    "artifact": self.job.artifact,
                    "threads": self.job.threads,
                    "watch": watch,
                }
            )
        )
        self._spawn(job)

    def _spawn(self, job: Path) -> None:
        # The child finds what this process finds, wherever it was started.
        path = os.pathsep.join(entry for entry in sys.path if entry)
        with job.with_name("stderr").open("w") as said:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "minuet.benchmarks.child", str(job)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=said,
                text=True,
                env={**os.environ, "PYTHONPATH": path},
            )
        self._listener = threading.Thread(target=self._listen, args=(self._process,), daemon=True)
        self._listener.start()

    def _listen(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout
        for line in process.stdout:
            self._answers.put(line)
        self._answers.put(None)

    def _ask(self, request: dict[str, Any]) -> dict[str, Any]:
        assert self._process and self._process.stdin
        try:
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
        except OSError:
            raise GoneError(self._last_words()) from None
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        try:
            line = self._answers.get(timeout=self.answer_seconds)
        except queue.Empty:
            raise GoneError(f"no answer in {self.answer_seconds:.0f} s") from None
        if line is None:
            raise GoneError(self._last_words())
        answer: dict[str, Any] = json.loads(line)
        if "gone" in answer:
            raise GoneError(answer["gone"])
        return answer

    def _last_words(self) -> str:
        assert self._process and self._folder
        code = self._process.wait(timeout=10)
        said = (Path(self._folder.name) / "stderr").read_text(errors="replace").strip()
        tail = said.rpartition("\n")[2][-200:]
        return f"its process ended with code {code}" + (f": {tail}" if tail else "")

    def _end(self) -> None:
        process, self._process = self._process, None
        assert process and process.stdin and process.stdout and self._listener
        with contextlib.suppress(OSError):
            process.stdin.close()
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        self._listener.join()
        process.stdout.close()


def answer(subject: Here, request: Mapping[str, Any]) -> dict[str, Any]:
    """The child's side of one message."""
    match request["do"]:
        case "sample":
            return {"block": subject.sample(int(request["count"]))}
        case "save":
            subject.save(Path(request["path"]))
            return {}
        case "close":
            peak = peak_rss_mib()
            subject.close()
            return {"peak_rss_mib": peak}
        case other:
            return {"gone": f"{other!r} is not understood"}


def artifact_hash(artifact: Artifact) -> str:
    """One hash for an artifact of many files."""
    lines = sorted(f"{file.sha256}  {file.path}\n" for file in artifact.files)
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def expected(error: Exception) -> str:
    """An expected error's own words, else its type and text."""
    if isinstance(error, (MinuetError, GoneError)):
        return str(error)
    return f"{type(error).__name__}: {error}"[:300]
