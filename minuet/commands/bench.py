"""A bundle becomes report.json and report.html: every artifact on every runtime that is here."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from math import isfinite
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray

from minuet.commands.common import Json, Out, Seed, Threads
from minuet.contracts.artifact import Manifest
from minuet.contracts.errors import MissingBackendError, RequestError
from minuet.contracts.files import write_bytes, write_folder, write_json
from minuet.contracts.report import Report, Run
from minuet.measuring import Measurement, measure_bundle

# One second opinion a format; mil is an evaluator for tests, far too slow to be timed.
DEFAULT = "ort,openvino,executorch,coreml,tensorrt"
SHOWN = 256  # stickers on the page are at most this large; the numbers are of the real size
LOOKED_AT = ("p50 ms", "p90", "p99", "first", "load", "RSS MiB", "PSS MiB", "MB")


def bench(
    bundle: Annotated[Path, typer.Argument(help="the bundle's folder")],
    out: Annotated[Path, typer.Option("-o", "--out", help="the report's folder")] = Path("report"),
    against: Annotated[
        Path | None, typer.Option(help="an older bundle, to take turns with this one")
    ] = None,
    runtimes: Annotated[str, typer.Option(help="which runtimes, by name")] = DEFAULT,
    samples: Annotated[int, typer.Option(min=1, help="warm runs of each artifact")] = 100,
    seconds: Annotated[float, typer.Option(min=1, help="time for all warm runs together")] = 120.0,
    sustained: Annotated[
        float, typer.Option(min=0, max=3600, help="seconds that each then runs without a pause")
    ] = 0.0,
    device: Annotated[
        str, typer.Option(help="another machine, such as ssh:pi@board, adb, ios:name or mac")
    ] = "",
    peaks: Annotated[
        bool, typer.Option("--peaks", help="what this machine reaches at most, too: 10 s")
    ] = False,
    budget: Annotated[str, typer.Option(help="a budget to show the verdict of, too")] = "",
    threads: Threads = 0,
    seed: Seed = 0,
    json: Json = False,
) -> None:
    """Measure latency, stages, memory, energy and bytes, in fresh processes, all taking turns."""
    from minuet.benchmarks.budget import find_budget, read_budget
    from minuet.benchmarks.measure import Plan
    from minuet.benchmarks.page import Story
    from minuet.export.bundle import load_bundle

    say = Out(json=json)
    check_place(out)
    if device and peaks:
        raise RequestError("--peaks measures this machine, not the device; leave one of them out.")
    limits = read_budget(find_budget(budget)) if budget else None
    manifest = load_bundle(bundle)
    plan = Plan(samples=samples, seconds=seconds, sustained=sustained)
    measuring = partial(
        measure_bundle,
        bundle,
        manifest,
        [name.strip() for name in runtimes.split(",") if name.strip()],
        plan=plan,
        threads=threads,
        seed=seed,
        against=against,
        peaks=peaks,
        out=say,
    )
    found = on_device(device, measuring, say, sustained=bool(sustained))
    verdicts, refusal = judged(found.report, limits)
    story = Story(
        report=found.report,
        verdicts=verdicts,
        budget=limits.name if limits else "",
        manifest=manifest,
        sheets=sheets(found, manifest),
    )
    write_report(out, story)
    tell(say, found, verdicts)
    say.finish({"report": str(out), **found.report.to_json()}, f"\nreport: {out / 'report.html'}")
    if refusal:
        raise refusal
    if all(run.refusal for run in found.report.runs):
        raise MissingBackendError(
            "nothing could be run here; `minuet doctor` says what is missing."
        )


def on_device(
    word: str, measuring: Callable[..., Measurement], say: Out, *, sustained: bool
) -> Measurement:
    """What was measured on the device that a word names; what letting go of it left is said."""
    with held_device(word, sustained=sustained) as there:
        found = measuring(device=there)
    for note in there.notes() if there else ():
        if note not in found.notes:
            say.warn(note)
    return found


def judged(report: Report, limits: Any) -> tuple[list[Any], RequestError | None]:
    """The budget's verdicts; or why it is not for this report, which is written all the same."""
    from minuet.benchmarks.gate import gate

    try:
        return (gate(report, limits) if limits else []), None
    except RequestError as error:
        return [], error


def held_device(word: str, *, sustained: bool) -> AbstractContextManager[Any]:
    """The device that a word names, held; None for this machine."""
    from minuet.benchmarks.devices.session import COOL_SECONDS, held

    # Runs that are meant to heat it do not wait until it is cool.
    return held(word, cool_seconds=0 if sustained else COOL_SECONDS) if word else nullcontext()


def tell(say: Out, found: Measurement, verdicts: Sequence[object]) -> None:
    """The figures for people, what was not run or not measured, the stages, and the verdicts."""
    runs = found.report.runs
    say.table(("artifact", "runtime", *LOOKED_AT), [row(run) for run in runs])
    for run in runs:
        if run.refusal:
            say.say(f"not run: {title(run)}: {run.refusal}")
    for told in (remarks, stages):
        for run in runs:
            for line in told(run):
                say.say(line)
    for line in (*pairs_told(runs), *not_measured(runs)):
        say.say(line)
    for note in (*found.notes, *doubts(found.report)):
        say.warn(note)
    for verdict in verdicts:
        say.say(str(verdict))


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


def title(run: Run) -> str:
    """A run's name for people."""
    side = f" ({run.side})" if run.side else ""
    return f"{run.artifact} on {run.runtime}{side}"


def row(run: Run) -> list[object]:
    """One run's line for people."""
    from minuet.benchmarks.stats import quantile

    total = run.samples_ms.get("total", ())
    shares = [round(quantile(total, share), 2) if total else "-" for share in (0.5, 0.9, 0.99)]
    colds = [
        round(quantile(run.samples_ms[key], 0.5), 1) if run.samples_ms.get(key) else "-"
        for key in ("first", "load")
    ]
    memory = ["-" if one is None else round(one) for one in (run.peak_rss_mib, run.peak_pss_mib)]
    name = f"{run.artifact} ({run.side})" if run.side else run.artifact
    return [name, run.runtime, *shares, *colds, *memory, round(run.bytes_on_disk / 1e6, 2)]


def remarks(run: Run) -> Iterator[str]:
    """What else was measured of a run."""
    if run.batch > 1:
        yield (
            f"{title(run)}: each sample is the mean of {run.batch} calls; "
            "one alone is too short for this clock"
        )
    if long := run.samples_ms.get("sustained", ()):
        part = max(1, len(long) // 10)
        first, last = (median(rows) for rows in (long[:part], long[-part:]))
        yield (
            f"sustained: {title(run)}: {first:.2f} ms at first, {last:.2f} ms at last, "
            f"in {len(long)} samples"
        )
    if run.energy_mj is not None:
        yield f"energy: {title(run)}: {run.energy_mj:.0f} mJ a run, the machine's rest included"


def stages(run: Run) -> Iterator[str]:
    """A run's stages in a line for people, or why there are none; nothing where it was not run."""
    from minuet.benchmarks.stages import doubt, shares

    told = [f"{row.name} {row.p50_ms:.2f} ms ({100 * row.share:.0f} %)" for row in shares(run)]
    line = "; ".join(filter(None, (", ".join(told), doubt(run))))
    if line or run.unwatched:
        yield f"stages: {title(run)}: {line or f'not measured: {run.unwatched}'}"


def pairs_told(runs: Sequence[Run]) -> Iterator[str]:
    """How many times as long each takes as the older one beside it."""
    from minuet.benchmarks.compare import pairwise

    older = {(run.artifact, run.runtime): run for run in runs if run.side}
    for run in runs:
        base = older.get((run.artifact, run.runtime))
        if base and not (run.side or run.refusal or base.refusal):
            found = pairwise(run.samples_ms["total"], base.samples_ms["total"]).ratio
            known = f"{found.low:.3f} to {found.high:.3f}"
            sure = known if isfinite(found.high) else "too few samples to say how surely"
            yield f"{title(run)}: {found.value:.3f} times as long as the older one ({sure})"


def not_measured(runs: Sequence[Run]) -> Iterator[str]:
    """What this machine does not tell, once and not for every run."""
    ran = [run for run in runs if not run.refusal]
    for reason in dict.fromkeys(run.unmetered for run in ran if run.unmetered):
        yield f"energy: not measured: {reason.removeprefix('not measured: ')}"
    untold = {"PSS": "peak_pss_mib", "mapped files": "mapped_mib", "memory": "peak_rss_mib"}
    missing = [name for name, key in untold.items() if all(getattr(r, key) is None for r in ran)]
    if ran and missing:
        yield f"{', '.join(missing)}: not measured: this system does not tell"


def doubts(report: Report) -> Iterator[str]:
    """What in the machine and the harness a reader must know of."""
    from minuet.benchmarks.overhead import MOST_US

    if report.machine.throttled:
        yield (
            f"heat slowed a core {report.machine.throttled} times meanwhile; "
            "cool down and measure again"
        )
    if report.overhead_us and report.overhead_us > MOST_US:
        yield f"the harness itself takes {report.overhead_us:.0f} us of each sample"
