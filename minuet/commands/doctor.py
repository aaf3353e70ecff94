"""This machine becomes a table: what works here, what does not, and why."""

import importlib.metadata
import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from importlib import resources
from pathlib import Path
from typing import Annotated

import typer

from minuet import __version__
from minuet.benchmarks.machine import fingerprint
from minuet.commands.common import Json, Out

IMPORT_TIMEOUT_S = 120  # a cold disk; torch alone reads a gigabyte


@dataclass(frozen=True, slots=True, kw_only=True)
class Backend:
    """A library that a part of the flow needs."""

    name: str  # as pip knows it
    module: str  # what is imported to see whether it works
    extra: str  # "" in the base install
    does: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What was found of a backend."""

    name: str
    works: bool
    version: str = ""
    tested: str = ""  # the version in the constraints file
    reason: str = ""  # why it does not work, and what to do
    does: str = ""


BACKENDS = (
    Backend(name="numpy", module="numpy", extra="", does="everything"),
    Backend(name="onnxruntime", module="onnxruntime", extra="", does="run ONNX"),
    Backend(name="scipy", module="scipy", extra="", does="judge measurements"),
    Backend(name="torch", module="torch", extra="distill", does="distill"),
    Backend(name="pyyaml", module="yaml", extra="distill", does="read recipes"),
    Backend(name="torchao", module="torchao", extra="quantize", does="quantize"),
    Backend(name="onnx", module="onnx", extra="onnx", does="export ONNX"),
    Backend(name="onnxscript", module="onnxscript", extra="onnx", does="export ONNX"),
    Backend(name="openvino", module="openvino", extra="openvino", does="run ONNX"),
    Backend(
        name="executorch",
        module="executorch.runtime",
        extra="executorch",
        does="ExecuTorch",
    ),
    Backend(name="coremltools", module="coremltools", extra="coreml", does="Core ML"),
    Backend(
        name="tensorrt_rtx_cu13_bindings",
        module="tensorrt_rtx_libs, tensorrt_rtx_bindings",
        extra="tensorrt",
        does="TensorRT",
    ),
    Backend(name="optimum-onnx", module="optimum.onnxruntime", extra="optimum", does="ONNX"),
    Backend(name="diffusers", module="diffusers", extra="optimum", does="teachers"),
    Backend(name="skia-python", module="skia", extra="fast", does="draw faster"),
    Backend(name="av", module="av", extra="video", does="write MP4"),
)


def doctor(
    quick: Annotated[
        bool, typer.Option("--quick", help="trust what is installed; import nothing")
    ] = False,
    json: Json = False,
) -> None:
    """Say what works on this machine, what does not, and why."""
    out = Out(json=json)
    tested = pinned_versions()
    with (
        out.progress("looking", total=len(BACKENDS)) as step,
        ThreadPoolExecutor(max_workers=min(4, os.cpu_count() or 1)) as pool,
    ):
        found = []
        for one in pool.map(lambda backend: look(backend, tested, quick), BACKENDS):
            found.append(one)
            step(note=one.name)
    machine = fingerprint(())
    refused = not_run_here()
    out.say(f"{machine.cpu}, {machine.cores} cores, {machine.memory_mib} MiB")
    out.say(f"{machine.os}, Python {machine.python}, minuet {__version__}\n")
    out.table(("library", "works", "version", "tested", "for"), [_row(one) for one in found])
    for line in _below(found, refused):
        out.say(f"\n{line}")
    out.finish(
        {
            "minuet": __version__,
            "machine": asdict(machine),
            "backends": [asdict(one) for one in found],
            "not_run": refused,
        }
    )


def look(backend: Backend, tested: dict[str, str], quick: bool) -> Found:
    """Whether a backend is installed and, unless quick, whether a fresh Python can import it."""
    base = {"name": backend.name, "does": backend.does, "tested": tested.get(backend.name, "")}
    try:
        # A half-removed library has a folder there, and no version in it.
        about = importlib.metadata.metadata(backend.name)
        version = str(about.get_all("Version", ["unknown"])[0])
    except importlib.metadata.PackageNotFoundError:
        what = f"minuet[{backend.extra}]" if backend.extra else backend.name
        return Found(works=False, reason=f"pip install '{what}'", **base)
    reason = "" if quick else import_fault(backend.module)
    return Found(works=not reason, version=version, reason=reason, **base)


def import_fault(modules: str) -> str:
    """Why a fresh Python cannot import the modules, or ""; a crash there is no crash here."""
    command = [sys.executable, "-W", "ignore", "-c", f"import {modules}"]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=IMPORT_TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired:
        return f"the import took longer than {IMPORT_TIMEOUT_S} s"
    if done.returncode == 0:
        return ""
    said = done.stderr.strip().splitlines()
    return said[-1] if said else f"the import ended with code {done.returncode}"


def pinned_versions() -> dict[str, str]:
    """The pins of the constraints file: name -> version."""
    text = (resources.files("minuet") / "constraints.txt").read_text(encoding="utf-8")
    return dict(re.findall(r"^([\w.-]+)==([\w.+]+)$", text, flags=re.MULTILINE))


def not_run_here() -> dict[str, str]:
    """What no install can make work on this machine: what -> why."""
    refused = {}
    if sys.platform != "darwin":
        refused["Core ML"] = "macOS only; the export works, and parity is evaluated without it"
    if not Path("/dev/nvidiactl").exists() and sys.platform != "win32":
        refused["TensorRT engines"] = "no NVIDIA driver; building them works"
    return refused


def _row(found: Found) -> tuple[str, str, str, str, str]:
    works = "yes" if found.works else "no"
    same = found.version.partition("+")[0] == found.tested
    return found.name, works, found.version, "" if same else found.tested, found.does


def _below(found: list[Found], refused: dict[str, str]) -> list[str]:
    lines = [f"{one.name}: {one.reason}" for one in found if one.version and one.reason]
    absent = {one.name for one in found if not one.version}
    extras = sorted({backend.extra for backend in BACKENDS if backend.name in absent} - {""})
    if extras:
        names = ",".join(extras) if len(extras) < 4 else "all"
        lines.append(f"pip install 'minuet[{names}]' brings what is not installed")
    return lines + [f"not run here: {what}: {why}" for what, why in refused.items()]
