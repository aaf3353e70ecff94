"""A job becomes a subject in a fresh process, asked and answering in lines of JSON."""

import contextlib
import json
import os
import queue
import subprocess
import sys
import tempfile
import threading
from dataclasses import fields
from pathlib import Path
from typing import Any, TextIO, cast

import numpy as np

from minuet.benchmarks.memory import Memory
from minuet.benchmarks.subject import Block, GoneError, Job, Opened, Watched
from minuet.contracts.records import record
from minuet.contracts.report import Operator

ANSWER_SECONDS = 600.0  # an engine may be built while opening
LONGEST_ANSWER = 64 << 20  # characters
OPENED, MEMORY = (tuple(one.name for one in fields(kind)) for kind in (Opened, Memory))


class Child:
    """A subject in a fresh process of its own: cold start and memory are honest.

    The two sides speak JSON, one line a message, so that a phone or a board behind a pipe can
    answer in the same words; what it says is checked, and nothing is pickled. A subject on another
    machine overrides `launch`, `there` and `bring`: nothing else touches its side of the border.
    """

    def __init__(self, job: Job, *, answer_seconds: float = ANSWER_SECONDS) -> None:
        self.job = job
        self.answer_seconds = answer_seconds
        self._silent = False  # who did not answer once is not asked again
        self._process: subprocess.Popen[str] | None = None
        self._listener: threading.Thread | None = None
        self._answers: queue.Queue[str | None] = queue.Queue()
        self._folder: tempfile.TemporaryDirectory[str] | None = None

    # --- the border ------------------------------------------------------------------------------

    def launch(self, folder: Path, said: TextIO) -> subprocess.Popen[str]:
        """Start the other side: requests are its standard input, answers its standard output.

        Args:
            folder: holds job.json and inputs.npz for it.
            said: takes its standard error, whose last line explains an early end.
        """
        # The child finds what this process finds, wherever it was started.
        path = os.pathsep.join(entry for entry in sys.path if entry)
        return subprocess.Popen(
            [sys.executable, "-m", "minuet.benchmarks.child", str(folder / "job.json")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=said,
            text=True,
            env={**os.environ, "PYTHONPATH": path},
        )

    def there(self, path: Path) -> str:
        """What the other side calls a path of ours: the bundle's, or that of outputs to write."""
        return str(path.resolve())

    def bring(self, path: Path) -> None:
        """Fetch what the other side wrote for `path`; in a process of this machine it is there."""

    # --- the subject -----------------------------------------------------------------------------

    def open(self) -> Opened:
        """Start the process; GoneError where it refuses."""
        self._start(watch=0)
        told = self._answer()
        opened: Opened = checked(Opened, {name: told[name] for name in OPENED if name in told})
        return opened

    def sample(self, count: int, batch: int = 1) -> Block:
        """Ask for `count` samples."""
        return _block(self._ask({"do": "sample", "count": count, "batch": batch}))

    def stages(self, count: int) -> Watched:
        """Start a process that does nothing else."""
        self._start(watch=count)
        told = self._answer()
        operators = checked(tuple[Operator, ...], told.get("operators", []), "operators")
        return Watched(
            block=_block(told), operators=operators, untimed=str(told.get("untimed", ""))[:300]
        )

    def save(self, path: Path) -> None:
        """Ask for the outputs of one more run."""
        self._ask({"do": "save", "path": self.there(path)})
        self.bring(path)

    def close(self, *, weigh: bool = False) -> Memory:
        """End the process, by its own will if it can, and tell what it held."""
        found = Memory()
        if self._process:
            with contextlib.suppress(GoneError):
                told = self._ask({"do": "close", "weigh": weigh})
                found = checked(Memory, {name: told.get(name) for name in MEMORY})
            self._end()
        if self._folder:
            self._folder.cleanup()
        return found

    # --- the pipe --------------------------------------------------------------------------------

    def _start(self, watch: int) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="minuet-bench-")
        folder = Path(self._folder.name)
        inputs: dict[str, Any] = dict(self.job.inputs)
        np.savez(folder / "inputs.npz", **inputs)
        words = {
            "runtime": self.job.runtime,
            "bundle": self.there(self.job.bundle),
            "artifact": self.job.artifact,
            "threads": self.job.threads,
            "watch": watch,
        }
        (folder / "job.json").write_text(json.dumps(words))
        with (folder / "stderr").open("w") as said:
            self._process = self.launch(folder, said)
        self._listener = threading.Thread(target=self._listen, args=(self._process,), daemon=True)
        self._listener.start()

    def _listen(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout
        while line := process.stdout.readline(LONGEST_ANSWER):
            self._answers.put(line)
        self._answers.put(None)

    def _ask(self, request: dict[str, Any]) -> dict[str, Any]:
        assert self._process and self._process.stdin
        if self._silent:
            raise GoneError("it does not answer")
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
            self._silent = True
            raise GoneError(f"no answer in {self.answer_seconds:.0f} s") from None
        if line is None:
            self._silent = True  # a pipe that outlives its process would take further questions
            raise GoneError(self._last_words())
        try:
            answer = json.loads(line)
        except (ValueError, RecursionError):
            answer = None
        if not isinstance(answer, dict):
            raise GoneError(f"its answer is no JSON object: {line!r:.80}")
        if "gone" in answer:
            raise GoneError(str(answer["gone"])[:300])
        return cast("dict[str, Any]", answer)

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
            process.wait(timeout=0 if self._silent else 10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        self._listener.join()
        process.stdout.close()


def checked(kind: Any, value: Any, name: str = "") -> Any:
    """What came across the border, as a type has it.

    Raises:
        GoneError: it is of another kind, or holds what no JSON number is.
    """
    try:
        return record(kind, value, name)
    except ValueError as error:
        raise GoneError(f"its answer is damaged: {error}") from error


def _block(answer: dict[str, Any]) -> Block:
    rows = checked(dict[str, tuple[float, ...]], answer.get("block"), "block")
    if any(value < 0 for values in rows.values() for value in values):
        raise GoneError("its answer is damaged: a time is below 0")
    return {name: list(values) for name, values in rows.items()}
