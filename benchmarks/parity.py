"""Expected and found frames -> is it still the same model?"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from minuet.benchmarks.tolerances import tolerance
from minuet.contracts.artifact import Artifact, Parity
from minuet.contracts.errors import ParityError
from minuet.contracts.tensors import Array

# Shapes: T frames, C = 4 channels (red, green, blue, alpha), H rows, W columns.

METRIC = "worst psnr over golden cases, premultiplied RGBA, dB"
SAME_DB = 120.0  # stands for infinity, which JSON has no word for


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """How far two animations are apart."""

    psnr_db: float
    worst: float  # largest difference of one premultiplied value, in 1/255
    cosine: float

    def __str__(self) -> str:
        return f"{self.psnr_db:.1f} dB, worst {self.worst:.0f}/255, cosine {self.cosine:.6f}"


def premultiplied(frames_TCHW: Array) -> NDArray[np.float64]:
    """Straight-alpha uint8 -> premultiplied 0..1: what is seen; invisible colour counts nothing."""
    values = frames_TCHW.astype(np.float64) / 255
    values[:, :3] *= values[:, 3:]
    return values


def difference(expected_TCHW: Array, found_TCHW: Array) -> Difference:
    """Compare two animations as they are seen.

        PSNR = -10 log10 mean((e - f)^2),  peak 1, over the premultiplied channels

    Raises:
        ValueError: shapes or dtypes differ.
    """
    if expected_TCHW.shape != found_TCHW.shape or found_TCHW.dtype != expected_TCHW.dtype:
        raise ValueError(
            f"frames of {expected_TCHW.dtype} {expected_TCHW.shape} against "
            f"{found_TCHW.dtype} {found_TCHW.shape}"
        )
    e, f = premultiplied(expected_TCHW), premultiplied(found_TCHW)
    error = e - f
    mean = float((error * error).mean())
    norms = float(np.linalg.norm(e) * np.linalg.norm(f))
    return Difference(
        psnr_db=min(SAME_DB, -10 * math.log10(mean)) if mean else SAME_DB,
        worst=float(np.abs(error).max() * 255),
        cosine=float((e * f).sum() / norms) if norms else float(not mean),
    )


def worst_of(found: Sequence[Difference]) -> Difference:
    """The worst of each number over several cases."""
    return Difference(
        psnr_db=min(one.psnr_db for one in found),
        worst=max(one.worst for one in found),
        cosine=min(one.cosine for one in found),
    )


def judge(artifact: Artifact, runtime: str, backend: str, found: Difference) -> Parity:
    """The verdict on one artifact as one runtime ran it."""
    allowed = tolerance(artifact.target, artifact.precision, runtime)
    return Parity(
        verdict="pass" if found.psnr_db >= allowed.psnr_db else "fail",
        backend=f"{runtime}: {backend}",
        metric=METRIC,
        value=round(found.psnr_db, 2),
        tolerance=allowed.psnr_db,
        reason=f"{found}; {allowed.reason}",
    )


def not_run(runtime: str, reason: str) -> Parity:
    """A verdict that says why there is none."""
    return Parity(verdict="not run", backend=runtime, reason=reason)


def insist(artifact: Artifact, parity: Parity) -> None:
    """Stop where an artifact is another model.

    Raises:
        ParityError: with what was found and what was needed.
    """
    if parity.verdict == "fail":
        raise ParityError(
            f"{artifact.name} on {parity.backend}: {parity.value} dB against eager, "
            f"{parity.tolerance} dB needed ({parity.reason}). Nothing was written. "
            "Try another precision; for int8, leave more layers in float."
        )
