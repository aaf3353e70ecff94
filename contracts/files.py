"""Bytes to disk and back, safely: whole or not at all, hashed, bounded, contained."""

import contextlib
import errno
import glob
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Generator
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

from minuet.contracts.errors import DamagedError, RequestError

CHUNK = 1 << 20
STAGING = ".staging"  # how the name of a folder that is being written ends
MAX_FILE_BYTES = 64 << 30  # one file of weights: the largest known, T5-XXL in fp32, has 19 GB
MAX_JSON_BYTES = 16 << 20  # a manifest or report; hostile files claim more


def sha256_of(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal, read in chunks."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def contained(root: Path, name: str) -> Path:
    """The path that a relative posix name means below root.

    Raises:
        DamagedError: the name is absolute, climbs out of root, or leaves it through a link.
    """
    pure = PurePosixPath(str(name))
    strange = type(name) is not str or not name or any(sign in name for sign in "\\:\0")
    if strange or pure.is_absolute() or ".." in pure.parts:
        raise DamagedError(f"{root}: the file name {name!r} points outside its folder; refused.")
    path = root.joinpath(*pure.parts)
    if not _stays(path, root):
        raise DamagedError(f"{root}: the file name {name!r} leaves its folder by a link; refused.")
    return path


def _stays(path: Path, root: Path) -> bool:
    """Whether a path is below root once every link is followed."""
    try:
        return path.resolve().is_relative_to(root.resolve())
    except (OSError, RuntimeError):  # links that lead round and round
        return False


@contextlib.contextmanager
def disk_errors(what: Path) -> Generator[None]:
    """Turn a full disk or a forbidden place into one clear message."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise RequestError(
                f"{what}: the disk is full; nothing was left half-written. "
                "Free some space and run the same command again."
            ) from error
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise RequestError(
                f"{what}: writing is not permitted; choose another place."
            ) from error
        raise


def make_folder(path: Path) -> None:
    """Make a folder and those above it, unless they are there.

    Raises:
        RequestError: a file is in the way.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise RequestError(
            f"{path}: a file stands where a folder is needed; choose another place."
        ) from error


def _beside(path: Path) -> str:
    """How the name of a temporary neighbour begins: short, since names end at 255 bytes."""
    return f".{path.name[:40]}."


@contextlib.contextmanager
def writing(path: Path, *, sync: bool = True) -> Generator[BinaryIO]:
    """A stream to a file that takes its name when the block ends well, and vanishes if not.

    Args:
        sync: wait until the disk has it. Gigabytes take long, and where a manifest has their hash,
            one that a power failure tore is found out.

    Raises:
        RequestError: a file is in the way, no file can be made there, or the disk is full.
    """
    with disk_errors(path):
        make_folder(path.parent)
        try:
            handle, name = tempfile.mkstemp(dir=path.parent, prefix=_beside(path))
        except FileNotFoundError as error:  # a folder that takes no files, as /proc
            told = f"{path}: no file can be made there; choose another place."
            raise RequestError(told) from error
        try:
            os.close(handle)
            with Path(name).open("wb") as stream:
                yield stream
                if sync:
                    stream.flush()
                    os.fsync(stream.fileno())
            Path(name).chmod(0o644)
            Path(name).replace(path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file whole or not at all."""
    with writing(path) as stream:
        stream.write(data)


def write_json(path: Path, value: Any) -> None:
    """Write JSON whole or not at all; the same value gives the same bytes."""
    text = json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False)
    write_bytes(path, (text + "\n").encode())


def read_json(path: Path, max_bytes: int = MAX_JSON_BYTES) -> Any:
    """Read bounded JSON.

    Raises:
        DamagedError: missing, too large, truncated, or not JSON.
    """
    try:
        if path.exists() and not path.is_file() and not path.is_dir():
            raise DamagedError(f"{path}: a pipe or a device, not a file; get a fresh copy.")
        if path.stat().st_size > max_bytes:
            raise DamagedError(f"{path}: larger than {max_bytes >> 20} MiB; refused.")
        return json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError) as error:
        raise DamagedError(f"{path}: missing.") from error
    except IsADirectoryError as error:
        raise DamagedError(f"{path}: a folder, not a file; get a fresh copy.") from error
    except (ValueError, RecursionError) as error:  # no UTF-8, no JSON, or a number without end
        raise DamagedError(f"{path}: not readable as JSON ({error}); get a fresh copy.") from error


@contextlib.contextmanager
def write_folder(path: Path, *, replace: bool = True) -> Generator[Path]:
    """A temporary neighbour that becomes `path` when the block ends well, and vanishes if not.

    What a process that was killed left of its own is removed when the next one begins.

    Raises:
        RequestError: a file or a link is in the way, or a folder that may not be replaced; the
            disk is full, or the place forbidden.
    """
    with disk_errors(path):
        _check_place(path, replace)
        make_folder(path.parent)
        _clear_abandoned(path)
        staging, lock = _staging(path)
        try:
            yield staging
            staging.chmod(0o755)
            _take_place(staging, path)
        except BaseException:
            shutil.rmtree(staging, ignore_errors=True)
            raise
        finally:
            _release(lock)


def _staging(path: Path) -> tuple[Path, int | None]:
    """A new neighbour and the lock on it, which ends with the process, however that ends."""
    while True:
        staging = Path(tempfile.mkdtemp(dir=path.parent, prefix=_beside(path), suffix=STAGING))
        lock = _locked(staging, wait=True)
        if staging.exists():  # else another process took it for abandoned
            return staging, lock
        _release(lock)


def _clear_abandoned(path: Path) -> None:
    """Remove the stagings of `path` on which nobody has a lock any more."""
    for old in path.parent.glob(f"{glob.escape(_beside(path))}*{STAGING}"):
        lock = None if old.is_symlink() else _locked(old)
        if lock is not None:
            shutil.rmtree(old, ignore_errors=True)
            _release(lock)


def _locked(folder: Path, *, wait: bool = False) -> int | None:
    """A lock on a folder; None where another process has it, or the system has no such locks."""
    try:
        import fcntl

        handle = os.open(folder, os.O_RDONLY)
    except (ImportError, OSError):
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except OSError:
        os.close(handle)
        return None
    return handle


def _release(lock: int | None) -> None:
    if lock is not None:
        os.close(lock)


def _check_place(path: Path, replace: bool) -> None:
    """Refuse what is in the way; a link always, since two things could be meant by replacing it."""
    if path.name in ("", ".."):
        raise RequestError(f"{path}: has no name of its own; name the folder to write.")
    if path.is_symlink():
        raise RequestError(
            f"{path}: a link to {path.readlink()}, and links are not replaced or followed here; "
            "name the folder itself, or remove the link."
        )
    if path.exists() and not replace:
        raise RequestError(f"{path}: exists already; choose another name or remove it.")
    if path.exists() and not path.is_dir():
        raise RequestError(f"{path}: a file of that name is in the way; choose another name.")


def _take_place(staging: Path, path: Path) -> None:
    """Rename a folder to `path`; what was there goes, or comes back if the renaming fails."""
    if not path.exists():
        staging.rename(path)
        return
    attic = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}.old."))
    old = attic / path.name
    try:
        path.rename(old)
        staging.rename(path)
    except BaseException:
        if old.exists():
            old.rename(path)
        attic.rmdir()
        raise
    shutil.rmtree(attic, ignore_errors=True)
