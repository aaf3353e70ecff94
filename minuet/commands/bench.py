"""A bundle becomes report.json and report.html: every artifact on every runtime that is here."""

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray

from minuet import __version__
from minuet.commands.common import Json, Out, Seed, Threads
from minuet.contracts.artifact import Artifact, Manifest
from minuet.contracts.errors import DamagedError, MissingBackendError, RequestError
from minuet.contracts.files import write_bytes, write_folder, write_json
from minuet.contracts.report import Report, Run
from minuet.contracts.tensors import Arrays, Signature

# One second opinion a format; mil is an evaluator for tests, far too slow to be timed.
DEFAULT = "ort,openvino,executorch,coreml,tensorrt"
SHOWN = 256  # stickers on the page are at most this large; the numbers are of the real size
LOOKED_AT = ("p50 ms", "p90", "p99", "first", "load", "memory MiB", "MB")


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """A report, and the frames that each run drew, by name."""

    report: Report
    frames_TCHW: Mapping[str, NDArray[Any]]


def bench(
    bundle: Annotated[Path, typer.Argument(help="the bundle's folder")],
    out: Annotated[Path, typer.Option("-o", "--out", help="the report's folder")] = Path("report"),
    runtimes: Annotated[str, typer.Option(help="which runtimes, by name")] = DEFAULT,
    samples: Annotated[int, typer.Option(min=1, help="warm runs of each artifact")] = 100,
    seconds: Annotated[float, typer.Option(min=1, help="time for all warm runs together")] = 120.0,
    budget: Annotated[str, typer.Option(help="a budget to show the verdict of, too")] = "",
    threads: Threads = 0,
    seed: Seed = 0,
    json: Json = False,
) -> None:
    """Measure latency, stages, memory and bytes, in fresh processes, all taking turns."""
    from minuet.benchmarks.budget import find_budget, read_budget
    from minuet.benchmarks.gate import gate
    from minuet.benchmarks.measure import Plan
    from minuet.benchmarks.page import Story
    from minuet.export.bundle import load_bundle

    say = Out(json=json)
    check_place(out)
    limits = read_budget(find_budget(budget)) if budget else None
    manifest = load_bundle(bundle)
    plan = Plan(samples=samples, seconds=seconds)
    names = [name.strip() for name in runtimes.split(",") if name.strip()]
    found = measure_bundle(bundle, manifest, names, plan=plan, threads=threads, seed=seed, out=say)
    verdicts = gate(found.report, limits) if limits else []
    story = Story(
        report=found.report,
        verdicts=verdicts,
        budget=limits.name if limits else "",
        manifest=manifest,
        sheets=sheets(found, manifest),
    )
    write_report(out, story)
    tell(say, found.report.runs, verdicts)
    say.finish({"report": str(out), **found.report.to_json()}, f"\nreport: {out / 'report.html'}")
    if all(run.refusal for run in found.report.runs):
        raise MissingBackendError(
            "nothing could be run here; `minuet doctor` says what is missing."
        )


def tell(say: Out, runs: Sequence[Run], verdicts: Sequence[object]) -> None:
    """The figures for people, what was not run, the stages, and the verdicts."""
    say.table(("artifact", "runtime", *LOOKED_AT), [row(run) for run in runs])
    for run in runs:
        if run.refusal:
            say.say(f"not run: {run.artifact} on {run.runtime}: {run.refusal}")
    for run in runs:
        if told := stages(run):
            say.say(f"stages: {run.artifact} on {run.runtime}: {told}")
    for verdict in verdicts:
        say.say(str(verdict))


def measure_bundle(
    bundle: Path,
    manifest: Manifest,
    names: Sequence[str],
    *,
    plan: Any,
    threads: int = 0,
    seed: int = 0,
    out: Out,
) -> Measurement:
    """Every artifact on every named runtime that opens its target, in fresh processes."""
    from minuet.benchmarks.clock import resolution
    from minuet.benchmarks.machine import fingerprint
    from minuet.benchmarks.subject import Job

    chosen = pairs(manifest, names)
    work = work_of(manifest)
    inputs = example(bundle, manifest, seed)
    machine = fingerprint()  # before the load is our own
    jobs = {
        key: Job(
            runtime=where, bundle=bundle, artifact=artifact.name, inputs=inputs, threads=threads
        )
        for key, (artifact, where) in chosen.items()
    }
    found, drawn = measure_jobs(jobs, plan, out)
    runs = tuple(
        _run(key, artifact, work, found[key], threads) for key, (artifact, _) in chosen.items()
    )
    report = Report(
        bundle=manifest.name,
        machine=machine,
        runs=runs,
        clock_resolution_ns=resolution().tick_ns,
        minuet=__version__,
        seed=seed,
        size=manifest.signature.outputs[0].shape[-1],
    )
    return Measurement(report=report, frames_TCHW=drawn)


def measure_jobs(jobs: Mapping[str, Any], plan: Any, out: Out) -> tuple[Any, dict[str, Any]]:
    """Samples of every job, and the frames that each drew once it was warm."""
    from minuet.benchmarks.measure import measure
    from minuet.benchmarks.subject import Child, Subject

    makers: dict[str, Callable[[], Subject]] = {
        key: partial(Child, job) for key, job in jobs.items()
    }
    label, total = f"measuring {len(jobs)} artifacts", plan.samples * len(jobs)
    with tempfile.TemporaryDirectory() as kept, out.progress(label, total) as step:
        frames = {key: Path(kept) / f"{index}.npz" for index, key in enumerate(jobs)}
        found = measure(
            makers,
            plan,
            progress=lambda name, count, have, wanted: step(count, f"{name} {have}/{wanted}"),
            visit=lambda name, subject: subject.save(frames[name]),
        )
        drawn = {key: _frames(path) for key, path in frames.items() if path.exists()}
    return found, drawn


def pairs(manifest: Manifest, names: Sequence[str]) -> dict[str, tuple[Artifact, str]]:
    """ "artifact on runtime" -> the artifact and where the runtime is.

    Raises:
        RequestError: an unknown runtime, or none that opens any artifact.
    """
    from minuet.runtimes.table import RUNTIMES, runtime

    found = {
        f"{artifact.name} on {name}": (artifact, RUNTIMES[name])
        for name in names
        for artifact in manifest.artifacts
        if artifact.target in runtime(name).targets
    }
    if found:
        return dict(sorted(found.items()))
    held = ", ".join(artifact.name for artifact in manifest.artifacts) or "nothing"
    raise RequestError(f"no runtime of {', '.join(names)} opens what the bundle holds: {held}.")


def example(bundle: Path, manifest: Manifest, seed: int) -> Arrays:
    """The first golden inputs; drawn ones where a bundle has none."""
    from minuet.export.bundle import read_golden

    golden = read_golden(bundle, manifest)
    return golden[0].inputs if golden else drawn_inputs(manifest.signature, seed)


def drawn_inputs(signature: Signature, seed: int) -> Arrays:
    """Inputs of the right shapes: numbers within their range, zeros for indices."""
    rng = np.random.default_rng(seed)
    found: dict[str, NDArray[Any]] = {}
    for spec in signature.inputs:
        if np.issubdtype(np.dtype(spec.dtype), np.integer):
            found[spec.name] = np.zeros(spec.shape, spec.dtype)
        elif spec.low is not None and spec.high is not None:
            found[spec.name] = rng.uniform(spec.low, spec.high, spec.shape).astype(spec.dtype)
        else:
            found[spec.name] = rng.standard_normal(spec.shape).astype(spec.dtype)
    return found


def write_report(folder: Path, story: Any) -> None:
    """report.json and report.html, both or neither; an earlier report is replaced."""
    from minuet.benchmarks.page import page

    check_place(folder)
    with write_folder(folder) as staging:
        write_json(staging / "report.json", story.report.to_json())
        write_bytes(staging / "report.html", page(story).encode())


def check_place(folder: Path) -> None:
    """Refuse to replace anything but a report or an empty folder."""
    if folder.exists() and not is_report(folder):
        raise RequestError(f"{folder}: holds something else than a report; choose another name.")


def is_report(folder: Path) -> bool:
    """Whether a folder is a report, or empty."""
    if not folder.is_dir():
        return False
    return {path.name for path in folder.iterdir()} <= {"report.json", "report.html"}


def sheets(found: Measurement, manifest: Manifest) -> list[Any]:
    """What each run drew, for the page."""
    from minuet.benchmarks.page import Sheet

    size = min(SHOWN, manifest.signature.outputs[0].shape[-1])
    return [
        Sheet(title=name, webp=webp(frames, size), size=size)
        for name, frames in found.frames_TCHW.items()
    ]


def webp(frames_TCHW: NDArray[Any], size: int, fps: int = 8) -> bytes:
    """Planar straight RGBA frames -> an endless animated WebP."""
    from PIL import Image

    from minuet import media

    frames_TCHW = np.clip(np.asarray(frames_TCHW), 0, 255).round().astype(np.uint8)
    rows = (np.ascontiguousarray(frame.transpose(1, 2, 0)) for frame in frames_TCHW)
    small = [np.asarray(Image.fromarray(row).resize((size, size))) for row in rows]
    return media.webp(np.stack(small), fps, quality=85)


def row(run: Run) -> list[object]:
    """One run's line for people."""
    from minuet.benchmarks.stats import quantile

    total = run.samples_ms.get("total", ())
    shares = [round(quantile(total, share), 2) if total else "-" for share in (0.5, 0.9, 0.99)]
    colds = [
        round(quantile(run.samples_ms[key], 0.5), 1) if run.samples_ms.get(key) else "-"
        for key in ("first", "load")
    ]
    memory = "-" if run.peak_rss_mib is None else round(run.peak_rss_mib)
    return [run.artifact, run.runtime, *shares, *colds, memory, round(run.bytes_on_disk / 1e6, 2)]


def stages(run: Run) -> str:
    """A run's stages in a line for people, or why there are none; "" where it was not run."""
    from minuet.benchmarks.stages import doubt, shares

    if run.unwatched:
        return f"not measured: {run.unwatched}"
    told = [f"{row.name} {row.p50_ms:.2f} ms ({100 * row.share:.0f} %)" for row in shares(run)]
    return "; ".join(filter(None, (", ".join(told), doubt(run))))


def work_of(manifest: Manifest) -> dict[str, Any]:
    """Steps, network evaluations and multiply-accumulates of a clip, as the manifest has them.

    Raises:
        DamagedError: one of them is no number.
    """
    sampler = manifest.sampler
    steps = sampler.get("steps") or 0
    found = {"steps": steps, "nfe": sampler.get("nfe", steps), "macs": sampler.get("macs") or None}
    for name, value in found.items():
        wanted = float | int | None if name == "macs" else int
        if isinstance(value, bool) or not isinstance(value, wanted):
            raise DamagedError(
                f"{manifest.name}: {name} of its sampler is {value!r:.40}, not a number; "
                "export again."
            )
    return found


def _run(key: str, artifact: Artifact, work: Mapping[str, Any], found: Any, threads: int) -> Run:
    from minuet.benchmarks.subject import artifact_hash

    blank = Run(
        artifact=artifact.name,
        artifact_sha256=artifact_hash(artifact),
        runtime=key.rpartition(" on ")[2],
        runtime_version=found.version,
        threads=threads,
        samples_ms={name: tuple(values) for name, values in found.samples_ms.items()},
        peak_rss_mib=found.peak_rss_mib,
        bytes_on_disk=artifact.size,
        **work,
    )
    return replace(blank, refusal=found.refusal, unwatched=found.unwatched)


def _frames(path: Path) -> NDArray[Any]:
    with np.load(path, allow_pickle=False) as stored:
        first: NDArray[Any] = stored[stored.files[0]]
    return first
