"""Our own child at the other end of a pipe to a board -> a subject."""

import subprocess
import uuid
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol, TextIO

from minuet.benchmarks.devices.device import Board, slot
from minuet.benchmarks.devices.files import artifact_files, artifact_of, below
from minuet.benchmarks.devices.posix import joined
from minuet.benchmarks.devices.shell import plain
from minuet.benchmarks.process import LONGEST_ANSWER, Child
from minuet.benchmarks.subject import GoneError, Job, Opened

LARGEST_OUTPUT = 1 << 30
LONGEST_VERSION = 80
UNREACHED = 255  # how ssh says that it is not there any more; a child's own code is passed on


class Piped(Board, Protocol):
    """A board that also lets us talk to a command."""

    def start(self, words: list[str], errors: TextIO) -> subprocess.Popen[str]:
        """A command there, with pipes."""
        ...

    def lost(self, words: str) -> str:
        """The one message for a connection that broke."""
        ...


class RemoteChild(Child):
    """A subject in a process of a board that has Python and this version of minuet."""

    def __init__(self, job: Job, board: Piped, python: str) -> None:
        super().__init__(job)
        self._board, self._python = board, python
        self._slot = slot(board, job.bundle)
        self._name = f"job-{uuid.uuid4().hex[:12]}"

    def launch(self, folder: Path, said: TextIO) -> subprocess.Popen[str]:
        """Send what it needs, then start it there."""
        _, artifact = artifact_of(self.job)
        files = below(self._slot, artifact_files(self.job.bundle, artifact))
        words = {name: folder / name for name in ("job.json", "inputs.npz")}
        self._board.push(files | below(self._name, words))
        job = f"{self._board.folder}/{self._name}/job.json"
        # -P: whatever lies in the folder that ssh starts in is not imported.
        command = [self._python, "-P", "-m", "minuet.benchmarks.child", job]
        return self._board.start(["sh", "-c", f"exec {joined(command)}"], said)

    def there(self, path: Path) -> str:
        """The bundle has a place in the board's private folder; outputs lie beside the job."""
        if path == self.job.bundle:
            return f"{self._board.folder}/{self._slot}"
        return f"{self._board.folder}/{self._name}/outputs.npz"

    def bring(self, path: Path) -> None:
        """Fetch the outputs."""
        path.write_bytes(self._board.pull(f"{self._name}/outputs.npz", LARGEST_OUTPUT))

    def open(self) -> Opened:
        """As at home; what it calls its library is made fit for a terminal."""
        opened = super().open()
        return replace(opened, version=plain(opened.version)[:LONGEST_VERSION])

    def _listen(self, process: subprocess.Popen[str]) -> None:
        # One answer is due at a time: a device that talks unasked would fill our memory.
        assert process.stdout
        while line := process.stdout.readline(LONGEST_ANSWER):
            if self._answers.qsize() > 1:
                process.kill()
                break
            self._answers.put(line)
        self._answers.put(None)

    def _answer(self) -> dict[str, Any]:
        try:
            return super()._answer()
        except GoneError as error:
            # ssh's shared connection may hold our pipes for a while after its client has ended:
            # a further question would seem to be heard.
            self._silent = True
            raise GoneError(plain(str(error))) from None

    def _last_words(self) -> str:
        said = plain(super()._last_words())
        assert self._process
        return self._board.lost(said) if self._process.returncode == UNREACHED else said
