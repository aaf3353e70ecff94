"""Expected and found arrays -> is it still the same model?"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from minuet.benchmarks.tolerances import PSNR, SNR, tolerance
from minuet.contracts.artifact import Artifact, Parity
from minuet.contracts.errors import ParityError
from minuet.contracts.tensors import Array

# Shapes: T frames, C = 4 channels (red, green, blue, alpha), H rows, W columns.

METRIC = {
    PSNR: "worst psnr over golden cases, premultiplied RGBA, dB",
    SNR: "worst signal to noise over golden cases, dB",
}
SAME_DB = 200.0  # stands for infinity, which JSON has no word for
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """How far what was found is from what was expected."""

    metric: str  # psnr of frames, snr of anything else
    db: float
    worst: float = 0.0  # largest difference of one value; of frames, in 1/255
    at: tuple[int, ...] = ()  # where that is
    expected: float = 0.0  # the two values there
    found: float = 0.0
    cosine: float = 1.0
    fault: str = ""  # not a number, or another shape: never a pass, whatever the dB

    def __str__(self) -> str:
        if self.fault:
            return self.fault
        unit = "/255" if self.metric == PSNR else ""
        where = f" at {list(self.at)}" if self.worst else ""
        worst = f"{self.worst:.3g}{unit}{where}"
        return f"{self.db:.1f} dB, worst {worst}, cosine {self.cosine:.6f}"


def difference(expected: Array, found: Array) -> Difference:
    """Compare frames as they are seen, anything else as numbers.

        PSNR = -10 log10 mean((e - f)^2),  peak 1, frames; RGBA is premultiplied
        SNR  =  10 log10 sum(e^2) / sum((e - f)^2),  floats and other integers

    Frames are uint8. A value that is not finite and not equal to the expected one is a fault, and
    so is another shape or dtype; a found float may be narrower than a float64 oracle.
    """
    metric = PSNR if expected.dtype == np.uint8 else SNR
    if expected.shape != found.shape or not _same_kind(expected, found):
        fault = f"{found.dtype} {found.shape} where {expected.dtype} {expected.shape} is expected"
        return Difference(metric=metric, db=-SAME_DB, cosine=0.0, fault=fault)
    e, f = (_as_seen(one) for one in (expected, found))
    if metric == PSNR and expected.ndim == 4 and expected.shape[1] == 4:
        e, f = premultiplied(e), premultiplied(f)
    with np.errstate(invalid="ignore", over="ignore"):
        error = np.where(e == f, 0.0, e - f)
    if not np.isfinite(error).all():
        return _not_numbers(metric, e, f, error)
    return _numbers(metric, e, f, error)


def premultiplied(frames_TCHW: Array) -> Floats:
    """Straight alpha in 0..1 -> what is seen; invisible colour counts nothing."""
    values: Floats = frames_TCHW.astype(np.float64)
    values[:, :3] *= values[:, 3:]
    return values


def _as_seen(values: Array) -> Floats:
    scale = 255 if values.dtype == np.uint8 else 1
    return np.asarray(values, np.float64) / scale


def _same_kind(expected: Array, found: Array) -> bool:
    floats = (np.issubdtype(one.dtype, np.floating) for one in (expected, found))
    return all(floats) or expected.dtype == found.dtype


def _numbers(metric: str, e: Floats, f: Floats, error: Floats) -> Difference:
    noise = float(np.square(error).sum())
    finite = np.isfinite(e)
    e_finite, f_finite = e[finite], f[finite]
    signal = float(error.size) if metric == PSNR else float(np.square(e_finite).sum())
    norms = float(np.linalg.norm(e_finite) * np.linalg.norm(f_finite))
    peak = 255 if metric == PSNR else 1
    one = _at(e, f, np.abs(error))
    return replace(
        one,
        metric=metric,
        db=_db(signal, noise),
        worst=one.worst * peak,
        cosine=float((e_finite * f_finite).sum() / norms) if norms else float(not noise),
    )


def _not_numbers(metric: str, e: Floats, f: Floats, error: Floats) -> Difference:
    strange = ~np.isfinite(error)
    one = _at(e, f, strange.astype(np.float64))
    whose = "" if np.isfinite(e[strange]).all() else "; the reference is not finite there either"
    fault = (
        f"{int(strange.sum())} of {error.size} values are not numbers, the first at "
        f"{list(one.at)}: {one.found} where {one.expected:.6g} is expected{whose}"
    )
    return replace(one, metric=metric, db=-SAME_DB, worst=math.inf, cosine=0.0, fault=fault)


def _at(e: Floats, f: Floats, badness: Floats) -> Difference:
    if not badness.size:
        return Difference(metric="", db=SAME_DB)
    place = np.unravel_index(int(badness.argmax()), badness.shape)
    return Difference(
        metric="",
        db=0.0,
        worst=float(badness[place]),
        at=tuple(int(one) for one in place),
        expected=float(e[place]),
        found=float(f[place]),
    )


def _db(signal: float, noise: float) -> float:
    if not noise:
        return SAME_DB
    return max(-SAME_DB, min(SAME_DB, 10 * math.log10(signal / noise))) if signal else -SAME_DB


def worst_of(found: Sequence[Difference]) -> Difference:
    """The case that is furthest off, with the worst of each number over all of them."""
    first = min(found, key=lambda one: (not one.fault, one.db))
    return replace(
        first,
        worst=max(one.worst for one in found),
        cosine=min(one.cosine for one in found),
    )


def judge(
    artifact: Artifact,
    runtime: str,
    backend: str,
    found: Difference,
    *,
    depth: int | None = None,
    own_db: float | None = None,
    recorded_db: float | None = None,
) -> Parity:
    """The verdict on one artifact as one runtime ran it; depth as `parity_graph.depth` counts."""
    asked = tolerance(
        artifact.target,
        artifact.precision,
        runtime,
        found.metric,
        depth,
        own_db=own_db,
        recorded_db=recorded_db,
    )
    return Parity(
        verdict="pass" if not found.fault and found.db >= asked.db else "fail",
        backend=f"{runtime}: {backend}",
        metric=METRIC[found.metric],
        value=round(found.db, 2),
        tolerance=asked.db,
        reason=f"{found}; {asked.reason}",
    )


def furthest(verdicts: Iterable[Parity]) -> Parity:
    """The one that is furthest below, or least above, what is asked; a failure before a pass."""
    return min(
        verdicts,
        key=lambda one: (one.verdict != "fail", (one.value or 0) - (one.tolerance or 0)),
    )


def not_run(runtime: str, reason: str) -> Parity:
    """A verdict that says why there is none."""
    return Parity(verdict="not run", backend=runtime, reason=reason)


def insist(artifact: Artifact, parity: Parity, where: str = "") -> None:
    """Stop where an artifact is another model.

    Args:
        where: a sentence on the first layer that differs.

    Raises:
        ParityError: with what was found and what was needed.
    """
    if parity.verdict == "fail":
        value = "" if parity.value is None else f": {parity.value} dB against eager"
        needed = "" if parity.tolerance is None else f", {parity.tolerance} dB needed"
        raise ParityError(
            f"{artifact.name} on {parity.backend}{value}{needed} ({parity.reason}). "
            + (f"{where} " if where else "")
            + "Nothing was written. Try another precision; for int8, leave more layers in float."
        )


def plain(found: Difference) -> dict[str, Any]:
    """A difference as JSON can hold it: what is no number becomes a word."""
    rows = {name: getattr(found, name) for name in found.__dataclass_fields__}
    floats = {k: v for k, v in rows.items() if isinstance(v, float) and not math.isfinite(v)}
    return rows | {name: str(value) for name, value in floats.items()} | {"at": list(found.at)}
