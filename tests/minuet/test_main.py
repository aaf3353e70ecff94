"""The command line as a whole: its table, its errors, its exit codes."""

import io
import json
import subprocess
import sys
from collections.abc import Callable
from types import ModuleType

import pytest
from typer.testing import CliRunner

from minuet import __main__ as command_line
from minuet import __version__
from minuet.__main__ import VERBS, app, load
from minuet.commands.common import Json, Out
from minuet.contracts.errors import (
    InconclusiveError,
    MissingBackendError,
    RequestError,
    VerdictError,
)


def test_a_terminal_without_unicode_shows_what_it_can(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(shown, "ascii"))
    monkeypatch.setattr(command_line, "app", lambda **_: print("兔 \udcff", flush=True))
    command_line.main()
    assert shown.getvalue() == rb"\u5154 \udcff" + b"\n"


@pytest.fixture
def verb(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[..., None]], None]:
    """Makes a function the verb `try`."""

    def add(function: Callable[..., None]) -> None:
        module = ModuleType("minuet_trial")
        module.__dict__["trial"] = function
        monkeypatch.setitem(sys.modules, "minuet_trial", module)
        monkeypatch.setitem(VERBS, "try", ("minuet_trial:trial", "a trial"))

    return add


def failing_with(error: BaseException) -> Callable[..., None]:
    def trial() -> None:
        raise error

    return trial


@pytest.mark.parametrize("name", VERBS)
def test_every_verb_loads_and_explains_itself(name: str) -> None:
    done = CliRunner().invoke(app, [name, "--help"])
    assert done.exit_code == 0
    assert load(name).help


@pytest.mark.parametrize("name", VERBS)
def test_every_verb_speaks_to_machines_too(name: str) -> None:
    options = {option for param in load(name).params for option in param.opts}
    assert "--json" in options


def test_help_lists_every_verb_and_loads_none() -> None:
    probe = (
        "import sys\nfrom minuet.__main__ import app\n"
        "try: app(['--help'])\n"
        "finally: print(*(m for m in sys.modules if m.startswith('minuet.commands.')))"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-c", probe], capture_output=True, text=True, check=False
    )
    *listing, loaded = done.stdout.strip().splitlines()
    assert set(loaded.split()) == {"minuet.commands.common", "minuet.commands.interrupts"}
    assert all(any(f" {name} " in line for line in listing) for name in VERBS)


def test_version_is_printed() -> None:
    done = CliRunner().invoke(app, ["--version"])
    assert (done.exit_code, done.stdout) == (0, f"minuet {__version__}\n")


def test_an_unknown_verb_is_a_wrong_request() -> None:
    done = CliRunner().invoke(app, ["waltz"])
    assert done.exit_code == 2 and "waltz" in done.stderr


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (VerdictError("no"), 1),
        (RequestError("wrong [red]text[/red] \\ kept"), 2),
        (InconclusiveError("too few"), 3),
        (MissingBackendError("no such library"), 4),
    ],
)
def test_an_expected_error_is_its_message_and_its_code(
    verb: Callable[[Callable[..., None]], None], error: Exception, code: int
) -> None:
    verb(failing_with(error))
    done = CliRunner().invoke(app, ["try"])
    assert (done.exit_code, done.stderr, done.stdout) == (code, f"{error}\n", "")


def test_a_bug_keeps_its_traceback(verb: Callable[[Callable[..., None]], None]) -> None:
    verb(failing_with(ZeroDivisionError("a bug")))
    assert isinstance(CliRunner().invoke(app, ["try"]).exception, ZeroDivisionError)


def test_debugging_keeps_the_traceback_of_expected_errors(
    verb: Callable[[Callable[..., None]], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MINUET_DEBUG", "1")
    verb(failing_with(RequestError("wrong")))
    assert isinstance(CliRunner().invoke(app, ["try"]).exception, RequestError)


def test_json_is_one_object_and_nothing_else(
    verb: Callable[[Callable[..., None]], None],
) -> None:
    def trial(json: Json = False) -> None:
        out = Out(json=json)
        out.say("words")
        out.table(("a",), [(1,)])
        with out.progress("working", total=1) as step:
            step()
        out.finish({"done": True}, "words")

    verb(trial)
    done = CliRunner().invoke(app, ["try", "--json"])
    assert json.loads(done.stdout) == {"done": True}
    assert done.stderr == ""


def test_the_console_script_is_the_module() -> None:
    assert callable(command_line.main)
    done = subprocess.run(
        [sys.executable, "-I", "-m", "minuet", "--version"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == f"minuet {__version__}\n"
