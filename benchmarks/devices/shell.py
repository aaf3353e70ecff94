"""A command of this machine -> its answer, bounded in bytes and in time."""

import contextlib
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Protocol, TextIO

from minuet.benchmarks.subject import GoneError
from minuet.contracts.errors import MissingBackendError

Word = str | Path  # a Path is a file of this machine: transcripts know it by its name only
Feed = Callable[[IO[bytes]], object]

FILE = "{file}"  # stands for a fresh file that the command writes its answer into
MOST_BYTES = 1 << 20  # of one stream of one answer; a hostile device would send for ever
LINGER_SECONDS = 30.0  # longer than ssh needs to notice that a shared connection is dead
TAIL = 200  # characters of a device's own words that a message repeats


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """How a command ended, and all that it said."""

    code: int
    out: bytes = b""
    err: bytes = b""
    file: bytes = b""  # what it wrote into FILE
    seconds: float = 0.0

    @property
    def text(self) -> str:
        """Standard output; what is not UTF-8 is replaced."""
        return self.out.decode(errors="replace")

    @property
    def both(self) -> str:
        """Standard output, then standard error."""
        return f"{self.text}\n{self.err.decode(errors='replace')}"

    @property
    def last_words(self) -> str:
        """The last line of what it complained of, fit for a terminal."""
        said = self.err.decode(errors="replace").strip() or self.text.strip()
        return plain(said.rpartition("\n")[2])[-TAIL:] or f"exit code {self.code}"


class Shell(Protocol):
    """Whoever runs commands: this machine, or a transcript in its place."""

    def run(
        self,
        words: Sequence[Word],
        *,
        seconds: float = 60.0,
        limit: int = MOST_BYTES,
        feed: Feed | None = None,
    ) -> Done:
        """Run to the end.

        Args:
            words: the program and its arguments; no shell of this machine reads them.
            limit: bytes of either stream, and of the file, before it is stopped.
            feed: writes standard input; there is none without it.

        Raises:
            MissingBackendError: there is no such program here.
            GoneError: it said too much, or did not end in time.
        """
        ...

    def start(self, words: Sequence[Word], errors: TextIO) -> subprocess.Popen[str]:
        """Leave it running, with pipes to talk through."""
        ...


class Local:
    """This machine itself."""

    def run(
        self,
        words: Sequence[Word],
        *,
        seconds: float = 60.0,
        limit: int = MOST_BYTES,
        feed: Feed | None = None,
    ) -> Done:
        """Run to the end, as Shell says."""
        with _answer_file(words) as (command, written):
            start = time.monotonic()
            process = _started(command, fed=feed is not None)
            assert process.stdout and process.stderr
            pipes = (process.stdout, process.stderr)
            streams = [_Bounded(pipe, limit, process) for pipe in pipes]
            with _stopped_after(process, seconds) as late:
                if feed:
                    _fed(process, feed)
                code = process.wait()
                out, err = [stream.all() for stream in streams]
            if late.is_set():
                raise GoneError(f"{words[0]}: no answer in {seconds:.0f} s")
            if any(stream.over for stream in streams) or _size(written) > limit:
                raise GoneError(f"{words[0]}: said more than {limit} bytes, and was stopped")
            took = time.monotonic() - start
            return Done(code=code, out=out, err=err, file=_read(written), seconds=took)

    def start(self, words: Sequence[Word], errors: TextIO) -> subprocess.Popen[str]:
        """Leave it running, as Shell says."""
        with _here(words):
            return subprocess.Popen(
                [str(word) for word in words],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                encoding="utf-8",
                errors="replace",
            )


def plain(text: str) -> str:
    """Text without what a terminal would obey."""
    return "".join(sign if sign.isprintable() else " " for sign in text).strip()


class _Bounded:
    """One stream, read in a thread of its own; the process ends when it says too much."""

    def __init__(self, stream: IO[bytes], limit: int, process: subprocess.Popen[bytes]) -> None:
        self.over = False
        self._stream, self._limit, self._process = stream, limit, process
        self._read = b""
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        with self._stream:
            self._read = self._stream.read(self._limit + 1)
            if len(self._read) > self._limit:
                self.over = True
                self._process.kill()

    def all(self) -> bytes:
        """What was read, once the process has ended.

        Raises:
            GoneError: something that it started still holds the stream.
        """
        self._thread.join(LINGER_SECONDS)
        if self._thread.is_alive():
            raise GoneError("it ended, and left something running that holds its output")
        return self._read


def _started(command: Sequence[str], *, fed: bool) -> subprocess.Popen[bytes]:
    stdin = subprocess.PIPE if fed else subprocess.DEVNULL
    with _here(command):
        return subprocess.Popen(
            command, stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )


@contextlib.contextmanager
def _here(words: Sequence[Word]) -> Iterator[None]:
    try:
        yield
    except (FileNotFoundError, PermissionError) as error:
        raise MissingBackendError(
            f"{words[0]} is not on this machine ({error.strerror}); install it, or put it on PATH."
        ) from error


def _fed(process: subprocess.Popen[bytes], feed: Feed) -> None:
    assert process.stdin
    # It may leave before it has read all: its own words say why.
    with contextlib.suppress(BrokenPipeError), process.stdin as stdin:
        feed(stdin)


@contextlib.contextmanager
def _stopped_after(process: subprocess.Popen[bytes], seconds: float) -> Iterator[threading.Event]:
    late = threading.Event()

    def stop() -> None:
        late.set()
        process.kill()

    timer = threading.Timer(seconds, stop)
    timer.start()
    try:
        yield late
    finally:
        timer.cancel()
        if process.poll() is None:
            process.kill()
            process.wait()


@contextlib.contextmanager
def _answer_file(words: Sequence[Word]) -> Iterator[tuple[list[str], Path | None]]:
    """The command as it is run, and the file that stands for FILE in it."""
    if FILE not in words:
        yield [str(word) for word in words], None
        return
    with tempfile.TemporaryDirectory(prefix="minuet-") as folder:
        path = Path(folder) / "answer"
        yield [str(path) if word == FILE else str(word) for word in words], path


def _size(path: Path | None) -> int:
    return path.stat().st_size if path and path.exists() else 0


def _read(path: Path | None) -> bytes:
    return path.read_bytes() if path and path.exists() else b""
