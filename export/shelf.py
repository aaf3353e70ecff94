"""Program, options and versions -> a key; finished artifacts wait under it beside the bundle.

An interrupted export goes on where it was, and a repeated one takes what it made before; whatever
could change a file changes the key, so nothing stale is ever taken.
"""

from __future__ import annotations

import functools
import hashlib
import inspect
import json
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from minuet import __version__
from minuet.contracts.artifact import MAIN, Artifact, FileEntry
from minuet.contracts.errors import DamagedError
from minuet.contracts.files import contained, read_json, sha256_of, write_folder, write_json
from minuet.export.bundle import load_bundle
from minuet.export.capture import Program

ABOUT = "artifact.json"
# Whatever takes part in writing a file.
LIBRARIES = (
    *("torch", "torchao", "onnx", "onnxscript", "onnxruntime", "executorch", "coremltools"),
    *("tensorrt", "tensorrt_rtx_cu13_libs", "numpy"),
)

Write = Callable[[Path], Artifact]


@dataclass(frozen=True, slots=True, kw_only=True)
class Shelf:
    """Where artifacts of one bundle wait until all of them are there."""

    bundle: Path

    @property
    def folder(self) -> Path:
        """A neighbour of the bundle: the same disk, so a file is moved by a link."""
        return self.bundle.with_name(f".{self.bundle.name}.parts")

    def artifact(self, key: str, write: Write) -> tuple[Path, Artifact, bool]:
        """An artifact, its root, and whether it had to be written."""
        if known := self._kept(key) or self._in_bundle(key):
            return (*known, False)
        home = self.folder / key
        with write_folder(home) as staging:
            made = replace(write(staging), key=key)
            write_json(staging / ABOUT, asdict(made))
        return home, made, True

    def forget(self, key: str) -> None:
        """What was no good is not taken again."""
        shutil.rmtree(self.folder / key, ignore_errors=True)
        if self.folder.is_dir() and not any(self.folder.iterdir()):
            self.folder.rmdir()

    def clear(self) -> None:
        """The bundle is whole: nothing waits any more."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _kept(self, key: str) -> tuple[Path, Artifact] | None:
        home = self.folder / key
        try:
            row = read_json(home / ABOUT)
            files = tuple(FileEntry(**file) for file in row.pop("files"))
            artifact = Artifact(**row | {"files": files, "parity": ()})
            return (home, artifact) if _whole(home, artifact) else None
        except (DamagedError, KeyError, TypeError, AttributeError):
            return None

    def _in_bundle(self, key: str) -> tuple[Path, Artifact] | None:
        """The bundle that is about to be replaced may hold it."""
        try:
            rows = load_bundle(self.bundle, check_hashes=False).artifacts
        except DamagedError:
            return None
        for row in rows:
            if row.key == key and _whole(self.bundle, row):
                return self.bundle, replace(row, parity=())
        return None


def key_of(
    program: Program, target: str, precision: str, options: Mapping[str, Any], weights: str = ""
) -> str:
    """SHA-256 over everything that a file depends on.

    Args:
        weights: the program's own hash, where it is known already.
    """
    told = {
        "program": weights or program_sha256(program),
        "target": target,
        "precision": precision,
        "options": {name: _told(value) for name, value in sorted(options.items())},
        "versions": _versions(),
    }
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()


def program_sha256(program: Program) -> str:
    """Of the graph, the signature, and every weight."""
    from torch import Tensor, fx

    exported = program.exported
    digest = hashlib.sha256(json.dumps(program.signature.to_json()).encode())
    digest.update(str(exported.graph_signature).encode())
    for name, module in exported.graph_module.named_modules():
        if isinstance(module, fx.GraphModule):
            digest.update(f"{name}\n{module.graph}".encode())
    for name, value in [*exported.state_dict.items(), *exported.constants.items()]:
        digest.update(name.encode())
        if isinstance(value, Tensor):
            digest.update(f"{value.dtype} {tuple(value.shape)}".encode())
            digest.update(_bytes(value))
    return digest.hexdigest()


def place(artifact: Artifact, root: Path, bundle: Path, component: str) -> Artifact:
    """An artifact's files in a bundle: below target-precision, components in folders of it."""
    names = {file.path: _moved(file.path, artifact, component) for file in artifact.files}
    for old, new in names.items():
        _link(contained(root, old), bundle / new)
    return replace(
        artifact,
        component=component,
        entry=_moved(artifact.entry, artifact, component),
        files=tuple(replace(file, path=names[file.path]) for file in artifact.files),
    )


def _moved(path: str, artifact: Artifact, component: str) -> str:
    inner = path.removeprefix(f"{artifact.name}/")
    folder = artifact.folder if component == MAIN else f"{artifact.folder}/{component}"
    return f"{folder}/{inner}"


def _link(old: Path, new: Path) -> None:
    new.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(old, new)
    except OSError:  # another disk, or one that has no links
        shutil.copyfile(old, new)


def _whole(root: Path, artifact: Artifact) -> bool:
    paths = [(contained(root, file.path), file) for file in artifact.files]
    return all(path.is_file() and sha256_of(path) == file.sha256 for path, file in paths)


def _bytes(tensor: Any) -> Any:
    import torch

    flat = tensor.detach().cpu().contiguous().reshape(-1)
    return memoryview(flat.view(torch.uint8).numpy())


def _told(value: Any) -> Any:
    """An option as text that changes with it; of a function, its code."""
    if callable(value):
        source = inspect.getsourcefile(value)
        return [value.__qualname__, sha256_of(Path(source)) if source else ""]
    return value if isinstance(value, int | float | str | bool | None) else repr(value)


def _versions() -> dict[str, str]:
    found = {"minuet": __version__, "export": _own_code()}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


@functools.cache
def _own_code() -> str:
    """The exporters themselves: a mended one must not take what a broken one left."""
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()
