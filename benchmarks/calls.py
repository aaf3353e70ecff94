"""Calls of this process -> runs: timed by the same harness, in turns where there are several."""

import platform
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from minuet.benchmarks.clock import Clock, now_ns, resolution
from minuet.benchmarks.measure import Measured, Plan, measure
from minuet.benchmarks.memory import Memory
from minuet.benchmarks.subject import Block, GoneError, Opened, Watched, timed
from minuet.contracts.report import Run

RUNTIME = "python"


@dataclass(slots=True, kw_only=True)
class Call:
    """A subject that is a call: nothing is opened, and its memory is everybody's."""

    call: Callable[[], object]
    clock: Clock = now_ns
    error: Exception | None = None

    def open(self) -> Opened:
        """The first run; there is nothing to load."""
        return Opened(
            load_ms=0.0,
            first_ms=self.sample(1)["total"][0],
            version=platform.python_version(),
            shortest_ms=resolution(self.clock).shortest_ms,
        )

    def sample(self, count: int, batch: int = 1) -> Block:
        """Call; an error is kept for who asked, with its traceback."""
        try:
            return {"total": timed(lambda _: self.call(), {}, count, batch, self.clock)}
        except Exception as error:
            self.error = error
            raise

    def save(self, path: Path) -> None:
        """A call has no outputs that could be kept."""

    def stages(self, count: int) -> Watched:
        """A call is one stage."""
        raise GoneError("a call has no stages")

    def close(self, *, weigh: bool = False) -> Memory:
        """Nothing to let go."""
        return Memory()


def time_calls(
    calls: Mapping[str, Callable[[], object]],
    *,
    samples: int,
    seconds: float,
    clock: Clock = now_ns,
) -> dict[str, Run]:
    """Warm up each call until steady, then time all in turns and keep every sample.

    Args:
        seconds: for each warm-up, and for all warm samples together; what is done by then is kept.

    Raises:
        Exception: whatever a call raised.
    """
    subjects = {name: Call(call=call, clock=clock) for name, call in calls.items()}
    makers = {name: partial(_same, subject) for name, subject in subjects.items()}
    plan = Plan(
        samples=samples,
        seconds=seconds,
        colds=1,
        warm_up_seconds=seconds,
        paired=len(calls) > 1,
        watched=0,
    )
    found = measure(makers, plan, clock=clock)
    for subject in subjects.values():
        if subject.error:
            raise subject.error
    return {name: _run(name, measured) for name, measured in found.items()}


def _same(subject: Call) -> Call:
    return subject


def _run(name: str, found: Measured) -> Run:
    kept = {key: tuple(values) for key, values in found.samples_ms.items() if key != "load"}
    return Run(
        artifact=name,
        artifact_sha256="",
        runtime=RUNTIME,
        runtime_version=platform.python_version(),
        threads=0,
        samples_ms=kept,
        peak_rss_mib=None,
        bytes_on_disk=0,
        steps=0,
        nfe=0,
        macs=None,
        refusal=found.refusal,
        batch=found.batch,
    )
