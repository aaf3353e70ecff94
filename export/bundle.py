"""Artifacts -> a folder that proves itself: manifest, hashes, golden cases; and back."""

import math
import re
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from minuet import __version__
from minuet.contracts.artifact import MAIN, PRECISIONS, TARGETS, Artifact, FileEntry, Manifest
from minuet.contracts.errors import DamagedError
from minuet.contracts.files import (
    MAX_FILE_BYTES,
    contained,
    read_json,
    sha256_of,
    write_bytes,
    write_json,
)
from minuet.contracts.tensors import Array, Arrays, Signature, TensorSpec, to_safetensors
from minuet.export.files import file_entry

MANIFEST = "manifest.json"
GOLDEN = "golden"
MAX_GOLDEN_BYTES = 1 << 30  # all golden tensors together, as they are in memory
MAX_ELEMENTS = 1 << 31  # one tensor of a signature
IGNORED = frozenset({".DS_Store", "Thumbs.db"})  # what desktops leave behind
SHA256 = re.compile(r"[0-9a-f]{64}")
PROGRAM = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,99}")  # names folders too


@dataclass(frozen=True, slots=True, kw_only=True)
class Golden:
    """One example with what the eager program makes of it."""

    name: str
    inputs: Arrays
    outputs: Arrays
    program: str = MAIN


def write_golden(bundle: Path, cases: Iterable[Golden]) -> None:
    """One safetensors file a case: `input.<name>` and `output.<name>`; a folder a component.

    What shrinks to less than half is stored as its zlib stream, a vector of bytes: two cases of
    512 px are 25 MiB plain and below 1 MiB so.
    """
    for case in cases:
        tensors = {f"input.{name}": value for name, value in case.inputs.items()}
        tensors |= {f"output.{name}": value for name, value in case.outputs.items()}
        data = to_safetensors({name: _shrunk(value) for name, value in tensors.items()})
        write_bytes(bundle / _golden_folder(case.program) / f"{case.name}.safetensors", data)


def _golden_folder(program: str) -> str:
    return GOLDEN if program == MAIN else f"{GOLDEN}/{program}"


def _shrunk(value: Array) -> Array:
    stream = zlib.compress(value.tobytes(), 9)
    return np.frombuffer(stream, np.uint8) if 2 * len(stream) < value.nbytes else value


def _full(value: Array, spec: TensorSpec) -> Array:
    """A stored tensor as its spec says; never more bytes than that."""
    if value.shape == spec.shape or value.ndim != 1 or value.dtype != np.uint8:
        return value
    size = np.dtype(spec.dtype).itemsize * math.prod(spec.shape)
    plain = zlib.decompressobj().decompress(value.tobytes(), size + 1)
    return np.frombuffer(plain, spec.dtype).reshape(spec.shape)


def read_golden(bundle: Path, manifest: Manifest, program: str = MAIN) -> tuple[Golden, ...]:
    """The cases that the manifest lists for a program, checked against its signature.

    Raises:
        DamagedError: unreadable, or not what the signature says.
    """
    found, signature = _golden_names(manifest, program), manifest.programs[program]
    return tuple(_read_case(contained(bundle, name), signature, program) for name in found)


def _golden_names(manifest: Manifest, program: str) -> list[str]:
    folder = _golden_folder(program)
    names = (file.path for file in manifest.files)
    return sorted(name for name in names if name.rpartition("/")[0] == folder)


def _read_case(path: Path, signature: Signature, program: str) -> Golden:
    from safetensors.numpy import load_file

    try:
        tensors: dict[str, Array] = load_file(path)
        inputs = {row.name: _full(tensors[f"input.{row.name}"], row) for row in signature.inputs}
        outputs = {row.name: _full(tensors[f"output.{row.name}"], row) for row in signature.outputs}
        signature.check_inputs(inputs)
        for spec in signature.outputs:
            spec.check(outputs[spec.name])
    except Exception as error:
        raise DamagedError(f"{path}: damaged golden case ({error}); export again.") from error
    return Golden(name=path.stem, inputs=inputs, outputs=outputs, program=program)


def seal(
    bundle: Path,
    *,
    name: str,
    family: str,
    programs: Mapping[str, Signature],
    sampler: Mapping[str, Any],
    artifacts: Iterable[Artifact],
    source_sha256: str,
    quantization: Mapping[str, Any] | None = None,
) -> Manifest:
    """Hash everything in a folder into its manifest, and read it back as a stranger would.

    The seconds that exports took are left out: the same inputs and seed give the same bytes.
    """
    rows = tuple(sorted((replace(a, seconds=0.0) for a in artifacts), key=lambda a: a.name))
    listed = {file.path for row in rows for file in row.files}
    others = [path for path in _present(bundle) if path not in listed and path != MANIFEST]
    manifest = Manifest(
        name=name,
        family=family,
        programs={name: programs[name] for name in sorted(programs)},
        sampler=dict(sampler),
        artifacts=rows,
        files=tuple(file_entry(bundle, bundle / path) for path in sorted(others)),
        minuet=__version__,
        source_sha256=source_sha256,
        quantization=dict(quantization or {}),
    )
    write_json(bundle / MANIFEST, manifest.to_json())
    return load_bundle(bundle)


def load_bundle(bundle: Path, check_hashes: bool = True) -> Manifest:
    """A bundle's manifest, once it is known to be whole.

    Without check_hashes only the manifest itself and the files' sizes are looked at.

    Raises:
        DamagedError: no bundle, a newer schema, a path that leaves the folder, or a file that is
            missing, unlisted, truncated, too large, or not the one that was exported.
    """
    if not bundle.is_dir():
        raise DamagedError(f"{bundle}: no bundle is there; make one with `minuet export`.")
    where = str(bundle / MANIFEST)
    manifest = Manifest.from_json(read_json(bundle / MANIFEST), where)
    _check_manifest(manifest, where)
    entries = _entries(manifest)
    for entry in entries:
        _check_file(bundle, entry, check_hashes)
    _check_strangers(bundle, {entry.path for entry in entries})
    return manifest


def _entries(manifest: Manifest) -> tuple[FileEntry, ...]:
    return manifest.files + tuple(file for row in manifest.artifacts for file in row.files)


def _check_manifest(manifest: Manifest, where: str) -> None:
    rows, names = manifest.artifacts, [row.name for row in manifest.artifacts]
    paths = [entry.path for entry in _entries(manifest)]
    faults = [
        (not all(PROGRAM.fullmatch(name) for name in manifest.programs), "a program without name"),
        (len(set(names)) < len(names) or len(set(paths)) < len(paths), "something listed twice"),
        (any(row.target not in TARGETS for row in rows), "an unknown target"),
        (any(row.precision not in PRECISIONS for row in rows), "an unknown precision"),
        (any(not _has_entry(row) for row in rows), "an artifact without its file"),
        (
            any(not row.entry.startswith(f"{row.folder}/") for row in rows),
            "an artifact outside the folder of its precision",
        ),
        (
            any(not manifest.programs.keys() >= {*row.programs} for row in rows),
            "an unknown program",
        ),
        (not all(map(_sane, manifest.programs.values())), "a signature of impossible shapes"),
        (
            _golden_bytes(manifest) > MAX_GOLDEN_BYTES,
            f"golden cases of more than {MAX_GOLDEN_BYTES >> 30} GiB",
        ),
    ]
    for found, what in faults:
        if found:
            raise DamagedError(f"{where}: damaged manifest ({what}); export again.")


def _has_entry(row: Artifact) -> bool:
    return any(f.path == row.entry or f.path.startswith(f"{row.entry}/") for f in row.files)


def _sane(signature: Signature) -> bool:
    shapes = [spec.shape for spec in (*signature.inputs, *signature.outputs)]
    sizes = [size for shape in shapes for size in shape]
    if not signature.outputs or not all(type(size) is int and size > 0 for size in sizes):
        return False
    return all(math.prod(shape) <= MAX_ELEMENTS for shape in shapes)


def _golden_bytes(manifest: Manifest) -> int:
    """What all golden cases become once they are read, whatever their files weigh."""
    return sum(
        len(_golden_names(manifest, name))
        * sum(
            np.dtype(spec.dtype).itemsize * math.prod(spec.shape)
            for spec in (*signature.inputs, *signature.outputs)
        )
        for name, signature in manifest.programs.items()
    )


def _check_file(bundle: Path, entry: FileEntry, check_hashes: bool) -> None:
    path = contained(bundle, entry.path)
    size, digest = entry.bytes, entry.sha256
    if type(size) is not int or not 0 <= size <= MAX_FILE_BYTES:
        raise DamagedError(f"{path}: its manifest claims {size!r} bytes; refused.")
    if not isinstance(digest, str) or not SHA256.fullmatch(digest):
        raise DamagedError(f"{path}: its manifest has no SHA-256 for it; refused.")
    if not path.is_file():
        raise DamagedError(f"{path}: missing from the bundle; get a fresh copy.")
    if path.stat().st_size != size:
        found = path.stat().st_size
        raise DamagedError(
            f"{path}: {found} bytes, the manifest says {size}: truncated or replaced; "
            "get a fresh copy."
        )
    if check_hashes and sha256_of(path) != digest:
        raise DamagedError(
            f"{path}: not the file that was exported (its SHA-256 differs); get a fresh copy."
        )


def _check_strangers(bundle: Path, listed: set[str]) -> None:
    strangers = [p for p in _present(bundle) if p not in listed and p != MANIFEST]
    if strangers:
        raise DamagedError(
            f"{bundle}: {strangers[0]} is not in the manifest; move it out of the bundle."
        )


def _present(bundle: Path) -> list[str]:
    found = (path for path in bundle.rglob("*") if path.is_symlink() or not path.is_dir())
    return sorted(p.relative_to(bundle).as_posix() for p in found if p.name not in IGNORED)
