"""A bundle, or a new one and an old one in turns -> a report, and the frames that each run drew."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from minuet import __version__
from minuet.commands.common import Out, Step
from minuet.contracts.artifact import Artifact, Manifest
from minuet.contracts.errors import DamagedError, Refusal, RequestError
from minuet.contracts.report import BASE, Machine, Peaks, Report, Run
from minuet.contracts.tensors import Arrays, Signature

if TYPE_CHECKING:
    from minuet.benchmarks.devices.session import Held
    from minuet.benchmarks.measure import Measured, Plan
    from minuet.benchmarks.subject import Job

PROCESSES = 3  # a comparison samples each side in: where one lies in memory may cost it a per cent
PEAK_SECONDS = 10.0
THEIRS = Refusal("another machine has a meter of its own")


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """A report, the frames that each run drew, by name, and what its reader must know."""

    report: Report
    frames_TCHW: Mapping[str, NDArray[Any]]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One artifact on one runtime, of the bundle itself or of the one it is compared with."""

    manifest: Manifest
    artifact: Artifact
    job: Job
    runtime: str
    side: str = ""

    @property
    def key(self) -> str:
        """What it is called."""
        name = f"{self.artifact.name} on {self.runtime}"
        return f"{name} ({self.side})" if self.side else name


def measure_bundle(
    bundle: Path,
    manifest: Manifest,
    names: Sequence[str],
    *,
    plan: Plan,
    threads: int = 0,
    seed: int = 0,
    against: Path | None = None,
    peaks: bool = False,
    device: Held | None = None,
    out: Out,
) -> Measurement:
    """Every artifact on every named runtime that opens its target, in fresh processes.

    Args:
        against: an older bundle: each of its artifacts takes turns with the one of its name.
        peaks: measure what this machine reaches at most, too.
        device: another machine, on which everything is run.

    Raises:
        RequestError: nothing can be opened, or the two bundles cannot be compared; the clock
            stands still.
    """
    from minuet.benchmarks.clock import resolution
    from minuet.benchmarks.machine import fingerprint, throttles
    from minuet.benchmarks.overhead import sample_us

    clock = resolution()
    groups = _groups(bundle, manifest, names, against, threads, seed)
    if against:
        plan = _compared(plan, len(groups))
    began, before = datetime.now(UTC), throttles()
    machine = device.machine() if device else fingerprint()
    jobs = [{entry.key: entry.job for entry in group} for group in groups]
    found, drawn = measure_jobs(jobs, plan, out, device)
    report = Report(
        bundle=manifest.name,
        machine=machine if device else _heated(machine, before),
        runs=tuple(_run(entry, found[entry.key]) for group in groups for entry in group),
        clock_resolution_ns=clock.tick_ns,
        minuet=__version__,
        seed=seed,
        size=manifest.signature.outputs[0].shape[-1],
        peaks=_peaks(threads) if peaks else None,
        measured_at=began.isoformat(timespec="seconds"),
        overhead_us=round(sample_us(), 3),
    )
    return Measurement(report=report, frames_TCHW=drawn, notes=_notes(found, device))


def _compared(plan: Plan, groups: int) -> Plan:
    """A plan for each of so many pairs; one opening more is alone, for its memory."""
    return replace(
        plan,
        seconds=plan.seconds / groups,
        paired=True,
        processes=PROCESSES,
        colds=max(plan.colds, PROCESSES + 1),
    )


def _heated(machine: Machine, before: int | None) -> Machine:
    """The machine, with how often heat has slowed a core since there were `before` times."""
    from minuet.benchmarks.machine import throttles

    after = throttles()
    if before is None or after is None:
        return machine
    return replace(machine, throttled=after - before)


def _notes(found: Mapping[str, Measured], device: Held | None) -> tuple[str, ...]:
    unsteady = (f"{key}: {one.unsteady}" for key, one in found.items() if one.unsteady)
    return (*unsteady, *(device.notes() if device else ()))


def measure_jobs(
    groups: Sequence[Mapping[str, Job]], plan: Plan, out: Out, device: Held | None = None
) -> tuple[dict[str, Measured], dict[str, NDArray[Any]]]:
    """Samples of every job, and the frames that each drew once it was warm.

    Only those of one group take turns, and are open at the same time.
    """
    found: dict[str, Measured] = {}
    drawn: dict[str, NDArray[Any]] = {}
    count = sum(map(len, groups))
    with out.progress(f"measuring {count} artifacts", plan.samples * count) as step:
        for jobs in groups:
            more, frames = _in_turns(jobs, plan, step, device)
            found |= more
            drawn |= frames
    return found, drawn


def _in_turns(
    jobs: Mapping[str, Job], plan: Plan, step: Step, device: Held | None
) -> tuple[dict[str, Measured], dict[str, NDArray[Any]]]:
    from minuet.benchmarks.energy import find_meter
    from minuet.benchmarks.measure import measure
    from minuet.benchmarks.process import Child

    here = {key: partial(Child, job) for key, job in jobs.items()}
    with tempfile.TemporaryDirectory(prefix="minuet-frames-") as kept:
        frames = {key: Path(kept) / f"{index}.npz" for index, key in enumerate(jobs)}
        found = measure(
            device.subjects(jobs) if device else here,
            plan,
            progress=lambda name, count, have, wanted: step(count, f"{name} {have}/{wanted}"),
            visit=lambda name, subject: subject.save(frames[name]),
            meter=THEIRS if device else find_meter(),
        )
        if device:
            device.meter(jobs, found)
        return found, {key: _frames(path) for key, path in frames.items() if path.exists()}


def _groups(
    bundle: Path,
    manifest: Manifest,
    names: Sequence[str],
    against: Path | None,
    threads: int,
    seed: int,
) -> list[list[Entry]]:
    """All of one bundle together; of two, each artifact and the old one of its name."""
    inputs = example(bundle, manifest, seed)
    ours = list(_entries(bundle, manifest, names, inputs, threads))
    if against is None:
        return [ours]
    older = _older(against, manifest)
    theirs = {
        (entry.artifact.name, entry.runtime): entry
        for entry in _entries(against, older, names, inputs, threads, BASE)
    }
    pairs = [(one, theirs.get((one.artifact.name, one.runtime))) for one in ours]
    if groups := [[new, old] for new, old in pairs if old]:
        return groups
    held = ", ".join(artifact.name for artifact in older.artifacts) or "nothing"
    raise RequestError(f"{against}: holds none of {bundle}'s artifacts, but {held}.")


def _older(bundle: Path, newer: Manifest) -> Manifest:
    from minuet.export.bundle import load_bundle

    manifest = load_bundle(bundle)
    ours, theirs = (_taken(one.signature) for one in (newer, manifest))
    if ours != theirs:
        raise RequestError(
            f"{bundle}: takes {theirs}, not {ours}, so the two do not do the same work; "
            "compare bundles of one size."
        )
    return manifest


def _taken(signature: Signature) -> str:
    return ", ".join(f"{one.name} {one.dtype} {one.shape}" for one in signature.inputs)


def _entries(
    bundle: Path,
    manifest: Manifest,
    names: Sequence[str],
    inputs: Arrays,
    threads: int,
    side: str = "",
) -> Iterator[Entry]:
    from minuet.benchmarks.subject import Job

    work_of(manifest)  # a damaged one is found out now
    for key, (artifact, where) in pairs(manifest, names).items():
        yield Entry(
            manifest=manifest,
            artifact=artifact,
            job=Job(
                runtime=where, bundle=bundle, artifact=artifact.name, inputs=inputs, threads=threads
            ),
            runtime=key.rpartition(" on ")[2],
            side=side,
        )


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


def shown(signature: Signature) -> int:
    """Frames of a clip; 0 where its output has no axis of time."""
    output = signature.outputs[0]
    return output.shape[output.axes.index("T")] if "T" in output.axes else 0


def _run(entry: Entry, found: Measured) -> Run:
    from minuet.benchmarks.subject import artifact_hash

    return Run(
        artifact=entry.artifact.name,
        artifact_sha256=artifact_hash(entry.artifact),
        runtime=entry.runtime,
        runtime_version=found.version,
        threads=entry.job.threads,
        samples_ms={name: tuple(values) for name, values in found.samples_ms.items()},
        peak_rss_mib=found.memory.peak_rss_mib,
        peak_pss_mib=found.memory.peak_pss_mib,
        mapped_mib=found.memory.mapped_mib,
        bytes_on_disk=entry.artifact.size,
        shown=shown(entry.manifest.signature),
        energy_mj=found.energy_mj,
        unmetered=found.unmetered,
        operators=found.operators,
        unplaced=found.unplaced,
        refusal=found.refusal,
        unwatched=found.unwatched,
        side=entry.side,
        batch=found.batch,
        **work_of(entry.manifest),
    )


def _peaks(threads: int) -> Peaks:
    from minuet.benchmarks.peaks import measure_peaks

    return measure_peaks(threads, PEAK_SECONDS)


def _frames(path: Path) -> NDArray[Any]:
    with np.load(path, allow_pickle=False) as stored:
        first: NDArray[Any] = stored[stored.files[0]]
    return first
