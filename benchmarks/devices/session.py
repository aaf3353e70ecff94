"""A device's name and jobs -> its fingerprint, and subjects that wait until it is cool."""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial

from minuet.benchmarks.devices import options
from minuet.benchmarks.devices.device import Device, Rest, Rested
from minuet.benchmarks.devices.shell import Shell
from minuet.benchmarks.measure import Measured
from minuet.benchmarks.subject import GoneError, Job, Subject
from minuet.contracts.errors import Refusal, RequestError
from minuet.contracts.report import Machine

COOL_SECONDS = 300.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """A device that is held: everything that a bench needs of it."""

    device: Device
    rest: Rest

    def machine(self) -> Machine:
        """Its fingerprint.

        Raises:
            RequestError: it has left, or answers in other words.
        """
        with _asked():
            return self.device.machine()

    def subjects(self, jobs: Mapping[str, Job]) -> dict[str, Callable[[], Subject]]:
        """A maker a job, as `measure` takes them."""
        return {key: partial(self._subject, job) for key, job in jobs.items()}

    def meter(self, jobs: Mapping[str, Job], found: Mapping[str, Measured]) -> None:
        """Write the energy of one warm run of each job to what came of it, or why it is not known.

        To be called after `measure`, whose own meters are of this machine.
        """
        for key, into in found.items():
            if into.refusal:
                continue
            spent = self.device.energy_mj(jobs[key])
            if isinstance(spent, Refusal):
                into.unmetered = spent.reason
            else:
                into.energy_mj, into.unmetered = spent, ""

    def notes(self) -> tuple[str, ...]:
        """What a reader of the numbers must know, so far."""
        return tuple(self.device.notes)

    def _subject(self, job: Job) -> Subject:
        return Rested(self.device.subject(job), self.rest)


@contextlib.contextmanager
def held(
    text: str, *, cool_seconds: float = COOL_SECONDS, shell: Shell | None = None
) -> Iterator[Held]:
    """Hold the device that a word names; afterwards it is as it was.

    Args:
        text: "ssh:pi@board", "adb", "ios:Name,app=com.example.bench", "mac"; docs/devices.md.
        cool_seconds: for cooling down, all waits together, where the word does not say; 0: never,
            whatever it says, for runs that are meant to heat it.

    Raises:
        RequestError: it is not understood, not reached, or not alone.
        MissingBackendError: there is none, or the tool that speaks with it is not here.
    """
    limit = options.cool_seconds(text, cool_seconds) if cool_seconds else 0.0
    device = options.device_of(text, shell)
    with contextlib.ExitStack() as stack:
        with _asked():
            stack.enter_context(device)
        yield Held(device=device, rest=Rest(device=device, limit_seconds=limit))


@contextlib.contextmanager
def _asked() -> Iterator[None]:
    """A device that leaves before anything is measured is an error of the request."""
    try:
        yield
    except GoneError as error:
        raise RequestError(f"{error}.") from error
