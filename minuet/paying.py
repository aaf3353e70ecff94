"""A quantized student beside its float parent -> whether it is near, smaller and faster enough.

Both are exported, proved, and measured in one interleaved run, each runtime against itself: what a
quantized file gains on one says nothing of another. The first runtime that opens a target answers
for it; the others are told.
"""

from __future__ import annotations

import math
import statistics
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from minuet.commands.common import Out
from minuet.contracts.artifact import Artifact, Manifest
from minuet.contracts.errors import MissingBackendError, RequestError
from minuet.contracts.tensors import Arrays
from minuet.nearness import decibels_of, frames_error
from minuet.quantize.schemes import FASTER, SCHEMES, SMALLER

if TYPE_CHECKING:
    from minuet.contracts.runtime import Runtime
    from minuet.models.student import Student

CLIPS, FIRST = 8, 1000  # held-out stickers, behind those of golden cases
EVALUATORS = frozenset({"mil"})  # they say what a file computes, not how fast
SAMPLES, SECONDS = 200, 120.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Weighed:
    """One quantized artifact on one runtime, against its float parent there."""

    target: str
    runtime: str
    precision: str
    parent: str  # the precision of the parent
    bytes: int
    parent_bytes: int
    answers: bool  # for its target
    version: str = ""  # of the runtime
    decibels: tuple[float, ...] = ()  # of each clip's frames, from the float student's own
    ms: float | None = None  # median
    parent_ms: float | None = None
    # The median of ratios of samples taken side by side, and its interval.
    ratio: tuple[float, float, float | None] | None = None  # no end: from too few samples
    outcome: str = ""  # faster, same, slower, unsure
    reason: str = ""  # why it was not run, or not timed

    @property
    def db(self) -> float | None:
        """PSNR of the mean square error over all clips."""
        if not self.decibels:
            return None
        return float(-10 * np.log10(np.mean([10 ** (-one / 10) for one in self.decibels])))

    def broken(self, floor_db: float) -> list[str]:
        """What was promised and is not kept; what was not run breaks nothing, and is told."""
        promises, found = SCHEMES[self.precision].promises, []
        if self.db is not None and self.db < floor_db:
            found.append(f"{self.db:.1f} dB from the float student, below {floor_db:g}")
        if SMALLER in promises and self.bytes >= self.parent_bytes:
            found.append("not smaller")
        if FASTER in promises and self.outcome and self.outcome != "faster":
            found.append(f"not faster ({self.outcome})")
        return found

    def to_json(self, floor_db: float) -> dict[str, Any]:
        """For a manifest."""
        return {**asdict(self), "db": self.db, "broken": self.broken(floor_db)}


COLUMNS = ("target", "runtime", "MB", "of float", "ms", "float ms", "ratio", "dB", "worst", "pays")


def weigh(
    folder: Path, student: Student, targets: Sequence[str], size: int, floor_db: float, say: Out
) -> list[Weighed]:
    """Export, prove and measure a quantized student's folder beside its parent.

    Args:
        size: of a sticker, px a side.

    Raises:
        ParityError: an artifact is another model than its recipe makes.
        MissingBackendError: a target's exporter is not here.
    """
    from minuet.exporting import How, Job, write
    from minuet.quantize.recipe import precision_of
    from minuet.sources import read_source
    from minuet.wish import Wish

    precision = precision_of(folder)
    parents = {target: parent_of(target) for target in targets}
    source = read_source(str(folder), Wish(size=(size, size)))
    jobs = [
        Job(target=target, precision=one)
        for target in targets
        for one in (parents[target], precision)
    ]
    with tempfile.TemporaryDirectory(prefix="minuet-weigh-") as kept:
        bundle = Path(kept) / "bundle"
        with say.progress("writing both", total=len(jobs)) as step:
            manifest = write(source, jobs, bundle, How(), say=say, step=step)
        pairs = _pairs(manifest, targets, parents, precision)
        samples = _timed(bundle, manifest, pairs, say)
        clips = held_clips(student, manifest, CLIPS)
        with say.progress("frames of held-out stickers", total=len(pairs)) as step:
            found = []
            for pair in pairs:
                found.append(_weighed(bundle, manifest, pair, samples, clips))
                step()
    tell(found, floor_db, say)
    return found


def insist(found: Sequence[Weighed], floor_db: float) -> list[str]:
    """What does not pay, in words: only who answers for a target counts."""
    return [
        f"{row.target}: {', '.join(row.broken(floor_db))}"
        for row in found
        if row.answers and row.broken(floor_db)
    ]


def tell(found: Sequence[Weighed], floor_db: float, say: Out) -> None:
    """The table for people, and what was not run."""
    say.table(COLUMNS, [_row(one, floor_db) for one in found])
    for one in found:
        if one.reason:
            say.say(f"not run: {one.target} on {one.runtime}: {one.reason}")


def parent_of(target: str) -> str:
    """The float precision that a target has without quantization.

    Raises:
        MissingBackendError: its exporter is not here.
    """
    from minuet.export.table import missing, row

    if refusal := missing(target):
        raise MissingBackendError(f"{target}: {refusal.reason}.")
    return row(target).precisions[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """A quantized artifact, its parent, and a runtime for both."""

    made: Artifact
    parent: Artifact
    runtime: Runtime
    answers: bool

    def key(self, artifact: Artifact) -> str:
        """What its samples are found under."""
        return f"{artifact.name} on {self.runtime.name}"


def _pairs(
    manifest: Manifest, targets: Sequence[str], parents: Mapping[str, str], precision: str
) -> list[Pair]:
    from minuet.runtimes.table import runtimes_for

    by_name = {artifact.name: artifact for artifact in manifest.artifacts}
    found = []
    for target in targets:
        here = [one for one in runtimes_for(target) if not one.available()]
        found += [
            Pair(
                made=by_name[f"{target}-{precision}"],
                parent=by_name[f"{target}-{parents[target]}"],
                runtime=runtime,
                answers=at == 0,
            )
            for at, runtime in enumerate(here or runtimes_for(target)[:1])
        ]
    return found


def _timed(bundle: Path, manifest: Manifest, pairs: Sequence[Pair], say: Out) -> Mapping[str, Any]:
    """Samples of both of every pair, taken in turns."""
    from minuet.benchmarks.measure import Plan
    from minuet.benchmarks.subject import Job
    from minuet.measuring import example, measure_jobs
    from minuet.runtimes.table import RUNTIMES

    inputs = example(bundle, manifest, 0)
    jobs = {
        pair.key(one): Job(
            runtime=RUNTIMES[pair.runtime.name], bundle=bundle, artifact=one.name, inputs=inputs
        )
        for pair in pairs
        if pair.runtime.name not in EVALUATORS and not pair.runtime.available()
        for one in (pair.parent, pair.made)
    }
    if not jobs:
        return {}
    plan = Plan(samples=SAMPLES, seconds=SECONDS, colds=1, watched=0)
    samples: Mapping[str, Any] = measure_jobs([jobs], plan, say)[0]
    return samples


def held_clips(student: Student, manifest: Manifest, count: int) -> list[tuple[Arrays, Any]]:
    """Stickers that nothing was calibrated on, and the float student's own frames of them."""
    from minuet.runtimes.eager import EagerRuntime
    from minuet.sources import golden_inputs

    signature = manifest.signature
    side = signature.outputs[0].shape[-1]
    given = [golden_inputs(student, signature, 0, FIRST + at) for at in range(count)]
    with EagerRuntime(lambda: student.animator(side)).open(None, None, signature) as session:
        name = signature.outputs[0].name
        return [(one, session.run(one)[name]) for one in given]


def _weighed(
    bundle: Path,
    manifest: Manifest,
    pair: Pair,
    samples: Mapping[str, Any],
    clips: Sequence[tuple[Arrays, Any]],
) -> Weighed:
    refusal = pair.runtime.available()
    decibels = () if refusal else tuple(_decibels(bundle, manifest, pair, clips))
    return Weighed(
        target=pair.made.target,
        runtime=pair.runtime.name,
        precision=pair.made.precision,
        parent=pair.parent.precision,
        bytes=shipped(pair.made),
        parent_bytes=shipped(pair.parent),
        answers=pair.answers,
        version="" if refusal else pair.runtime.version(),
        decibels=decibels,
        **(_reason(pair, refusal) or _compared(pair, samples)),
    )


def shipped(artifact: Artifact) -> int:
    """Bytes that an app ships: of TensorRT the model, for an engine is built where it runs."""
    engine = artifact.entry if artifact.target == "tensorrt" else ""
    return sum(file.bytes for file in artifact.files if file.path != engine)


def _reason(pair: Pair, refusal: Any) -> dict[str, str]:
    if refusal:
        return {"reason": str(refusal.reason)}
    if pair.runtime.name in EVALUATORS:
        return {"reason": "an evaluator says what the file computes, not how fast"}
    return {}


def _compared(pair: Pair, samples: Mapping[str, Any]) -> dict[str, Any]:
    """Latency of both, and whether the quantized one is faster."""
    from minuet.benchmarks.compare import outcome_of, pairwise

    made, parent = (samples[pair.key(one)] for one in (pair.made, pair.parent))
    if reason := made.refusal or parent.refusal:
        return {"reason": reason}
    new, old = (one.samples_ms["total"] for one in (made, parent))
    found = pairwise(new, old).ratio
    return {
        "ms": statistics.median(new),
        "parent_ms": statistics.median(old),
        "ratio": (found.value, found.low, found.high if math.isfinite(found.high) else None),
        "outcome": outcome_of(found),
    }


def _decibels(
    bundle: Path, manifest: Manifest, pair: Pair, clips: Sequence[tuple[Arrays, Any]]
) -> Iterator[float]:
    """How near each clip's frames are to the float student's; the first frame is given."""
    name = manifest.signature.outputs[0].name
    with pair.runtime.open(bundle, pair.made, manifest.signature) as session:
        for inputs, frames in clips:
            yield _psnr(session.run(inputs)[name], frames)


def _psnr(made_TCHW: NDArray[Any], frames_TCHW: NDArray[Any]) -> float:
    bytes_TCHW = np.clip(made_TCHW, 0, 255).astype(np.uint8)  # Core ML's are float32
    return decibels_of(frames_error([bytes_TCHW], [np.asarray(frames_TCHW, np.uint8)]))


def _row(one: Weighed, floor_db: float) -> list[object]:
    broken = ", ".join(one.broken(floor_db))
    value, low, high = one.ratio or (None, None, None)
    end = "?" if high is None else f"{high:.2f}"
    ratio = "-" if value is None else f"{value:.2f} ({low:.2f}..{end})"
    return [
        one.target,
        one.runtime,
        f"{one.bytes / 1e6:.2f}",
        f"{one.bytes / one.parent_bytes:.3f} {one.parent}",
        "-" if one.ms is None else f"{one.ms:.1f}",
        "-" if one.parent_ms is None else f"{one.parent_ms:.1f}",
        ratio,
        "-" if one.db is None else f"{one.db:.1f}",
        f"{min(one.decibels):.1f}" if one.decibels else "-",
        f"no: {broken}" if broken else "yes" if one.answers else "-",
    ]


def check_targets(words: str, scheme: str) -> tuple[str, ...]:
    """Targets to be weighed on, by name; of none, the scheme's first.

    Raises:
        RequestError: the scheme is not for them.
    """
    from minuet.quantize.schemes import check_scheme

    asked = tuple(word.strip() for word in words.split(",") if word.strip())
    if len(set(asked)) < len(asked):
        raise RequestError(f"{words}: names a target twice.")
    check_scheme(scheme, asked)
    return asked or tuple(SCHEMES[scheme].targets)[:1]
