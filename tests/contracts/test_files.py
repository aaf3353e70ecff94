"""Bytes to disk: whole or not at all, and nothing outside its folder."""

import errno
import hashlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from minuet.contracts.errors import DamagedError, RequestError
from minuet.contracts.files import (
    CHUNK,
    contained,
    disk_errors,
    read_json,
    sha256_of,
    write_bytes,
    write_folder,
    write_json,
)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def failing(code: int) -> Callable[..., int]:
    def fail(*arguments: object) -> int:
        raise OSError(code, os.strerror(code))

    return fail


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="only Linux has such a place")
def test_a_folder_that_takes_no_files_is_said_so() -> None:
    with pytest.raises(RequestError, match=r"x.webp: no file can be made there; choose another"):
        write_bytes(Path("/proc/x.webp"), b"")


# --- hashes and names ------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 1, CHUNK, CHUNK + 1])
def test_a_hash_is_that_of_all_bytes(tmp_path: Path, size: int) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(size))
    assert sha256_of(path) == hashlib.sha256(bytes(size)).hexdigest()


@pytest.mark.parametrize("name", ["a", "a/b.c", "./a", "a..b", "..a"])
def test_a_name_below_the_root_is_a_path_below_the_root(tmp_path: Path, name: str) -> None:
    assert contained(tmp_path, name) == tmp_path / name


@pytest.mark.parametrize(
    "name", ["", "..", "../a", "a/../../b", "a/..", "/etc/passwd", "a\\b", "..\\a", "C:a", "a\0b"]
)
def test_a_name_that_points_outside_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(DamagedError, match="points outside its folder; refused"):
        contained(tmp_path, name)


def test_a_name_that_is_no_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DamagedError, match="points outside its folder"):
        contained(tmp_path, 7)  # type: ignore[arg-type]


def test_a_link_that_leaves_the_root_is_refused_and_one_that_stays_is_not(tmp_path: Path) -> None:
    root = tmp_path / "root"
    (root / "real").mkdir(parents=True)
    (root / "out").symlink_to(tmp_path)
    (root / "in").symlink_to(root / "real")
    with pytest.raises(DamagedError, match="leaves its folder by a link"):
        contained(root, "out/secret")
    assert contained(root, "in/file") == root / "in" / "file"


def test_a_link_to_itself_is_refused(tmp_path: Path) -> None:
    (tmp_path / "round").symlink_to("round")
    with pytest.raises(DamagedError, match="leaves its folder by a link"):
        contained(tmp_path, "round/file")


# --- files -----------------------------------------------------------------------------------


def test_a_file_is_written_with_its_folders_and_replaced(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "file"
    write_bytes(path, b"one")
    write_bytes(path, b"three")
    assert path.read_bytes() == b"three" and names(path.parent) == ["file"]
    assert path.stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
@pytest.mark.parametrize("call", ["fsync", "replace", "write"])
def test_a_full_disk_is_said_and_the_file_before_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, code: int
) -> None:
    path = tmp_path / "file"
    write_bytes(path, b"before")
    if call == "write":
        monkeypatch.setattr(Path, "open", opener(failing(code)))
    else:
        monkeypatch.setattr(f"os.{call}", failing(code))
    with pytest.raises(RequestError, match=r"file: the disk is full; .* Free some space"):
        write_bytes(path, b"after")
    assert path.read_bytes() == b"before" and names(tmp_path) == ["file"]


def opener(write: Callable[..., int]) -> Callable[..., object]:
    """Path.open, whose stream fails at its first write."""
    opened = Path.open

    def failing_open(path: Path, mode: str) -> object:
        stream = opened(path, mode, buffering=0)
        stream.write = write  # type: ignore[method-assign]
        return stream

    return failing_open


@pytest.mark.parametrize("code", [errno.EACCES, errno.EPERM, errno.EROFS])
def test_a_forbidden_place_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    monkeypatch.setattr("os.fsync", failing(code))
    with pytest.raises(RequestError, match="writing is not permitted; choose another place"):
        write_bytes(tmp_path / "file", b"")
    assert not names(tmp_path)


def test_another_trouble_keeps_its_own_name(tmp_path: Path) -> None:
    with pytest.raises(BlockingIOError), disk_errors(tmp_path):
        raise BlockingIOError(errno.EAGAIN, "later")


# --- JSON ------------------------------------------------------------------------------------


def test_json_comes_back_and_equal_values_are_equal_bytes(tmp_path: Path) -> None:
    write_json(tmp_path / "one", {"b": [1, 2.5, None], "a": "ü"})
    write_json(tmp_path / "two", {"a": "ü", "b": [1, 2.5, None]})
    assert read_json(tmp_path / "one") == {"a": "ü", "b": [1, 2.5, None]}
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_what_json_cannot_say_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "file", float("nan"))
    assert not names(tmp_path)


@pytest.mark.parametrize(
    "data",
    [b"", b'{"a": ', b"{} {}", b"\xff\xfe", b"[" * 100_000, b"9" * 5000],
    ids=["nothing", "half", "two", "no text", "too deep", "too long a number"],
)
def test_what_is_not_json_is_refused_by_name(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "file").write_bytes(data)
    with pytest.raises(DamagedError, match="file: not readable as JSON"):
        read_json(tmp_path / "file")


def test_json_is_bounded(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"1" + b" " * (2 << 20))
    with pytest.raises(DamagedError, match="larger than 1 MiB; refused"):
        read_json(tmp_path / "file", max_bytes=1 << 20)
    assert read_json(tmp_path / "file") == 1


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DamagedError, match="nowhere: missing"):
        read_json(tmp_path / "nowhere")
    (tmp_path / "file").touch()
    with pytest.raises(DamagedError, match="missing"):
        read_json(tmp_path / "file" / "within")


def test_a_pipe_in_the_place_of_a_file_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/zero")):
        with pytest.raises(DamagedError, match="a pipe or a device"):
            read_json(path)


def test_any_name_that_the_disk_takes_can_be_written(tmp_path: Path) -> None:
    for name in ("n" * 255, "兔" * 85):
        write_bytes(tmp_path / name, b"new")
        assert (tmp_path / name).read_bytes() == b"new"
        (tmp_path / name).unlink()
        write_one(tmp_path / name, "new")
        shutil.rmtree(tmp_path / name)


def test_a_folder_in_the_place_of_a_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DamagedError, match="a folder, not a file"):
        read_json(tmp_path)


# --- folders ---------------------------------------------------------------------------------


def write_one(path: Path, word: str, *, replace: bool = True) -> None:
    with write_folder(path, replace=replace) as staging:
        (staging / word).write_text(word)


def test_a_folder_appears_when_the_block_ends(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "folder"
    with write_folder(path) as staging:
        (staging / "file").touch()
        assert not path.exists() and staging.parent == path.parent
    assert names(path) == ["file"] and names(tmp_path / "deep") == ["folder"]
    assert path.stat().st_mode & 0o777 == 0o755


def test_a_new_folder_takes_the_whole_place_of_the_old(tmp_path: Path) -> None:
    write_one(tmp_path / "folder", "old")
    write_one(tmp_path / "folder", "new")
    assert names(tmp_path / "folder") == ["new"] and names(tmp_path) == ["folder"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
@pytest.mark.parametrize("before", [False, True])
def test_a_block_that_fails_leaves_everything_as_it_was(
    tmp_path: Path, error: type[BaseException], before: bool
) -> None:
    if before:
        write_one(tmp_path / "folder", "old")
    with pytest.raises(error), write_folder(tmp_path / "folder") as staging:
        (staging / "half").touch()
        raise error
    assert names(tmp_path) == (["folder"] if before else [])
    assert not before or names(tmp_path / "folder") == ["old"]


def test_a_rename_that_fails_gives_the_old_folder_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_one(tmp_path / "folder", "old")
    rename = Path.rename

    def full(self: Path, target: Path) -> Path:
        if (self / "new").exists():
            raise OSError(errno.ENOSPC, "No space left on device")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", full)
    with pytest.raises(RequestError, match="the disk is full"):
        write_one(tmp_path / "folder", "new")
    assert names(tmp_path) == ["folder"] and names(tmp_path / "folder") == ["old"]


def test_a_disk_that_fills_up_inside_the_block_is_said(tmp_path: Path) -> None:
    with (
        pytest.raises(RequestError, match="folder: the disk is full"),
        write_folder(tmp_path / "folder"),
    ):
        failing(errno.ENOSPC)()
    assert not names(tmp_path)


def test_what_is_there_is_refused_where_it_may_not_be_replaced(tmp_path: Path) -> None:
    write_one(tmp_path / "folder", "old")
    with pytest.raises(RequestError, match="exists already"):
        write_one(tmp_path / "folder", "new", replace=False)
    assert names(tmp_path / "folder") == ["old"]


def test_a_folder_never_takes_the_place_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "photo").write_text("dear")
    with pytest.raises(RequestError, match="photo: a file of that name is in the way"):
        write_one(tmp_path / "photo", "new")
    assert (tmp_path / "photo").read_text() == "dear" and names(tmp_path) == ["photo"]


LINKS = {"a folder": "folder", "a file": "file", "nothing": "nowhere", "itself": "link"}


@pytest.mark.parametrize("what", LINKS)
@pytest.mark.parametrize("replace", [False, True])
def test_a_link_is_neither_followed_nor_replaced(tmp_path: Path, what: str, replace: bool) -> None:
    write_one(tmp_path / "folder", "dear")
    (tmp_path / "file").write_text("dear")
    (tmp_path / "link").symlink_to(LINKS[what])
    with pytest.raises(RequestError, match=rf"link: a link to {LINKS[what]}, .* name the folder"):
        write_one(tmp_path / "link", "new", replace=replace)
    assert names(tmp_path) == ["file", "folder", "link"]
    assert os.readlink(tmp_path / "link") == LINKS[what]
    assert names(tmp_path / "folder") == ["dear"] and (tmp_path / "file").read_text() == "dear"


def test_links_within_what_is_replaced_go_and_what_they_lead_to_stays(tmp_path: Path) -> None:
    write_one(tmp_path / "photos", "dear")
    write_one(tmp_path / "folder", "old")
    (tmp_path / "folder" / "album").symlink_to(tmp_path / "photos")
    write_one(tmp_path / "folder", "new")
    assert names(tmp_path / "folder") == ["new"] and names(tmp_path / "photos") == ["dear"]


def test_a_folder_on_the_way_may_be_a_link(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "home").symlink_to("disk")
    write_one(tmp_path / "home" / "folder", "old")
    write_one(tmp_path / "home" / "folder", "new")
    assert names(tmp_path / "disk" / "folder") == ["new"] and names(tmp_path / "disk") == ["folder"]


def test_a_file_takes_the_place_of_a_link_and_what_it_leads_to_stays(tmp_path: Path) -> None:
    (tmp_path / "photo").write_text("dear")
    (tmp_path / "link").symlink_to("photo")
    write_bytes(tmp_path / "link", b"new")
    assert (tmp_path / "photo").read_text() == "dear"
    assert (tmp_path / "link").read_bytes() == b"new" and not (tmp_path / "link").is_symlink()


def test_neighbours_with_names_like_our_own_are_left_alone(tmp_path: Path) -> None:
    write_one(tmp_path / "folder", "old")
    write_one(tmp_path / ".folder.old", "dear")
    write_one(tmp_path / "folder", "new")
    assert names(tmp_path / ".folder.old") == ["dear"] and names(tmp_path / "folder") == ["new"]


@pytest.mark.parametrize("name", [".", "..", "/", "folder/.."])
def test_a_place_without_a_name_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RequestError, match="has no name of its own"):
        write_one(Path(name), "new")
    assert not names(tmp_path)


def test_a_file_on_the_way_to_a_place_is_said(tmp_path: Path) -> None:
    (tmp_path / "photo").write_text("dear")
    for write in (lambda path: write_one(path, "new"), lambda path: write_bytes(path, b"new")):
        with pytest.raises(RequestError, match="a file stands where a folder is needed"):
            write(tmp_path / "photo" / "folder")
    assert (tmp_path / "photo").read_text() == "dear"


def test_what_a_killed_process_left_is_removed_and_what_another_writes_is_not(
    tmp_path: Path,
) -> None:
    abandoned = tmp_path / ".bundle.abcdefgh.staging"
    abandoned.mkdir()
    (abandoned / "model").write_text("half")
    other = tmp_path / ".else.abcdefgh.staging"
    other.mkdir()
    with write_folder(tmp_path / "bundle") as first:
        assert not abandoned.exists() and other.is_dir()
        with write_folder(tmp_path / "bundle") as second:
            assert first.is_dir() and second.is_dir()
            (second / "model").write_text("whole")
        (first / "model").write_text("later")
    assert (tmp_path / "bundle/model").read_text() == "later"
    assert names(tmp_path) == [".else.abcdefgh.staging", "bundle"]
