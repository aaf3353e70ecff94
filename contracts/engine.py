"""TensorRT engines are code: which library makes and runs them, and which ones this user trusts.

An engine is trusted if this user's own build recorded it: a file named by the engine's hash, in a
folder that nobody else may write, with the library, version and devices it was built for. Neither
a manifest nor anything else that travels with an engine can make it trusted.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import os
import stat
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from minuet.contracts.errors import DamagedError, MinuetError, MissingBackendError, Refusal
from minuet.contracts.files import read_json, write_bytes, write_json

# In order of preference: the first builds for GPUs that are not here. Shared libraries first.
LIBRARIES = {
    "tensorrt_rtx": ("tensorrt_rtx_libs", "tensorrt_rtx_bindings"),
    "tensorrt": ("tensorrt",),
}
MAX_RECORD_BYTES = 1 << 16
MAX_CACHE_BYTES = 4 << 30  # of one: kernels, an engine that was built here
OTHERS = stat.S_IWGRP | stat.S_IWOTH


@dataclass(frozen=True, slots=True, kw_only=True)
class Library:
    """TensorRT under either of its names; `trt` is its module."""

    name: str
    version: str
    trt: Any

    @property
    def aims(self) -> bool:
        """Whether it builds for named compute capabilities, with no GPU here."""
        return hasattr(self.trt, "ComputeCapability")

    @property
    def times(self) -> bool:
        """Whether builds time kernels on the GPU; for RTX, timing caches are no-ops since 1.2."""
        return not self.aims

    @property
    def compiles_late(self) -> bool:
        """Whether kernels are compiled when an engine is opened, and can be kept for next time."""
        return hasattr(self.trt, "IRuntimeCache")


def installed_library() -> Library:
    """The TensorRT that is installed.

    Raises:
        MissingBackendError: none is.
    """
    for name, modules in LIBRARIES.items():
        with contextlib.suppress(ImportError, OSError), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            trt: Any = [importlib.import_module(module) for module in modules][-1]
            return Library(name=name, version=str(trt.__version__), trt=trt)
    raise MissingBackendError("TensorRT is not installed; pip install 'minuet[tensorrt]'.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One engine that this user built."""

    sha256: str
    library: str
    version: str
    devices: tuple[str, ...]  # compute capabilities, e.g. SM86

    def misfit(self, library: Library, device: str = "") -> Refusal | None:
        """None where it is for this library, and for this device if one is named."""
        if (self.library, self.version) != (library.name, library.version):
            here = f"{library.name} {library.version}"
            return Refusal(f"it was built by {self.library} {self.version}, not by {here}")
        if device and device not in self.devices:
            return Refusal(f"it was built for {' '.join(self.devices)}, and this GPU is {device}")
        return None


def remember(engine: bytes, library: Library, devices: Sequence[str]) -> Record:
    """Trust an engine that was built just now; on a disk that cannot be written, nothing."""
    return remember_hash(hashlib.sha256(engine).hexdigest(), library, devices)


def remember_hash(sha256: str, library: Library, devices: Sequence[str]) -> Record:
    """The same of an engine that went to its file as it was built, hashed on the way."""
    record = Record(
        sha256=sha256,
        library=library.name,
        version=library.version,
        devices=tuple(devices),
    )
    with contextlib.suppress(OSError, MinuetError):
        path = private_folder("engines") / f"{record.sha256}.json"
        write_json(path, asdict(record))
        path.chmod(0o600)
    return record


def doubt(engine: bytes, library: Library, device: str = "") -> Refusal | None:
    """None where this user built an engine with this library, for this device if one is named."""
    found = recorded(engine)
    return found if isinstance(found, Refusal) else found.misfit(library, device)


def recorded(engine: bytes) -> Record | Refusal:
    """This user's own record of building an engine, or why there is none that counts."""
    name = hashlib.sha256(engine).hexdigest()
    path = user_folder() / "engines" / f"{name}.json"
    if refusal := _foreign(path.parent) or _foreign(path):
        return refusal
    try:
        row = read_json(path, MAX_RECORD_BYTES)
        found = Record(**row | {"devices": tuple(row["devices"])})
    except (DamagedError, KeyError, TypeError) as error:
        return Refusal(f"the record of it is damaged ({error})")
    return found if found.sha256 == name else Refusal("the record of it is of another engine")


def user_folder() -> Path:
    """What minuet keeps for this user between runs: $XDG_STATE_HOME/minuet."""
    named = os.environ.get("XDG_STATE_HOME", "")
    # The specification has relative paths ignored.
    state = Path(named) if os.path.isabs(named) else Path.home() / ".local" / "state"
    return state / "minuet"


def private_folder(name: str) -> Path:
    """A folder of the user's that only the user may enter; made if it is not there."""
    path = user_folder() / name
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    if refusal := _foreign(path):
        raise PermissionError(refusal.reason)
    return path


def recall(name: str) -> bytes | None:
    """A cache that this user's own run left, or None: not there, too large, or not only theirs."""
    path = user_folder() / "caches" / name
    if _foreign(path.parent) or _foreign(path) or path.stat().st_size > MAX_CACHE_BYTES:
        return None
    return path.read_bytes()


def keep(name: str, data: bytes) -> None:
    """Leave a cache for the next run; nothing on a disk that cannot be written, nor too much."""
    if len(data) > MAX_CACHE_BYTES:
        return
    with contextlib.suppress(OSError, MinuetError):
        path = private_folder("caches") / name
        write_bytes(path, data)
        path.chmod(0o600)


def _foreign(path: Path) -> Refusal | None:
    """Why a path is not this user's own: absent, a link, another's, or writable by others."""
    try:
        found = path.lstat()
    except OSError:
        return Refusal("this user has no record of building it")
    if stat.S_ISLNK(found.st_mode):
        return Refusal(f"{path} is a link")
    if hasattr(os, "getuid") and (found.st_uid != os.getuid() or found.st_mode & OTHERS):
        return Refusal(f"{path} can be written by other users")
    return None
