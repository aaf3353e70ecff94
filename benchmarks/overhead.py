"""A session that does nothing, through the very same loop -> what the harness costs a call.

    python -m minuet.benchmarks.overhead

prints it for this machine.
"""

import contextlib
import statistics
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from minuet.benchmarks.clock import now_ns
from minuet.benchmarks.process import Child
from minuet.benchmarks.subject import Job, timed
from minuet.contracts.artifact import MAIN, Artifact, Manifest
from minuet.contracts.errors import Refusal
from minuet.contracts.files import write_json
from minuet.contracts.tensors import Arrays, Signature

CALLS, TURNS, BLOCK = 2000, 200, 2
MOST_US, MOST_SHARE = 20.0, 0.005  # in a sample, and of it: one of the two is kept


@dataclass(frozen=True, slots=True, kw_only=True)
class Overhead:
    """What a call costs beyond its own time, in microseconds, as a median."""

    sample_us: float  # counted in the sample: readings of the clock, one call from Python
    turn_us: float  # not counted: the question and the answer between two processes


class Nothing:
    """A runtime and a session that do nothing."""

    name = "nothing"
    targets: tuple[str, ...] = ("onnx",)

    def available(self) -> Refusal | None:
        """Always."""
        return None

    def version(self) -> str:
        """Its name."""
        return self.name

    @contextlib.contextmanager
    def open(
        self, bundle: Path, artifact: Artifact, signature: Signature, *, threads: int = 0
    ) -> Iterator["Nothing"]:
        """Nothing to open."""
        yield self

    def run(self, inputs: Arrays) -> Arrays:
        """Nothing to run."""
        return inputs


def overhead() -> Overhead:
    """Measure both, here and now."""
    return Overhead(sample_us=sample_us(), turn_us=turn_us())


def sample_us(calls: int = CALLS) -> float:
    """What a sample holds of the harness."""
    return 1e3 * statistics.median(timed(Nothing().run, {}, calls))


def turn_us(turns: int = TURNS, block: int = BLOCK) -> float:
    """What passes between two samples that were asked of a child, and is in neither."""
    with tempfile.TemporaryDirectory(prefix="minuet-nothing-") as folder:
        child = Child(_job(Path(folder)))
        try:
            child.open()
            return statistics.median(_turn_us(child, block) for _ in range(turns))
        finally:
            child.close()


def _turn_us(child: Child, block: int) -> float:
    start = now_ns()
    inside_ms = sum(child.sample(block)["total"])
    return ((now_ns() - start) / 1e3 - 1e3 * inside_ms) / block


def _job(folder: Path) -> Job:
    artifact = Artifact(target="onnx", precision="fp32", entry="nothing", files=(), requires={})
    manifest = Manifest(
        name="nothing",
        family="nothing",
        programs={MAIN: Signature(inputs=(), outputs=())},
        sampler={},
        artifacts=(artifact,),
        files=(),
        minuet="",
        source_sha256="",
    )
    write_json(folder / "manifest.json", manifest.to_json())
    runtime = "minuet.benchmarks.overhead:Nothing"
    return Job(runtime=runtime, bundle=folder, artifact=artifact.name, inputs={}, threads=1)


def main() -> None:
    """Print both, and whether they are small enough."""
    found = overhead()
    print(f"in each sample  {found.sample_us:8.2f} us (at most {MOST_US:g})")
    print(f"between samples {found.turn_us:8.2f} us, {BLOCK} a turn; counted in none")
    if found.sample_us > MOST_US:
        raise SystemExit(f"samples below {found.sample_us / MOST_SHARE / 1e3:.1f} ms are not exact")


if __name__ == "__main__":
    main()
