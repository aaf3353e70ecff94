"""Commands and their answers -> a file of JSON lines, and back: a device that is not here.

The first line says how the file was made: recorded on a device, or written from documentation
with its sources. Nothing that a written transcript holds was measured.
"""

import base64
import json
import subprocess
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TextIO

from minuet.benchmarks.devices.shell import MOST_BYTES, Done, Feed, Shell, Word
from minuet.benchmarks.subject import GoneError
from minuet.contracts.errors import DamagedError, RequestError
from minuet.contracts.records import record

SCHEMA = 1
RECORDED = "recorded on a device"
WRITTEN = "written from documentation, not recorded on a device"
LARGEST = 16 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """How a transcript was made."""

    transcript: int
    made: str  # RECORDED or WRITTEN
    sources: tuple[str, ...] = ()  # of the formats of a written one

    def __post_init__(self) -> None:
        if self.transcript != SCHEMA or self.made not in (RECORDED, WRITTEN):
            raise ValueError(f"schema {self.transcript}, made {self.made!r:.40}")
        if self.made == WRITTEN and not self.sources:
            raise ValueError("a written transcript names its sources")


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """One command and what came of it; bytes that are no text are "base64:..."."""

    run: tuple[str, ...]
    code: int = 0
    out: str = ""
    err: str = ""
    file: str = ""
    seconds: float = 0.0
    gone: str = ""  # why there was no answer
    talks: bool = False  # left running, with pipes: what passed through them is not kept


class Recorder:
    """A shell that writes down all that it runs."""

    def __init__(self, shell: Shell, path: Path) -> None:
        self._shell, self._path = shell, path
        header = Header(transcript=SCHEMA, made=RECORDED)
        path.write_text(json.dumps(asdict(header)) + "\n")

    def run(
        self,
        words: Sequence[Word],
        *,
        seconds: float = 60.0,
        limit: int = MOST_BYTES,
        feed: Feed | None = None,
    ) -> Done:
        """Run, and write down what came of it."""
        start = time.monotonic()
        try:
            done = self._shell.run(words, seconds=seconds, limit=limit, feed=feed)
        except GoneError as error:
            took = time.monotonic() - start
            self._write(Exchange(run=_names(words), code=-1, gone=str(error), seconds=took))
            raise
        self._write(
            Exchange(
                run=_names(words),
                code=done.code,
                out=_text(done.out),
                err=_text(done.err),
                file=_text(done.file),
                seconds=done.seconds,
            )
        )
        return done

    def start(self, words: Sequence[Word], errors: TextIO) -> subprocess.Popen[str]:
        """Start, and write down that it was."""
        self._write(Exchange(run=_names(words), talks=True))
        return self._shell.start(words, errors)

    def _write(self, exchange: Exchange) -> None:
        with self._path.open("a") as lines:
            lines.write(json.dumps(asdict(exchange)) + "\n")


class Replayer:
    """A shell that knows one conversation by heart, and refuses every other."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.header, self._left = read_transcript(path)

    def run(
        self,
        words: Sequence[Word],
        *,
        seconds: float = 60.0,
        limit: int = MOST_BYTES,
        feed: Feed | None = None,
    ) -> Done:
        """The answer that the transcript holds, if these are the words that it holds next."""
        asked = _names(words)
        if not self._left or self._left[0].run != asked:
            held = list(self._left[0].run) if self._left else "its end"
            raise RequestError(f"{self._path.name}: asked {list(asked)}, but it holds {held} next.")
        held_next = self._left.pop(0)
        if held_next.gone:
            raise GoneError(held_next.gone)
        return Done(
            code=held_next.code,
            out=_bytes(held_next.out),
            err=_bytes(held_next.err),
            file=_bytes(held_next.file),
            seconds=held_next.seconds,
        )

    def start(self, words: Sequence[Word], errors: TextIO) -> subprocess.Popen[str]:
        """A conversation through pipes is not replayed."""
        raise RequestError(f"{self._path.name}: what {words[0]} says through pipes is not kept.")

    def finish(self) -> None:
        """Raises RequestError where something was expected that was never asked."""
        if self._left:
            raise RequestError(f"{self._path.name}: never asked {list(self._left[0].run)}.")


def read_transcript(path: Path) -> tuple[Header, list[Exchange]]:
    """A transcript's header and its exchanges, in order.

    Raises:
        DamagedError: it is too large, or a line is none of a transcript.
    """
    if path.stat().st_size > LARGEST:
        raise DamagedError(f"{path}: more than {LARGEST >> 20} MiB is no transcript.")
    lines = path.read_text(errors="replace").splitlines()
    try:
        header: Header = record(Header, json.loads(lines[0]))
        return header, [record(Exchange, json.loads(line)) for line in lines[1:] if line]
    except (ValueError, IndexError, RecursionError) as error:
        raise DamagedError(f"{path}: not a transcript: {error}") from error


def _names(words: Sequence[Word]) -> tuple[str, ...]:
    return tuple(f"<{word.name}>" if isinstance(word, Path) else word for word in words)


def _text(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return f"base64:{base64.b64encode(data).decode()}"


def _bytes(text: str) -> bytes:
    coded = text.removeprefix("base64:")
    return text.encode() if coded == text else base64.b64decode(coded)
