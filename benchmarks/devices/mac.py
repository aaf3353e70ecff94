"""This Mac: our own processes, and its heat as pmset tells it."""

import re
import sys
from dataclasses import dataclass, field
from typing import Self

from minuet.benchmarks.devices.device import UNKNOWN, State
from minuet.benchmarks.devices.posix import number
from minuet.benchmarks.devices.shell import Local, Shell
from minuet.benchmarks.machine import fingerprint
from minuet.benchmarks.process import Child
from minuet.benchmarks.subject import Job, Subject
from minuet.contracts.errors import MissingBackendError, Refusal
from minuet.contracts.report import Machine

NOT_HERE = "not run: needs a Mac with Xcode"


@dataclass(slots=True, kw_only=True)
class Mac:
    """This Mac: our own processes, with its heat looked at between turns."""

    platform: str = sys.platform
    shell: Shell = field(default_factory=Local)
    name: str = "mac"
    notes: list[str] = field(default_factory=list[str])

    def __enter__(self) -> Self:
        if self.platform != "darwin":
            raise MissingBackendError(f"{NOT_HERE}.")
        return self

    def __exit__(self, *exc_info: object) -> None:
        return None

    def machine(self) -> Machine:
        """This machine's own fingerprint."""
        return fingerprint()

    def state(self) -> State:
        """What pmset tells without asking for a password."""
        therm = self.shell.run(["pmset", "-g", "therm"]).text
        percent, charging = battery_of(self.shell.run(["pmset", "-g", "batt"]).text)
        return State(thermal=thermal_of(therm), battery_percent=percent, charging=charging)

    def subject(self, job: Job) -> Subject:
        """A process of this machine; Core ML among its runtimes."""
        return Child(job)

    def energy_mj(self, job: Job) -> float | Refusal:
        """Not without root."""
        return Refusal("powermetrics, which meters a Mac, needs root")


def thermal_of(told: str) -> str:
    """`pmset -g therm`: a speed limit below 100 is heat; no record of any is none."""
    limits = [
        int(value) for value in re.findall(r"CPU_Speed_Limit\s*= ([0-9]{1,3})$", told, re.MULTILINE)
    ]
    if limits:
        return "throttled" if min(limits) < 100 else "nominal"
    return "nominal" if "No thermal warning level has been recorded" in told else UNKNOWN


def battery_of(told: str) -> tuple[float | None, bool | None]:
    """`pmset -g batt`: percent, and whether a cable feeds it."""
    percent = re.search(r"\t([0-9]{1,3})%;", told)
    source = re.search(r"Now drawing from '([A-Za-z ]{1,40})'", told)
    return number(percent[1]) if percent else None, source[1] == "AC Power" if source else None
