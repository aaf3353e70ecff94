"""What every device answers: its machine, its heat, and a subject for each job."""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, Self

from minuet.benchmarks.devices.shell import MOST_BYTES, Done
from minuet.benchmarks.memory import Memory
from minuet.benchmarks.subject import Block, Job, Opened, Subject, Watched
from minuet.contracts.errors import Refusal
from minuet.contracts.report import Machine

UNKNOWN = "unknown"
CALM = ("none", "nominal")  # Android's word and Apple's for a device that nothing holds back
POLL_SECONDS = 5.0  # between two questions: each one disturbs the device a little


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """What a device is like just now; what it does not tell is None or "unknown"."""

    thermal: str = UNKNOWN
    hottest_c: float | None = None
    battery_percent: float | None = None
    charging: bool | None = None
    governor: str = UNKNOWN

    @property
    def hot(self) -> bool:
        """Whether the device says that heat holds it back; one that says nothing is not."""
        return self.thermal not in (*CALM, UNKNOWN)


class Device(Protocol):
    """A device that is held in a `with`: nothing is left behind on it."""

    name: str
    notes: list[str]  # what a reader of the numbers must know

    def __enter__(self) -> Self: ...
    def __exit__(self, *exc_info: object) -> None: ...

    def machine(self) -> Machine:
        """Its fingerprint."""
        ...

    def state(self) -> State:
        """Its heat, battery and governor."""
        ...

    def subject(self, job: Job) -> Subject:
        """A job's subject there."""
        ...

    def energy_mj(self, job: Job) -> float | Refusal:
        """Of one warm run, where the device meters it; else why it is not measured."""
        ...


class Board(Protocol):
    """A device with a POSIX shell, and a private folder while it is held."""

    name: str
    folder: str
    slots: dict[Path, str]  # bundle -> its place below the folder: two may hold the same names

    def push(self, files: Mapping[str, Path]) -> None:
        """Files of this machine to names below the folder; what is there already is not sent."""
        ...

    def run(self, words: Sequence[str], *, seconds: float = 60.0, limit: int = MOST_BYTES) -> Done:
        """Run a command there.

        Raises:
            GoneError: the device has left, or says too much.
        """
        ...

    def pull(self, name: str, limit: int = MOST_BYTES) -> bytes:
        """The bytes of a file below the folder."""
        ...


def slot(board: Board, bundle: Path) -> str:
    """Where a bundle's files lie below a board's folder."""
    return board.slots.setdefault(bundle.resolve(), f"bundle-{len(board.slots) + 1}")


@dataclass(slots=True, kw_only=True)
class Rest:
    """Waits for a hot device to cool down, for so long in all; with no time it asks nothing."""

    device: Device
    limit_seconds: float
    waited_seconds: float = 0.0
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    _asked_at: float = -math.inf

    def wait(self) -> None:
        """Ask until the device is calm, or until the time for waiting is used up."""
        if not self.limit_seconds or self.clock() - self._asked_at < POLL_SECONDS:
            return
        state = self.device.state()
        while state.hot and self.waited_seconds < self.limit_seconds:
            start = self.clock()
            self.sleep(min(POLL_SECONDS, self.limit_seconds - self.waited_seconds))
            state = self.device.state()
            self.waited_seconds += self.clock() - start
        self._asked_at = self.clock()
        if state.hot:
            self._note(
                f"{self.device.name}: thermal status {state.thermal} after "
                f"{self.limit_seconds:.0f} s of cooling down; measured hot."
            )

    def _note(self, note: str) -> None:
        if note not in self.device.notes:
            self.device.notes.append(note)


@dataclass(slots=True)
class Rested:
    """A subject that is opened and sampled only once its device has cooled down."""

    subject: Subject
    rest: Rest

    def open(self) -> Opened:
        """Cool down, then open."""
        self.rest.wait()
        return self.subject.open()

    def sample(self, count: int, batch: int = 1) -> Block:
        """Cool down, then take `count` samples."""
        self.rest.wait()
        return self.subject.sample(count, batch)

    def save(self, path: Path) -> None:
        """Keep the outputs of one run."""
        self.subject.save(path)

    def stages(self, count: int) -> Watched:
        """Watch `count` runs."""
        return self.subject.stages(count)

    def close(self, *, weigh: bool = False) -> Memory:
        """Let go."""
        return self.subject.close(weigh=weigh)
