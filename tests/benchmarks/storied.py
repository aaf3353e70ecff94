"""A story with every part of the page in it, and the same story with planted words."""

import dataclasses
import io
from collections.abc import Mapping
from typing import Any

import numpy as np
from PIL import Image

from minuet.benchmarks.changes import Change
from minuet.benchmarks.history import Course
from minuet.benchmarks.page import Sheet, Story
from minuet.benchmarks.stats import Interval
from minuet.benchmarks.verdict import AT_LEAST, FAIL, INCONCLUSIVE, PASS, Verdict
from minuet.contracts.artifact import Artifact, FileEntry, Manifest, Parity
from minuet.contracts.report import Machine, Operator, Peaks, Report, Run
from minuet.contracts.tensors import Signature
from tests.benchmarks.conftest import drawn

# What a hostile report would say: markup, ends of what it may stand in, and letters that are none.
PAYLOAD = (
    "\"'><script>window.hit=1</script><img src=x onerror=window.hit=1><svg onload=window.hit=1>"
    "</style></title></textarea><iframe srcdoc='<script>parent.hit=1</script>'></iframe>"
    "<a href='javascript:window.hit=1'>&#60;b&#62;--><![CDATA[ \N{RIGHT-TO-LEFT OVERRIDE}\x00\ud800"
)
KEPT = {"outcome", "verdict", "bound", "side"}  # of our own choosing, not a stranger's


def run(artifact: str, runtime: str, ms: float, **changes: Any) -> Run:
    """A run of every kind of sample."""
    stages = {f"stage.{name}": drawn(3, 20, ms * share) for name, share in STAGES.items()}
    fields: dict[str, Any] = {
        "artifact": artifact,
        "artifact_sha256": "ab" * 32,
        "runtime": runtime,
        "runtime_version": f"{runtime} 1.2",
        "threads": 2,
        "samples_ms": {
            "load": drawn(5, 3, 3 * ms),
            "first": drawn(6, 3, 2 * ms),
            "warm_up": tuple(ms * np.array([1.9, 1.4, 1.1, 1.05, 1.02])),
            "total": drawn(7, 120, ms),
            "sustained": drawn(8, 60, 1.05 * ms),
            "watched": drawn(9, 20, ms),
            **stages,
        },
        "peak_rss_mib": 210.0,
        "bytes_on_disk": 4_000_000 if "int8" in artifact else 11_000_000,
        "steps": 2,
        "nfe": 2,
        "macs": 18e9,
        "shown": 8,
        "peak_pss_mib": 190.0,
        "mapped_mib": 11.0,
        "energy_mj": 900.0,
    }
    return Run(**fields | changes)


STAGES = {"caption": 0.1, "denoise.0": 0.6, "compose": 0.25, "other": 0.04}


def operators() -> tuple[Operator, ...]:
    """Of both sides of the ridge, of unknown work, and one that fell off."""
    rows = [
        ("/compose/conv", "Conv", "Fast", 60.0, "compose", 1.2e9, 3e7),
        ("/denoise/matmul", "MatMul", "Fast", 40.0, "denoise.0", 1.5e9, 2e7),
        ("/denoise/softmax", "Softmax", "Fast", 20.0, "denoise.0", 2e6, 1e8),
        ("/caption/slice", "Slice", "Fast", 10.0, "caption", 0.0, 1e7),
        ("/caption/gather", "Gather", "Slow", 5.0, "caption", None, None),
    ]
    return tuple(
        Operator(
            name=name,
            kind=kind,
            unit=unit,
            p50_ms=ms,
            stage=stage,
            dtype="fp32",
            macs=macs,
            moved_bytes=moved,
        )
        for name, kind, unit, ms, stage, macs, moved in rows
    )


def verdict(outcome: str, **changes: Any) -> Verdict:
    """A verdict on a median."""
    fields: dict[str, Any] = {
        "artifact": "onnx-fp32",
        "runtime": "ort",
        "metric": "total.p50",
        "limit": 110.0,
        "unit": "ms",
        "value": 104.0,
        "low": 103.0,
        "high": 105.0,
        "samples": 120,
    }
    return Verdict(outcome=outcome, **fields | changes)


def manifest() -> Manifest:
    """Two artifacts, proved on one runtime and not on the next."""
    return Manifest(
        name="sticker",
        family="f",
        programs={"main": Signature(inputs=(), outputs=())},
        sampler={},
        artifacts=(_artifact("fp32", 70.0), _artifact("int8", 40.0)),
        files=(),
        minuet="0",
        source_sha256="",
    )


def _artifact(precision: str, db: float) -> Artifact:
    metric, needed = "worst psnr, dB", 35.0
    proofs = tuple(
        Parity(verdict="pass", backend=where, metric=metric, value=db, tolerance=needed, reason="r")
        for where in ("ort: ort 1", "openvino: openvino 1")
    )
    file = FileEntry(path=f"onnx-{precision}/m.onnx", bytes=1, sha256="0" * 64)
    return Artifact(
        target="onnx",
        precision=precision,
        entry=file.path,
        files=(file,),
        requires={},
        parity=(*proofs, Parity(verdict="not run", backend="coreml", reason="no Mac here")),
    )


def webp(frames: int = 3, size: int = 32) -> bytes:
    """Squares that grow."""
    pictures = []
    for index in range(frames):
        pixels = np.zeros((size, size, 4), np.uint8)
        pixels[: 6 * (index + 1), : 6 * (index + 1)] = (200, 40, 90, 255)
        pictures.append(Image.fromarray(pixels))
    kept = io.BytesIO()
    pictures[0].save(kept, "WEBP", save_all=True, append_images=pictures[1:], lossless=True)
    return kept.getvalue()


def report(*runs: Run, **changes: Any) -> Report:
    """Of every part that a report may have."""
    machine = Machine(
        cpu="Example 9000",
        cores=2,
        memory_mib=8192,
        os="Linux 6.1",
        python="3.11.4",
        governor="performance",
        load_1min=3.0,
        versions={"ort": "1.2", "numpy": "2.3"},
        throttled=2,
    )
    fields: dict[str, Any] = {
        "bundle": "sticker",
        "machine": machine,
        "runs": runs or rich_runs(),
        "clock_resolution_ns": 40.0,
        "minuet": "0.1.0",
        "seed": 0,
        "size": 512,
        "peaks": Peaks(threads=2, gflops={"fp32": 100.0}, read_gbs=10.0),
        "measured_at": "2026-03-01T12:00:00Z",
        "overhead_us": 1.5,
    }
    return Report(**fields | changes)


def rich_runs() -> tuple[Run, ...]:
    """New and old in turns, watched and not, drifting, and one that could not run."""
    heated = tuple(np.array(drawn(11, 120, 90.0)) * np.linspace(1, 1.15, 120))
    return (
        run("onnx-fp32", "ort", 100.0, operators=operators()),
        run("onnx-int8", "ort", 80.0, unplaced="it tells no operators"),
        run("onnx-int8", "ort", 70.0, side="base"),
        run("onnx-int8", "openvino", 60.0, samples_ms={"total": heated}, unwatched="it tells none"),
        run(
            "coreml-fp16",
            "coreml",
            1.0,
            samples_ms={},
            refusal="needs macOS",
            peak_rss_mib=None,
            energy_mj=None,
            unmetered="no counter here",
        ),
    )


def course() -> Course:
    """Eight reports, of which the fifth brought something."""
    return Course(
        artifact="onnx-fp32",
        runtime="ort",
        metric="total.p50",
        unit="ms",
        times=tuple(f"2026-03-0{day}T12:00:00+00:00" for day in range(1, 9)),
        values=(100.0, 101.0, 100.0, 101.0, 120.0, 121.0, 120.0, 121.0),
        changes=(Change(at=4, ratio=Interval(value=1.2, low=1.18, high=1.22)),),
    )


def story() -> Story:
    """Every part of the page."""
    interval = Interval(value=0.93, low=0.9, high=0.96)
    return Story(
        report=report(),
        verdicts=[
            verdict(PASS),
            verdict(FAIL, runtime="openvino", value=130.0, low=128.0, high=131.0, note="too slow"),
            verdict(INCONCLUSIVE, metric="total.p99", high=None, note="about 900 samples would"),
            verdict(PASS, metric="parity.db", unit="dB", bound=AT_LEAST, limit=35.0, value=70.0),
            verdict(PASS, metric="off.Fast", unit="", limit=0.1, value=0.04, low=None, high=None),
        ],
        budget="laptop",
        manifest=manifest(),
        sheets=[Sheet(title="onnx-fp32 on ort", webp=webp(), size=64)],
        quality={"onnx-fp32": {"motion": interval}, "onnx-int8": {"motion": interval}},
        history=[course()],
    )


def planted(value: Any, word: str = PAYLOAD, name: str = "") -> Any:
    """The same with every text of a stranger's replaced; names of samples keep their beginning."""
    if isinstance(value, str):
        return value if name in KEPT else f"{word} dB" if name == "metric" else word
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.replace(
            value,
            **{
                field.name: planted(getattr(value, field.name), word, field.name)
                for field in dataclasses.fields(value)
                if field.init
            },
        )
    if isinstance(value, Mapping):
        rows = enumerate(value.items())
        return {_key(name, k, word, i): planted(v, word, name) for i, (k, v) in rows}
    if isinstance(value, list | tuple):
        return type(value)(planted(one, word, name) for one in value)
    return value


def _key(name: str, key: str, word: str, index: int) -> str:
    if name == "samples_ms":
        return f"stage.{index}{word}" if key.startswith("stage.") else key
    return word if name == "gflops" else f"{word}{index}"
