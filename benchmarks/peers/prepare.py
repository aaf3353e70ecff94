"""A student's folder -> every peer's files, each exported as that peer's first page says."""

import logging
import shutil
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from minuet.benchmarks.peers.parts import FIELDS, NOISY, modules
from minuet.contracts.artifact import MAIN, Artifact, FileEntry, Manifest
from minuet.contracts.files import sha256_of, write_json
from minuet.models.animator import signature_of
from minuet.models.student import Student, load_student

Modules = Mapping[str, tuple[nn.Module, tuple[torch.Tensor, ...]]]
TORCH, ONNX, PTE = "torch", "torch-onnx", "torch-executorch"
REFUSED = "refused"  # among what an artifact requires: why a peer's own export failed
MOST_WORDS = 300


def prepare(student_folder: Path, side: int, out: Path) -> Manifest:
    """Write out/<peer>-fp32/ for every peer, and a manifest that the harness can open.

    A peer whose export fails is there with its reason.
    """
    student = load_student(student_folder)
    shutil.copytree(student_folder, out / f"{TORCH}-fp32" / "student")
    parts = modules(student, side)
    made = [
        _artifact(out, TORCH, lambda folder: None),
        _artifact(out, ONNX, lambda folder: _onnx(parts, folder)),
        _artifact(out, PTE, lambda folder: _executorch(parts, folder)),
    ]
    manifest = Manifest(
        name="peers",
        family="sticker-denoiser",
        programs={MAIN: signature_of(student.network.config, side)},
        sampler=_sampler(student),
        artifacts=tuple(made),
        files=(),
        minuet="",
        source_sha256=student.sha256,
    )
    write_json(out / "manifest.json", manifest.to_json())
    return manifest


def _sampler(student: Student) -> dict[str, Any]:
    own = student.sampler
    return asdict(own) | {"steps": own.steps, "nfe": own.evaluations, "levels": list(own.levels)}


def _artifact(out: Path, target: str, write: Callable[[Path], None]) -> Artifact:
    folder = out / f"{target}-fp32"
    folder.mkdir(parents=True, exist_ok=True)
    begun, requires = time.perf_counter(), {}
    try:
        with quiet():
            write(folder)
    except Exception as error:  # whatever another project's exporter throws is its result
        requires[REFUSED] = f"{type(error).__name__}: {error}".partition("\n")[0][:MOST_WORDS]
    blank = Artifact(
        target=target,
        precision="fp32",
        entry=folder.name,
        files=(),
        requires=requires,
        seconds=time.perf_counter() - begun,
    )
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return replace(blank, files=tuple(_entry(out, path) for path in paths))


def _entry(out: Path, path: Path) -> FileEntry:
    name = path.relative_to(out).as_posix()
    return FileEntry(path=name, bytes=path.stat().st_size, sha256=sha256_of(path))


def _onnx(parts: Modules, folder: Path) -> None:
    """torch.onnx.export with nothing but names."""
    for name, (module, example) in parts.items():
        torch.onnx.export(
            module.eval(),
            example,
            folder / f"{name}.onnx",
            input_names=names_of(name),
            external_data=False,
            verbose=False,
        )


def _executorch(parts: Modules, folder: Path) -> None:
    """ExecuTorch's own tutorial: export, lower to XNNPACK, write."""
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
    from executorch.exir import to_edge_transform_and_lower

    for name, (module, example) in parts.items():
        with torch.no_grad():
            exported = torch.export.export(module.eval(), example)
        lowered = to_edge_transform_and_lower(exported, partitioner=[XnnpackPartitioner()])
        (folder / f"{name}.pte").write_bytes(lowered.to_executorch().buffer)


def names_of(part: str) -> list[str]:
    """The inputs of a part."""
    return list(NOISY) if part in ("denoise", "between") else ["sticker", *FIELDS]


@contextmanager
def quiet() -> Iterator[None]:
    """Without what exporters say to their own developers."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
