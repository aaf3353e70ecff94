"""A native runner on a board -> a subject: a process a turn, whose first runs are not counted."""

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from minuet.benchmarks.devices import posix
from minuet.benchmarks.devices.device import Board, slot
from minuet.benchmarks.devices.files import artifact_of, below, entry_files
from minuet.benchmarks.devices.runners import Call, Runner, Told, chosen, program_files
from minuet.benchmarks.devices.shell import Done
from minuet.benchmarks.memory import Memory
from minuet.benchmarks.process import ANSWER_SECONDS
from minuet.benchmarks.subject import Block, GoneError, Job, Opened, Watched
from minuet.contracts.artifact import Artifact
from minuet.contracts.files import sha256_of
from minuet.contracts.tensors import Array, Signature

SETTLE = 3  # runs of every process that are not counted: caches and clocks are cold in each
METERED = 10  # more runs in the longer of two processes whose energies are compared
LARGEST_OUTPUT = 1 << 30


def native_subject(
    board: Board, job: Job, runners: Mapping[str, Runner], tag: str
) -> "NativeSubject":
    """The subject of a job whose runtime has a native runner.

    Args:
        tag: names its files on the board, and nobody else's.

    Raises:
        GoneError: there is none for it, or it is no program.
    """
    runtime = job.runtime.partition(":")[0].rpartition(".")[2]
    runner = chosen(runners, runtime, board.name)
    manifest, artifact = artifact_of(job)
    signature = manifest.programs.get(artifact.component) or manifest.signature
    return NativeSubject(
        board=board, job=job, runner=runner, artifact=artifact, signature=signature, tag=tag
    )


def means(runs_ms: Sequence[float], count: int, batch: int) -> list[float]:
    """`count` samples of SETTLE + count x batch runs, each the mean of `batch`."""
    return [float(mean) for mean in np.reshape(runs_ms[SETTLE:], (count, batch)).mean(axis=1)]


@dataclass(slots=True, kw_only=True)
class NativeSubject:
    """A model that a native program runs."""

    board: Board
    job: Job
    runner: Runner
    artifact: Artifact
    signature: Signature
    tag: str
    _calls: int = 0

    def open(self) -> Opened:
        """Send everything, and run once."""
        self._send()
        told = self._told(self._call(runs=1))
        version = f"{self.runner.name} sha256:{sha256_of(self.runner.binary)[:12]}"
        return Opened(load_ms=told.load_ms, first_ms=told.first_ms, version=version)

    def sample(self, count: int, batch: int = 1) -> Block:
        """A fresh process; its first runs are left out, since each begins cold."""
        told = self._told(self._call(runs=SETTLE + count * batch))
        return {"total": means(told.runs_ms, count, batch)}

    def save(self, path: Path) -> None:
        """The outputs of one more run; nothing where the program cannot keep them."""
        call = self._call(runs=1, outputs=True)
        if not self.runner.output(call, 0):
            return
        self._told(call)
        outputs = {
            spec.name: self._output(self.runner.output(call, index), spec.dtype, spec.shape)
            for index, spec in enumerate(self.signature.outputs)
        }
        np.savez(path, **outputs)  # type: ignore[arg-type]  # of numpy: names may be its own flags

    def stages(self, count: int) -> Watched:
        """Native runners do not tell."""
        raise GoneError(f"{self.runner.name} does not say what its operators took")

    def close(self, *, weigh: bool = False) -> Memory:
        """Nothing is left running; `weigh`: what another process of it holds."""
        if not weigh:
            return Memory()
        done = self._run(self._call(runs=SETTLE), watched=True)
        return Memory(
            peak_rss_mib=posix.memory_mib(done.both, "VmHWM"),
            peak_pss_mib=posix.memory_mib(done.both, "Pss"),
        )

    def metered_mj(self, meter: Callable[[], float]) -> float:
        """Energy of one run: what the rails tell of a longer process less that of a shorter one.

        Raises:
            GoneError: the rails are not to be read.
        """
        self._send()
        spent: list[float] = []
        for runs in (SETTLE, SETTLE + METERED):
            before = meter()
            self._told(self._call(runs=runs))
            spent.append((meter() - before) / 1e3)
        return max(0.0, spent[1] - spent[0]) / METERED

    @property
    def _order(self) -> tuple[str, ...]:
        return tuple(spec.name for spec in self.signature.inputs)

    @property
    def _entry(self) -> str:
        return posix.safe_name(f"{slot(self.board, self.job.bundle)}/{self.artifact.entry}")

    def _send(self) -> None:
        """Program, model and inputs; what is there is not sent again."""
        self.board.push(program_files(self.runner))
        files = entry_files(self.job.bundle, self.artifact)
        self.board.push(below(slot(self.board, self.job.bundle), files))
        inputs = self.runner.inputs(self._entry, self.job.inputs, self._order)
        with tempfile.TemporaryDirectory(prefix="minuet-") as folder:
            paths: dict[str, Path] = {}
            for index, (name, data) in enumerate(inputs.items()):
                paths[name] = Path(folder) / str(index)
                paths[name].write_bytes(data)
            self.board.push(paths)

    def _call(self, *, runs: int, outputs: bool = False) -> Call:
        self._calls += 1
        return Call(
            folder=self.board.folder,
            entry=self._entry,
            program=f"{self.board.folder}/{self.runner.binary.name}",
            tag=f"{self.tag}-{self._calls}",
            runs=runs,
            threads=self.job.threads,
            outputs=outputs,
        )

    def _told(self, call: Call) -> Told:
        done = self._run(call)
        answer = self.runner.answer(call)
        samples = self.board.pull(answer).decode(errors="replace") if answer else ""
        told = self.runner.told(done, samples, call)
        if len(told.runs_ms) != call.runs:
            raise GoneError(f"{self.runner.name}: {len(told.runs_ms)} times of {call.runs} runs")
        return told

    def _run(self, call: Call, *, watched: bool = False) -> Done:
        command = self.runner.command(call, self._order)
        if self.runner.libraries:
            command = ["env", f"LD_LIBRARY_PATH={call.folder}", *command]
        if watched:
            command = posix.script(posix.WATCHED, *command)
        done = self.board.run(command, seconds=ANSWER_SECONDS)
        if done.code:
            raise GoneError(f"{self.runner.name} ended with code {done.code}: {done.last_words}")
        return done

    def _output(self, name: str, dtype: str, shape: tuple[int, ...]) -> Array:
        data = self.board.pull(name, LARGEST_OUTPUT)
        try:
            return np.frombuffer(data, np.dtype(dtype).newbyteorder("<")).reshape(shape)
        except ValueError as error:
            raise GoneError(f"{self.runner.name}: {name} is no output: {error}") from error
