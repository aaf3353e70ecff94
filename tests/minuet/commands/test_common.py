"""How verbs speak, show progress, and fail."""

import errno
import io
import json
import sys
from typing import Any

import numpy as np
import pytest

from minuet.commands import common
from minuet.commands.common import EXTRAS, Out, in_words, switch
from minuet.contracts.errors import RequestError


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_people_read_words_and_machines_read_an_object(capsys: pytest.CaptureFixture[str]) -> None:
    Out().finish({"value": 1}, "one")
    assert capsys.readouterr().out == "one\n"
    Out(json=True).finish({"value": np.float32(0.5), "where": common.__name__}, "one")
    assert json.loads(capsys.readouterr().out) == {"value": 0.5, "where": common.__name__}


def test_a_table_is_not_cut_where_there_is_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    long = "x" * 300
    Out().table(("name", "ms"), [(long, 1.23456), ("[b]", 2.0)])
    said = capsys.readouterr().out
    assert long in said and "1.235" in said and "[b]" in said


def test_warnings_go_to_standard_error_with_json_too(capsys: pytest.CaptureFixture[str]) -> None:
    Out(json=True).warn("the word 'zebra' is not known")
    said = capsys.readouterr()
    assert (said.out, said.err) == ("", "warning: the word 'zebra' is not known\n")


def test_without_a_terminal_progress_is_a_line_now_and_then(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(common, "QUIET_S", 0.0)
    with Out().progress("drawing", total=3) as step:
        step(2, "a note")
    said = capsys.readouterr().err.splitlines()
    assert said[:2] == ["drawing", "drawing: 2 of 3 a note"]


def test_on_a_terminal_progress_is_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with Out().progress("drawing", total=3) as step:
        step(3, "[red]as it is[/red]")
    said = terminal.getvalue()
    assert "3/3" in said and "[red]as it is[/red]" in said


def no_space(path: str | None) -> OSError:
    return OSError(errno.ENOSPC, "No space left on device", path)


@pytest.mark.parametrize(
    ("error", "words", "code"),
    [
        (RequestError("wrong"), "wrong", 2),
        (no_space("out.webp"), "out.webp: the disk is full", 2),
        (no_space(None), "the disk is full", 2),
        (PermissionError(errno.EACCES, "no", "/x"), "/x: not permitted; choose another place", 2),
        (ModuleNotFoundError(name="torch.nn"), r"pip install 'minuet[distill]'", 4),
        (MemoryError(), "not enough memory", 2),
        (KeyboardInterrupt(), "Run the same command again to continue", 130),
    ],
)
def test_an_expected_failure_has_words_and_a_code(
    error: BaseException, words: str, code: int
) -> None:
    found = in_words(error)
    assert found is not None and words in found[0] and found[1] == code


@pytest.mark.parametrize(
    "error", [KeyError("a"), ModuleNotFoundError(name="minuet.nowhere"), OSError(errno.EIO, "io")]
)
def test_a_bug_has_none(error: BaseException) -> None:
    assert in_words(error) is None


@pytest.mark.parametrize("number", [errno.ENAMETOOLONG, errno.ELOOP, errno.ENOTDIR])
def test_a_name_that_cannot_be_is_a_wrong_request(number: int) -> None:
    found = in_words(OSError(number, "no", "name"))
    assert found is not None and found[1] == 2
    assert found[0].startswith("name: ") and "another name" in found[0]


def test_every_extra_that_is_advised_exists() -> None:
    import importlib.metadata

    offered = importlib.metadata.metadata("minuet").get_all("Provides-Extra") or []
    assert set(EXTRAS.values()) <= set(offered)


@pytest.mark.parametrize(("value", "answer"), [(None, False), ("0", False), ("1", True)])
def test_a_switch_is_one_or_zero(
    monkeypatch: pytest.MonkeyPatch, value: str | None, answer: bool
) -> None:
    monkeypatch.delenv("MINUET_TRIAL", raising=False)
    if value is not None:
        monkeypatch.setenv("MINUET_TRIAL", value)
    assert switch("MINUET_TRIAL") is answer


def test_a_switch_refuses_anything_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINUET_TRIAL", "yes")
    with pytest.raises(ValueError, match="MINUET_TRIAL is 0 or 1, got 'yes'"):
        switch("MINUET_TRIAL")


def test_plain_values_are_what_json_knows() -> None:
    value: dict[str, Any] = {"count": np.int64(3), "flag": np.bool_(True)}
    assert json.loads(json.dumps(value, default=common._plain)) == {"count": 3, "flag": True}
