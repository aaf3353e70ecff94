"""The doctor says what works, and why something does not."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from minuet.__main__ import app
from minuet.commands.doctor import (
    BACKENDS,
    Backend,
    import_fault,
    look,
    pinned_versions,
)


def test_the_report_has_a_row_for_each_backend() -> None:
    done = CliRunner().invoke(app, ["doctor", "--quick", "--json"])
    said = json.loads(done.stdout)
    assert [row["name"] for row in said["backends"]] == [one.name for one in BACKENDS]
    assert said["machine"]["cores"] >= 1


def test_people_read_a_table() -> None:
    done = CliRunner().invoke(app, ["doctor", "--quick"])
    assert done.exit_code == 0
    assert "numpy" in done.stdout and "library" in done.stdout


def test_what_is_not_installed_comes_with_the_command_that_brings_it() -> None:
    absent = Backend(name="no-such-library", module="nothing", extra="gpu", does="nothing")
    found = look(absent, {}, quick=True)
    assert not found.works and found.reason == "pip install 'minuet[gpu]'"


def test_a_library_that_was_half_removed_has_a_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "ruin-1.0.dist-info").mkdir()
    (tmp_path / "ruin-1.0.dist-info" / "METADATA").write_text("Name: ruin\n")
    monkeypatch.syspath_prepend(tmp_path)
    found = look(Backend(name="ruin", module="ruin", extra="", does="nothing"), {}, quick=True)
    assert found.version == "unknown"


def test_what_is_installed_and_broken_says_why() -> None:
    broken = Backend(name="numpy", module="numpy.no_such_module", extra="", does="everything")
    found = look(broken, {"numpy": "1"}, quick=False)
    assert (found.works, found.tested) == (False, "1")
    assert "no_such_module" in found.reason


def test_a_crash_while_importing_is_told_and_survived() -> None:
    assert import_fault("os; os._exit(7)") == "the import ended with code 7"


def test_a_healthy_import_has_no_fault() -> None:
    assert import_fault("json, numpy") == ""


def test_a_tested_version_is_known_for_every_backend() -> None:
    assert {one.name for one in BACKENDS} <= set(pinned_versions())
