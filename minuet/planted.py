"""A model -> itself and slower copies, measured in turns: what a gate must tell apart."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from minuet.benchmarks.clock import now_ns
from minuet.contracts.artifact import Artifact
from minuet.contracts.errors import MissingBackendError
from minuet.contracts.runtime import Runtime, Session
from minuet.contracts.tensors import Arrays, Signature

if TYPE_CHECKING:
    from minuet.benchmarks.measure import Measured
    from minuet.benchmarks.process import Child

ARTIFACT = "onnx-int8"  # of the shipped bundle
LENGTH = 4  # gate runs in a record: as each has half of those who take turns, it is worth eight
SIDE = 1024  # of the matrices that stand in where ONNX Runtime is missing


@dataclass(frozen=True, slots=True)
class Delayed:
    """A session whose runs take `share` longer: it waits for that with the processor busy."""

    session: Session
    share: float

    def run(self, inputs: Arrays) -> Arrays:
        """One call."""
        start = now_ns()
        found = self.session.run(inputs)
        end = now_ns()
        end += round(self.share * (end - start))
        while now_ns() < end:
            pass
        return found


@dataclass(frozen=True, slots=True)
class Products:
    """Matrix products, for want of a model."""

    left_NN: np.ndarray[tuple[int, int], np.dtype[np.float32]]

    def run(self, inputs: Arrays) -> Arrays:
        """One call; the inputs do not matter."""
        return {"product": self.left_NN @ self.left_NN}


@dataclass(frozen=True, slots=True)
class Planted:
    """ONNX Runtime, or matrix products where it is missing, each run `share` slower."""

    share: float
    name: str = "planted"
    targets: tuple[str, ...] = ("onnx",)

    def available(self) -> None:
        """Anywhere."""

    def version(self) -> str:
        """Of what does the work."""
        return _ort().version() if _ort().available() is None else f"numpy {np.__version__}"

    @contextmanager
    def open(
        self, bundle: Path, artifact: Artifact, signature: Signature, *, threads: int = 0
    ) -> Iterator[Delayed]:
        """Load, where there is something to load."""
        if _ort().available() is not None:
            drawn = np.random.default_rng(0).standard_normal((SIDE, SIDE), np.float32)
            yield Delayed(Products(drawn), self.share)
            return
        with _ort().open(bundle, artifact, signature, threads=threads) as session:
            yield Delayed(session, self.share)


def _ort() -> Runtime:
    from minuet.runtimes.table import runtime

    return runtime("ort")


NONE, FIVE, TEN = Planted(0.0), Planted(0.05), Planted(0.10)


def record(seconds: float, progress: Callable[[str], None]) -> dict[str, list[float]]:
    """Samples of the shipped model, of the same again, and of two slower ones, in turns.

    A comparison samples each side in a few fresh processes; so does each stretch of the record
    that has the length of one.

    Args:
        seconds: of measuring in one gate run.
        progress: told now and then who has how many samples.

    Raises:
        MissingBackendError: nothing could be measured.
    """
    from minuet.benchmarks.measure import Plan, measure
    from minuet.measuring import PROCESSES

    processes = max(1, LENGTH * PROCESSES // 2)
    plan = Plan(
        samples=1_000_000,
        seconds=LENGTH * seconds,
        colds=processes,
        processes=processes,
        paired=True,
        watched=0,
    )
    found = measure(
        _makers(), plan, progress=lambda name, new, have, of: progress(f"{name} {have}")
    )
    return {name: _samples(name, one) for name, one in found.items()}


def _makers() -> "dict[str, Callable[[], Child]]":
    from minuet.benchmarks import selftest
    from minuet.benchmarks.process import Child
    from minuet.benchmarks.subject import Job
    from minuet.export.bundle import load_bundle
    from minuet.measuring import example
    from minuet.shipped import folder

    bundle = folder() / "bundle"
    inputs = example(bundle, load_bundle(bundle), seed=0)
    planted = {selftest.OLD: "NONE", selftest.SAME: "NONE", selftest.FIVE: "FIVE"}
    return {
        name: partial(
            Child,
            Job(runtime=f"{__name__}:{copy}", bundle=bundle, artifact=ARTIFACT, inputs=inputs),
        )
        for name, copy in (planted | {selftest.TEN: "TEN"}).items()
    }


def _samples(name: str, found: "Measured") -> list[float]:
    if found.refusal:
        raise MissingBackendError(f"the self-test could not measure {name}: {found.refusal}")
    return found.samples_ms["total"]
