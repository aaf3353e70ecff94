"""An engine is trusted by this user's own record of building it, and by nothing else."""

import hashlib
import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from minuet.contracts.engine import (
    Library,
    doubt,
    installed_library,
    keep,
    recall,
    remember,
    user_folder,
)
from minuet.contracts.errors import MissingBackendError, Refusal

ENGINE = b"compiled code"
RTX = Library(name="tensorrt_rtx", version="1.7", trt=SimpleNamespace(ComputeCapability=0))


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path / "state" / "minuet"


def record() -> Path:
    return next((user_folder() / "engines").glob("*.json"))


def reason(device: str = "SM86", library: Library = RTX, engine: bytes = ENGINE) -> str:
    refusal = doubt(engine, library, device)
    return refusal.reason if isinstance(refusal, Refusal) else ""


def test_what_this_user_built_is_trusted_on_the_devices_it_was_built_for() -> None:
    remember(ENGINE, RTX, ("SM86", "SM89"))
    assert reason("SM86") == reason("SM89") == reason("") == ""
    assert "built for SM86 SM89, and this GPU is SM120" in reason("SM120")


def test_an_engine_of_another_is_not_trusted() -> None:
    assert "no record of building it" in reason()
    remember(ENGINE, RTX, ("SM86",))
    assert "no record of building it" in reason(engine=ENGINE + b"!")


def test_another_version_or_library_is_not_trusted() -> None:
    remember(ENGINE, RTX, ("SM86",))
    newer = Library(name="tensorrt_rtx", version="1.8", trt=None)
    other = Library(name="tensorrt", version="1.7", trt=None)
    assert "built by tensorrt_rtx 1.7, not by tensorrt_rtx 1.8" in reason(library=newer)
    assert "not by tensorrt 1.7" in reason(library=other)


def test_records_are_for_their_owner_alone(home: Path) -> None:
    remember(ENGINE, RTX, ("SM86",))
    assert record().stat().st_mode & 0o777 == 0o600
    assert record().parent.stat().st_mode & 0o777 == 0o700
    assert record().parent == home / "engines"


@pytest.mark.parametrize("mode", [0o620, 0o602])
def test_a_record_that_others_can_write_is_no_record(mode: int) -> None:
    remember(ENGINE, RTX, ("SM86",))
    record().chmod(mode)
    assert "can be written by other users" in reason()


def test_a_folder_that_others_can_write_holds_no_records() -> None:
    remember(ENGINE, RTX, ("SM86",))
    record().parent.chmod(0o777)
    assert "can be written by other users" in reason()
    keep("kernels", b"1")
    (user_folder() / "caches").chmod(0o777)
    assert recall("kernels") is None


def test_a_linked_record_is_no_record(tmp_path: Path) -> None:
    remember(ENGINE, RTX, ("SM86",))
    path = record()
    path.rename(tmp_path / "elsewhere.json")
    path.symlink_to(tmp_path / "elsewhere.json")
    assert "is a link" in reason()


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"sha256": 1}', "x" * 100_000])
def test_a_damaged_record_is_no_record(text: str) -> None:
    remember(ENGINE, RTX, ("SM86",))
    record().write_text(text)
    assert "damaged" in reason()


def test_a_record_under_anothers_name_is_no_record() -> None:
    remember(b"other", RTX, ("SM86",))
    row = json.loads(record().read_text())
    path = record()
    remember(ENGINE, RTX, ("SM86",))
    mine = next(p for p in path.parent.iterdir() if p != path)
    mine.write_text(json.dumps(row))
    assert reason() != ""


def test_a_cache_comes_back_as_it_was_left() -> None:
    assert recall("kernels") is None
    keep("kernels", b"123")
    assert recall("kernels") == b"123"


def test_a_home_that_cannot_be_written_leaves_engines_untrusted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))
    remember(ENGINE, RTX, ("SM86",))
    keep("kernels", b"1")
    assert "no record" in reason() and recall("kernels") is None


def test_a_relative_state_folder_is_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", "here")
    assert user_folder() == Path.home() / ".local/state/minuet"


def test_without_tensorrt_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    for name in ("tensorrt_rtx_libs", "tensorrt_rtx_bindings", "tensorrt"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(MissingBackendError, match=r"minuet\[tensorrt\]"):
        installed_library()


def test_what_is_too_large_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("minuet.contracts.engine.MAX_CACHE_BYTES", 3)
    keep("small", b"abc")
    keep("large", b"abcd")
    assert recall("small") == b"abc" and not (user_folder() / "caches/large").exists()


def test_a_record_under_another_engines_name_is_none() -> None:
    remember(ENGINE, RTX, ("SM86",))
    other = b"planted"
    record().rename(record().with_name(f"{hashlib.sha256(other).hexdigest()}.json"))
    assert "of another engine" in reason(engine=other)
