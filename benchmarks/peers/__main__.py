"""One student by minuet and by its peers, all in turns in fresh processes -> a table.

python -m minuet.benchmarks.peers BUNDLE --student FOLDER [-o peers/] [--samples 60] [--threads 2]

All animate the same sticker with the same noise. Every peer is set up as its first page says, and
in its best setting too; a peer whose own export fails, or that is not installed, is a row with its
reason. Frames are compared with plain torch's, premultiplied, so that nobody is quick and wrong.
"""

import argparse
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from minuet.benchmarks.compare import pairwise
from minuet.benchmarks.machine import fingerprint
from minuet.benchmarks.measure import Measured, Plan, measure
from minuet.benchmarks.peers import runtimes
from minuet.benchmarks.peers.prepare import prepare
from minuet.benchmarks.process import Child
from minuet.benchmarks.stats import quantile
from minuet.benchmarks.subject import Job, Subject
from minuet.contracts.artifact import Manifest
from minuet.contracts.errors import MinuetError, RequestError
from minuet.contracts.files import read_json, write_bytes, write_json
from minuet.contracts.tensors import Arrays

REFERENCE = "torch"
OURS = {  # a row: its runtime, and the artifact of the bundle that it opens
    "minuet onnx-fp32, ort": ("minuet.runtimes.ort:OrtRuntime", "onnx-fp32"),
    "minuet onnx-int8, ort": ("minuet.runtimes.ort:OrtRuntime", "onnx-int8"),
    "minuet onnx-fp32, openvino": ("minuet.runtimes.openvino:OpenVinoRuntime", "onnx-fp32"),
    "minuet onnx-fp32, openvino bf16": ("minuet.runtimes.openvino:BFLOAT16", "onnx-fp32"),
    "minuet onnx-int8, openvino bf16": ("minuet.runtimes.openvino:BFLOAT16", "onnx-int8"),
    "minuet executorch": ("minuet.runtimes.executorch:ExecutorchRuntime", "executorch-fp32"),
}
# Exporters of known architectures only; a student is none of theirs.
UNABLE = {"optimum": "exports the architectures that it knows; a network of one's own is none"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What came of one contender."""

    name: str
    found: Measured
    db: float | None  # of its frames beside plain torch's


def main() -> None:
    """Prepare, measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--student", type=Path, required=True)
    parser.add_argument("-o", "--out", type=Path, default=Path("peers"))
    parser.add_argument("--samples", type=int, default=60)
    parser.add_argument("--seconds", type=float, default=300.0)
    parser.add_argument("--threads", type=int, default=0)
    asked = parser.parse_args()
    try:
        rows = compared(asked)
    except MinuetError as error:
        raise SystemExit(str(error)) from error
    table = markdown(rows)
    write_json(asked.out / "peers.json", told(rows))
    write_bytes(asked.out / "peers.md", (table + "\n").encode())
    print(table)


def compared(asked: argparse.Namespace) -> list[Row]:
    """Every contender, measured in turns."""
    where = asked.bundle / "manifest.json"
    manifest = Manifest.from_json(read_json(where), str(where))
    with tempfile.TemporaryDirectory(prefix="minuet-peers-") as home:
        folder = Path(home)
        side = manifest.signature.outputs[0].shape[-1]
        theirs = prepare(asked.student, side, folder / "peers")
        if theirs.source_sha256 != manifest.source_sha256:
            raise RequestError(f"{asked.bundle} is not of {asked.student}: other weights.")
        inputs = example(manifest)
        jobs = {**ours(asked, manifest, inputs), **peers(asked, theirs, folder / "peers", inputs)}
        makers = {name: partial(Child, job) for name, job in jobs.items()}
        plan = Plan(samples=asked.samples, seconds=asked.seconds, watched=0)
        frames = {name: folder / f"{at}.npz" for at, name in enumerate(jobs)}

        def visit(name: str, subject: Subject) -> None:
            subject.save(frames[name])

        found = measure(makers, plan, visit=visit, progress=progress)
        drawn = {name: premultiplied(path) for name, path in frames.items() if path.exists()}
    return [
        Row(name=name, found=one, db=agreement(drawn.get(name), drawn.get(REFERENCE)))
        for name, one in found.items()
    ]


def ours(asked: argparse.Namespace, manifest: Manifest, inputs: Arrays) -> dict[str, Job]:
    """What the bundle holds."""
    held = {artifact.name for artifact in manifest.artifacts}
    return {
        name: Job(
            runtime=runtime,
            bundle=asked.bundle,
            artifact=artifact,
            inputs=inputs,
            threads=asked.threads,
        )
        for name, (runtime, artifact) in OURS.items()
        if artifact in held
    }


def peers(
    asked: argparse.Namespace, manifest: Manifest, folder: Path, inputs: Arrays
) -> dict[str, Job]:
    """Everybody else's."""
    found = {}
    for attribute in runtimes.PEERS:
        peer: runtimes.Peer = getattr(runtimes, attribute)
        artifact = next(one for one in manifest.artifacts if one.target in peer.targets)
        found[peer.name] = Job(
            runtime=f"{runtimes.__name__}:{attribute}",
            bundle=folder,
            artifact=artifact.name,
            inputs=inputs,
            threads=asked.threads,
        )
    return found


def example(manifest: Manifest, seed: int = 0) -> Arrays:
    """A disc on transparency, two words, noise: what a clip costs does not hang on the picture."""
    shapes = {spec.name: spec.shape for spec in manifest.signature.inputs}
    rng = np.random.default_rng(seed)
    side = shapes["image"][-1]
    y, x = np.mgrid[:side, :side] / side - 0.5
    image = np.repeat((0.5 + 0.5 * np.sin(40 * x * y))[None, None], 4, axis=1).astype(np.float32)
    image[:, 3] = np.hypot(x, y) < 0.4
    tokens = np.zeros(shapes["tokens"], np.int32)
    tokens[:, :2] = 2, 3
    noise = rng.standard_normal(shapes["noise"]).astype(np.float32)
    return {"image": image, "tokens": tokens, "noise": noise}


def progress(name: str, count: int, have: int, wanted: int) -> None:
    """A line now and then."""
    if have == wanted or have % 20 < count:
        print(f"{name}: {have} of {wanted}", flush=True)


def premultiplied(path: Path) -> NDArray[np.float64]:
    """Frames as they look: colour under no alpha is not seen."""
    with np.load(path, allow_pickle=False) as stored:
        frames = stored["frames"].astype(np.float64) / 255
    frames[:, :3] *= frames[:, 3:4]
    return np.asarray(frames)


def agreement(frames: NDArray[np.float64] | None, wanted: Any) -> float | None:
    """PSNR in dB, at most 99; None where one of them was not drawn."""
    if frames is None or wanted is None:
        return None
    error = float(((frames - wanted) ** 2).mean())
    return min(99.0, -10 * float(np.log10(max(error, 1e-12))))


def markdown(rows: Sequence[Row]) -> str:
    """Fastest first: its time, how often the fastest of minuet's fits into it, what it costs."""
    ran = [row for row in rows if not row.found.refusal]
    first = min((row for row in ran if row.name in OURS), key=_median, default=None)
    lines = ["| | p50 ms | of minuet's fastest | first run ms | load ms | dB from torch |"]
    lines.append("|---" * 6 + "|")
    for row in sorted(ran, key=_median):
        cells = [row.name, f"{_median(row):.1f}", _times(row, first)]
        cells += [f"{quantile(row.found.samples_ms[name], 0.5):.0f}" for name in ("first", "load")]
        cells.append("" if row.db is None else f"{row.db:.1f}")
        lines.append(f"| {' | '.join(cells)} |")
    refused = {row.name: row.found.refusal for row in rows if row.found.refusal} | UNABLE
    lines += [
        f"| {name} | not run: {why.replace('|', '/')} | | | | |" for name, why in refused.items()
    ]
    return "\n".join(lines)


def _median(row: Row) -> float:
    return quantile(row.found.samples_ms["total"], 0.5)


def _times(row: Row, first: Row | None) -> str:
    """The ratio of neighbours in time, with its interval."""
    if first is None or row is first:
        return "1"
    ratio = pairwise(row.found.samples_ms["total"], first.found.samples_ms["total"]).ratio
    return f"{ratio.value:.2f} ({ratio.low:.2f} to {ratio.high:.2f})"


def told(rows: Sequence[Row]) -> Mapping[str, Any]:
    """All samples and where they were taken."""
    return {
        "machine": asdict(fingerprint()),
        "unable": UNABLE,
        "rows": {
            row.name: {
                "version": row.found.version,
                "samples_ms": row.found.samples_ms,
                "refusal": row.found.refusal,
                "db_from_torch": row.db,
            }
            for row in rows
        },
    }


if __name__ == "__main__":
    main()
