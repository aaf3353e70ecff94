"""What all verbs share: how they speak, how they show progress, how they fail.

A verb is one module, `minuet/commands/<verb>.py`, with one public function of the verb's name and
one row in `VERBS` of `minuet/__main__.py`. The function's signature is the verb's command line
(typer reads its annotations), and the docstring its help:

    def verify(
        bundle: Annotated[Path, typer.Argument(help="the bundle's folder")],
        json: Json = False,
    ) -> None:
        '''Check hashes and golden frames on every runtime that is here.'''
        out = Out(json=json)
        with out.progress("checking", total=len(files)) as step:
            for file in files:
                ...
                step()  # one of the total is done, and a safe place for Ctrl-C to stop
        out.finish({"verdict": "pass"}, "all files are as the manifest says")

* Only the standard library, numpy, typer, rich and `minuet.contracts` are imported at the top;
  stages and frameworks inside the functions that use them, so that `minuet --help` stays quick and
  a missing extra hurts only the verbs that need it.
* What people read goes through `Out`, never through print. With --json, standard output holds
  exactly one object: what `finish` was given. Progress and warnings go to standard error.
* Failing is raising: a MinuetError becomes its message on standard error and its exit code, and so
  do a full disk, a forbidden place, a missing library and Ctrl-C. A verdict that is no: first
  `out.finish(...)`, then raise VerdictError. Any other exception is a bug and shows its traceback.
* Long work reports each step, writes whole files or none (`contracts/files.py`), and continues when
  the same command is run again: Ctrl-C relies on it.
"""

import errno
import json as json_module
import os
import sys
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Annotated, Any, Protocol

import typer

from minuet.commands.interrupts import INTERRUPTS
from minuet.contracts.errors import MinuetError

Json = Annotated[bool, typer.Option("--json", help="print one JSON object instead of words")]
Seed = Annotated[int, typer.Option(min=0, help="the address of everything drawn at random")]
Threads = Annotated[int, typer.Option(min=0, max=1024, help="CPU threads; 0: one a core")]

WIDE = 1000  # columns of a place that has no width
QUIET_S = 20.0  # without a terminal, progress is a line this often

# What can be wrong with a name that was asked for.
NO_PLACE = {
    errno.ENAMETOOLONG: "the name is too long",
    errno.ELOOP: "links lead round and round",
    errno.ENOTDIR: "a file stands where a folder is needed",
}

# Which extra brings a module that a verb did not find.
EXTRAS = {
    "accelerate": "optimum",
    "av": "video",
    "coremltools": "coreml",
    "diffusers": "optimum",
    "executorch": "executorch",
    "onnx": "onnx",
    "onnxscript": "onnx",
    "openvino": "openvino",
    "optimum": "optimum",
    "psycopg": "curate",
    "pyarrow": "curate",
    "skia": "fast",
    "sqlalchemy": "curate",
    "starlette": "curate",
    "tensorrt": "tensorrt",
    "tensorrt_rtx": "tensorrt",
    "tensorrt_rtx_bindings": "tensorrt",
    "tensorrt_rtx_libs": "tensorrt",
    "torch": "distill",
    "torchao": "quantize",
    "transformers": "optimum",
    "uvicorn": "curate",
    "yaml": "distill",
}


class Step(Protocol):
    """Says that more of the total is done; may stop the verb, so call it where that is safe."""

    def __call__(self, count: int = 1, note: str = "") -> None:
        """`count` more are done; `note` is shown behind the bar until the next one."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Out:
    """Everything a verb says, to a person or, with `json`, to a program."""

    json: bool = False

    def say(self, text: str = "") -> None:
        """A line for people."""
        if not self.json:
            print(text, flush=True)

    def warn(self, text: str) -> None:
        """A line that must not be missed: on standard error, with --json too."""
        complain(f"warning: {text}")

    def table(self, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
        """Rows for people, aligned; numbers are set right, and the last column may fold."""
        if self.json:
            return
        from rich.console import Console
        from rich.table import Table

        table = Table(box=None, pad_edge=False, header_style="bold")
        for at, name in enumerate(columns):
            numeric = bool(rows) and all(isinstance(row[at], int | float) for row in rows)
            last = at == len(columns) - 1  # the wordy one: it gives way on a narrow terminal
            table.add_column(
                name, justify="right" if numeric else "left", no_wrap=not last, overflow="fold"
            )
        for row in rows:
            table.add_row(*(_cell(value) for value in row))
        # A pipe has no width: nothing is cut or folded there.
        width = None if sys.stdout.isatty() else WIDE
        Console(width=width, markup=False, highlight=False).print(table)

    @contextmanager
    def progress(self, label: str, total: int | None = None) -> Generator[Step]:
        """A bar while a block runs: on a terminal only; elsewhere a line now and then.

        With a total, Ctrl-C waits for the next step. Without one nothing can be promised: the bar
        only shows that something is going on, and Ctrl-C stops at once.
        """
        show = _bar if sys.stderr.isatty() else _lines
        with show(label, total, self.json) as advance:

            def step(count: int = 1, note: str = "") -> None:
                advance(count, note)
                INTERRUPTS.check()

            if total is None:
                yield step
                return
            with INTERRUPTS.stepwise():
                yield step

    def finish(self, value: Mapping[str, Any], text: str = "") -> None:
        """What came of it: `value` for programs, `text` for people."""
        if self.json:
            print(
                json_module.dumps(value, indent=1, ensure_ascii=False, default=_plain), flush=True
            )
        elif text:
            self.say(text)


def complain(text: str) -> None:
    """A line on standard error, exactly as it is."""
    print(text, file=sys.stderr, flush=True)


def in_words(error: BaseException) -> tuple[str, int] | None:
    """The message and exit code of an expected failure; None where it is a bug."""
    if isinstance(error, MinuetError):
        return str(error), error.exit_code
    if isinstance(error, KeyboardInterrupt):
        return INTERRUPTS.message, INTERRUPTS.exit_code
    if isinstance(error, ModuleNotFoundError):
        return _missing(error)
    if isinstance(error, MemoryError):
        return "There is not enough memory; close other programs or ask for a smaller size.", 2
    if isinstance(error, OSError):
        return _disk(error)
    return None


def switch(name: str) -> bool:
    """Whether an environment variable is 1; unset or 0 is no, and anything else a mistake."""
    value = os.environ.get(name, "0")
    if value not in ("0", "1"):
        raise ValueError(f"{name} is 0 or 1, got {value!r}")
    return value == "1"


def _missing(error: ModuleNotFoundError) -> tuple[str, int] | None:
    module = (error.name or "").partition(".")[0]
    if module not in EXTRAS:
        return None
    return (
        f"{module} is needed for this and is not installed: "
        f"pip install 'minuet[{EXTRAS[module]}]' brings it."
    ), 4


def _disk(error: OSError) -> tuple[str, int] | None:
    place = f"{error.filename}: " if error.filename else ""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"{place}the disk is full. Free some space and run the same command again.", 2
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return f"{place}not permitted; choose another place.", 2
    if error.errno in NO_PLACE:
        return f"{place}{NO_PLACE[error.errno]}; choose another name.", 2
    return None


def _cell(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _plain(value: Any) -> Any:
    item = getattr(value, "item", None)  # numpy scalars
    return item() if callable(item) else str(value)


_Advance = Callable[[int, str], None]


@contextmanager
def _bar(label: str, total: int | None, json: bool) -> Generator[_Advance]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn
    from rich.progress import TimeElapsedColumn as Elapsed
    from rich.progress import TimeRemainingColumn as Remaining

    words = TextColumn("{task.description}", markup=False)
    note_column = TextColumn("{task.fields[note]}", markup=False)
    counted = (BarColumn(), MofNCompleteColumn(), Remaining()) if total else ()
    columns = (SpinnerColumn(), words, *counted, Elapsed(), note_column)
    # A line that a verb prints meanwhile goes above the bar, unless it goes to a file.
    redirect = sys.stdout.isatty() and not json
    with Progress(*columns, console=Console(stderr=True), redirect_stdout=redirect) as bar:
        task = bar.add_task(label, total=total, note="")
        yield lambda count, note: bar.update(task, advance=count, note=note)


@contextmanager
def _lines(label: str, total: int | None, json: bool) -> Generator[_Advance]:
    began = spoke = time.monotonic()
    done = 0

    def advance(count: int, note: str) -> None:
        nonlocal done, spoke
        done += count
        if not json and time.monotonic() - spoke >= QUIET_S:
            spoke = time.monotonic()
            complain(f"{label}: {done}{f' of {total}' if total else ''} {note}".rstrip())

    if not json:
        complain(label)
    yield advance
    if not json and time.monotonic() - began >= QUIET_S:
        complain(f"{label}: done in {time.monotonic() - began:.0f} s")
