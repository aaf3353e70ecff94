"""Program, options and versions -> a key; finished artifacts wait under it beside the bundle.

An interrupted export goes on where it was, and a repeated one takes what it made before; whatever
could change a file changes the key, so nothing stale is ever taken. Which files belong to a key is
noted among what minuet keeps for this user, so that nothing of a stranger's is taken either.
"""

from __future__ import annotations

import contextlib
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
from minuet.contracts.artifact import MAIN, Artifact
from minuet.contracts.engine import keep, recall
from minuet.contracts.errors import DamagedError
from minuet.contracts.files import contained, sha256_of, write_folder
from minuet.contracts.records import record
from minuet.export.bundle import load_bundle
from minuet.export.capture import Program

NOTED = 8  # of one key: not every exporter gives the same bytes again
# Whatever takes part in writing a file.
LIBRARIES = (
    *("torch", "torchao", "onnx", "onnx_ir", "onnxscript", "onnxruntime", "executorch"),
    *("coremltools", "tensorrt", "tensorrt_rtx_cu13_libs", "numpy"),
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
        if known := self._known(key):
            return (*known, False)
        home = self.folder / key
        try:
            with write_folder(home) as staging:
                made = replace(write(staging), key=key)
        except BaseException:
            self.forget(key)  # an empty folder would stay
            raise
        _note(made)
        return home, made, True

    def forget(self, key: str) -> None:
        """What was no good is not taken again."""
        shutil.rmtree(self.folder / key, ignore_errors=True)
        if self.folder.is_dir() and not any(self.folder.iterdir()):
            self.folder.rmdir()

    def clear(self) -> None:
        """The bundle is whole: nothing waits any more."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _known(self, key: str) -> tuple[Path, Artifact] | None:
        """What this user made before: it waits here, or the bundle to be replaced holds it."""
        if not (made := noted(key)):
            return None
        places = [(self.folder / key, one) for one in made]
        with contextlib.suppress(DamagedError):
            rows = load_bundle(self.bundle, check_hashes=False).artifacts
            there = [row.component for row in rows if row.key == key]
            places += [(self.bundle, moved(one, name)) for name in there for one in made]
        return next((place for place in places if _whole(*place)), None)


def noted(key: str) -> tuple[Artifact, ...]:
    """What this user's own exports made for a key, the latest first; nothing if that is damaged."""
    try:
        rows: list[Any] = json.loads(recall(f"{key}.artifacts") or b"[]")
        return tuple(record(Artifact, row) for row in rows)
    except (ValueError, RecursionError, TypeError):
        return ()


def _note(made: Artifact) -> None:
    rows = [asdict(one) for one in (made, *noted(made.key))]
    keep(f"{made.key}.artifacts", json.dumps(rows[:NOTED]).encode())


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
        "inputs": _inputs_sha256(program) if "inspect" in options else "",
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


def _inputs_sha256(program: Program) -> str:
    """Of the examples: who runs them may find something else in others."""
    digest = hashlib.sha256()
    for spec, value in zip(program.signature.inputs, program.inputs, strict=True):
        digest.update(f"{spec.name} {value.dtype} {tuple(value.shape)}".encode())
        digest.update(_bytes(value))
    return digest.hexdigest()


def place(artifact: Artifact, root: Path, bundle: Path, component: str) -> Artifact:
    """An artifact's files in a bundle: below target-precision, components in folders of it."""
    placed = moved(artifact, component)
    for old, new in zip(artifact.files, placed.files, strict=True):
        _link(contained(root, old.path), bundle / new.path)
    return placed


def moved(artifact: Artifact, component: str) -> Artifact:
    """The same files under the paths that they have as a component of a bundle."""
    return replace(
        artifact,
        component=component,
        entry=_moved(artifact.entry, artifact, component),
        files=tuple(
            replace(file, path=_moved(file.path, artifact, component)) for file in artifact.files
        ),
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
    try:
        paths = [(contained(root, file.path), file) for file in artifact.files]
    except DamagedError:
        return False
    return all(path.is_file() and sha256_of(path) == file.sha256 for path, file in paths)


def _bytes(tensor: Any) -> Any:
    import torch

    flat = tensor.detach().cpu().contiguous().reshape(-1)
    return memoryview(flat.view(torch.uint8).numpy())


def _told(value: Any) -> Any:
    """An option as text that changes with it; of a function, the code of its package."""
    if callable(value):
        source = inspect.getsourcefile(value)
        return [value.__qualname__, _code(Path(source).parent) if source else ""]
    return value if isinstance(value, int | float | str | bool | None) else repr(value)


def _versions() -> dict[str, str]:
    # The exporters themselves: a mended one must not take what a broken one left.
    found = {"minuet": __version__, "export": _code(Path(__file__).parent)}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


@functools.cache
def _code(folder: Path) -> str:
    """Of every module in a package's folder."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()
