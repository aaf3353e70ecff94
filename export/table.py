"""Name -> exporter. Others join through the entry point group `minuet.exporters`."""

from __future__ import annotations

import importlib
import importlib.util
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from typing import Protocol, cast

from minuet.contracts.artifact import Artifact
from minuet.contracts.errors import Refusal, RequestError
from minuet.export.capture import Program


class Exporter(Protocol):
    """Writes one artifact below bundle/<target>-<precision>/ and describes it."""

    def __call__(self, program: Program, bundle: Path, precision: str) -> Artifact: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """Where an exporter is, what it can write, and what it needs."""

    where: str  # module:attribute
    precisions: tuple[str, ...]  # the first is the default
    needs: tuple[str, ...]  # any one of these modules
    extra: str  # the extra that installs it


WEIGHTS = ("int8-weights", "int4-weights")  # of what computes in float

EXPORTERS = {
    "onnx": Row(
        where="minuet.export.to_onnx:export_onnx",
        precisions=("fp32", "fp16", "bf16", "int8", *WEIGHTS, "int8-dynamic", "w8a16"),
        needs=("onnxscript",),
        extra="onnx",
    ),
    "executorch": Row(
        where="minuet.export.to_executorch:export_executorch",
        precisions=("fp32", "int8"),
        needs=("executorch",),
        extra="executorch",
    ),
    "coreml": Row(
        where="minuet.export.to_coreml:export_coreml",
        precisions=("fp16", "fp32", "int8", *WEIGHTS, "palettes", "palettes-int8"),
        needs=("coremltools",),
        extra="coreml",
    ),
    "tensorrt": Row(
        where="minuet.export.to_tensorrt:export_tensorrt",
        precisions=("fp16", "fp32", "bf16", "int8", "fp8"),
        needs=("tensorrt_rtx_bindings", "tensorrt"),
        extra="tensorrt",
    ),
}


def row(target: str) -> Row:
    """One row of the table.

    Raises:
        RequestError: there is no such target.
    """
    if target in EXPORTERS:
        return EXPORTERS[target]
    for point in entry_points(group="minuet.exporters", name=target):
        return cast(Row, point.load())
    raise RequestError(f"target {target!r} is not known; choose from {', '.join(EXPORTERS)}.")


def exporter(target: str) -> Exporter:
    """The function that writes a target."""
    module, name = row(target).where.split(":")
    return cast(Exporter, getattr(importlib.import_module(module), name))


def missing(target: str) -> Refusal | None:
    """Why a target cannot be written here; None where it can."""
    found = row(target)
    if any(importlib.util.find_spec(name) for name in found.needs):
        return None
    return Refusal(
        f"{target} needs {' or '.join(found.needs)}; pip install 'minuet[{found.extra}]'"
    )
