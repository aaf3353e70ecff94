"""An Android phone over adb: nothing is installed, and what is changed is restored.

What the commands print is read as the Android Open Source Project prints it:
frameworks/base ThermalManagerService (and android.os.Temperature.toString), BatteryService,
PowerManagerShellCommand, and the Pixel kernels' ODPM driver (energy_value_show).
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path
from typing import Self

from minuet.benchmarks.devices import posix
from minuet.benchmarks.devices.device import UNKNOWN, State
from minuet.benchmarks.devices.native import NativeSubject, native_subject
from minuet.benchmarks.devices.runners import Runner
from minuet.benchmarks.devices.shell import MOST_BYTES, Done, Local, Shell, plain
from minuet.benchmarks.subject import GoneError, Job
from minuet.contracts.errors import MinuetError, MissingBackendError, Refusal, RequestError
from minuet.contracts.report import Machine

SERIAL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,63}")
TEMPORARY = "/data/local/tmp"  # the one place where a shell may both write and run
FIXED = ("cmd", "power", "set-fixed-performance-mode-enabled")
PROPERTIES = ("ro.product.model", "ro.soc.model", "ro.build.version.release", "ro.build.id")
RAILS = "for d in /sys/bus/iio/devices/iio:device*; do cat $d/energy_value 2>/dev/null; done; true"

# android.os.PowerManager, THERMAL_STATUS_*
THERMAL = ("none", "light", "moderate", "severe", "critical", "emergency", "shutdown")
TEMPERATURES = "Current temperatures from HAL:"  # what is cached above it may be hours old
TEMPERATURE = re.compile(r"Temperature\{mValue=(-?[0-9]{1,3}(?:\.[0-9]{1,9})?), mType=([0-9])")
SENSORS = "0123"  # android.os.Temperature: CPU, GPU, battery, skin

RAIL = re.compile(r"^CH[0-9]{1,2}\(T=[0-9]{1,20}\)\[[^\]\n]{1,80}\], ([0-9]{1,18})$", re.MULTILINE)


@dataclass(slots=True, kw_only=True)
class Adb:
    """A phone whose owner has allowed this machine to debug it."""

    serial: str = ""  # "": the only one that is connected
    runners: Mapping[str, Runner] = field(default_factory=dict[str, Runner])
    shell: Shell = field(default_factory=Local)
    name: str = "adb"
    folder: str = ""
    notes: list[str] = field(default_factory=list[str])
    slots: dict[Path, str] = field(default_factory=dict[Path, str])
    _sent: set[str] = field(default_factory=set[str])
    _numbers: Iterator[int] = field(default_factory=lambda: count(1))
    _fixed: bool = False

    def __post_init__(self) -> None:
        if self.serial and not SERIAL.fullmatch(self.serial):
            raise RequestError(f"{self.serial!r:.80} is no serial number; see `adb devices`.")

    def __enter__(self) -> Self:
        self.serial = choose(self.shell.run(["adb", "devices"]).text, self.serial)
        self.name = f"adb:{self.serial}"
        try:
            made = self.run(["mktemp", "-d", f"{TEMPORARY}/minuet.XXXXXXXX"])
        except GoneError as error:
            raise RequestError(f"{self.name}: {error}; unlock the phone, and try again.") from error
        self.folder = posix.private_folder(made, self.name)
        self._fix()
        return self

    def __exit__(self, *exc_info: object) -> None:
        left = self._left(["rm", "-rf", self.folder])
        if left:
            self.notes.append(f"{self.name}: {self.folder} may be left there: {left}.")
        if self._fixed and (left := self._left([*FIXED, "false"])):
            self.notes.append(
                f"{self.name}: fixed performance mode may still be on: {left}; "
                f"say `adb shell {' '.join(FIXED)} false`, or restart the phone."
            )

    def machine(self) -> Machine:
        """Its model and chip; Android tells no shell more."""
        found = posix.linux_machine(self.run(posix.script(posix.MACHINE)).text)
        told = [plain(self.run(["getprop", name]).text)[:40] for name in PROPERTIES]
        model, chip, release, build = told
        name = f"{model or UNKNOWN} ({chip or UNKNOWN})"
        return replace(
            found, cpu=name, os=f"Android {release or UNKNOWN}", versions={"build": build}
        )

    def state(self) -> State:
        """Thermal service, battery service, governor."""
        kernel = posix.linux_state(self.run(posix.script(posix.STATE)).text)
        thermal, hottest = thermal_of(self.run(["dumpsys", "thermalservice"]).text)
        percent, charging = battery_of(self.run(["dumpsys", "battery"]).text)
        return State(
            thermal=thermal,
            hottest_c=hottest,
            battery_percent=percent,
            charging=charging,
            governor=kernel.governor,
        )

    def subject(self, job: Job) -> NativeSubject:
        """A job's native runner here."""
        return native_subject(self, job, self.runners, f"subject-{next(self._numbers)}")

    def push(self, files: Mapping[str, Path]) -> None:
        """File by file; their folders first."""
        new = {posix.safe_name(name): path for name, path in files.items()}
        new = {name: path for name, path in new.items() if name not in self._sent}
        folders = sorted({name.rpartition("/")[0] for name in new} - {""})
        if folders:
            self._must(["mkdir", "-p", *(f"{self.folder}/{name}" for name in folders)])
        for name, path in new.items():
            there = f"{self.folder}/{name}"
            done = self.shell.run(["adb", "-s", self.serial, "push", path, there], seconds=3600.0)
            if done.code:
                raise GoneError(f"{self.name}: {name} was not taken: {done.last_words}")
            if path.stat().st_mode & 0o100:
                self._must(["chmod", "700", there])
            self._sent.add(name)

    def run(self, words: Sequence[str], *, seconds: float = 60.0, limit: int = MOST_BYTES) -> Done:
        """A command in its shell."""
        line = ["adb", "-s", self.serial, "shell", posix.joined(words)]
        done = self.shell.run(line, seconds=seconds, limit=limit)
        if done.code and (words_ := vanished(done)):
            raise GoneError(f"{self.name} has left ({words_}); what was measured is kept")
        return done

    def pull(self, name: str, limit: int = MOST_BYTES) -> bytes:
        """A file's bytes, through the pipe: nothing there chooses where they go here."""
        done = self.run(["cat", f"{self.folder}/{posix.safe_name(name)}"], limit=limit)
        if done.code:
            raise GoneError(f"{self.name}: {name} cannot be had: {done.last_words}")
        return done.out

    def energy_mj(self, job: Job) -> float | Refusal:
        """Of one run, all rails of the phone together."""
        try:
            return native_subject(
                self, job, self.runners, f"subject-{next(self._numbers)}"
            ).metered_mj(self._rails_uj)
        except GoneError as error:
            return Refusal(str(error))

    def _rails_uj(self) -> float:
        return rails_uj(self.run(["sh", "-c", RAILS]).text)

    def _fix(self) -> None:
        done = self.run([*FIXED, "true"])
        self._fixed = not done.code
        if done.code:
            self.notes.append(
                f"{self.name}: no fixed performance mode ({done.last_words}): clocks are free."
            )

    def _must(self, words: Sequence[str]) -> None:
        done = self.run(words)
        if done.code:
            raise GoneError(f"{self.name}: {words[0]} failed: {done.last_words}")

    def _left(self, words: Sequence[str]) -> str:
        """Why a thing could not be undone; "" where it was."""
        try:
            done = self.run(words)
        except (GoneError, MinuetError) as error:
            return str(error)
        return done.last_words if done.code else ""


def choose(listed: str, serial: str) -> str:
    """The phone that is meant, from what `adb devices` says.

    Raises:
        MissingBackendError: none is connected.
        RequestError: several are, or the one that is meant is not, or has not allowed debugging.
    """
    lines = [line.split("\t") for line in listed.splitlines() if "\t" in line]
    found = {one[0]: plain(one[1]) for one in lines if SERIAL.fullmatch(one[0])}
    if not found:
        raise MissingBackendError("no Android device is connected; see `adb devices`.")
    if (serial and serial not in found) or (not serial and len(found) > 1):
        asked = f"{serial} is not connected" if serial else "more than one device is connected"
        raise RequestError(f"{asked}: name one of {', '.join(sorted(found))}.")
    serial = serial or next(iter(found))
    if found[serial] != "device":
        raise RequestError(
            f"{serial} is {found[serial][:40]}; unlock it and allow USB debugging for this machine."
        )
    return serial


def vanished(done: Done) -> str:
    """adb's own words where the phone is not there any more; "" where a command of it failed."""
    words = done.last_words
    ours = words.startswith(("adb: device", "error: device", "error: closed", "adb: error: device"))
    return words if ours or "no devices/emulators found" in words else ""


def thermal_of(text: str) -> tuple[str, float | None]:
    """Status and the hottest of the present temperatures, as `dumpsys thermalservice` tells."""
    found = re.search(r"^Thermal Status: ([0-9])$", text, re.MULTILINE)
    status = int(found[1]) if found else len(THERMAL)
    _, _, present = text.partition(TEMPERATURES)
    present, _, _ = present.partition("Current cooling devices")
    told = re.findall(
        r"Temperature\{mValue=(-?[0-9]{1,3}(?:\.[0-9]{1,9})?), mType=([0-9])", present
    )
    degrees = [float(value) for value, kind in told if kind in "01235"]  # CPU, GPU, battery, skin
    hottest = max(degrees, default=None)
    return (THERMAL[status] if status < len(THERMAL) else UNKNOWN), hottest


def battery_of(text: str) -> tuple[float | None, bool | None]:
    """Percent, and whether a cable feeds it, as `dumpsys battery` tells."""
    rows = dict(re.findall(r"^  ([A-Za-z ]{1,40}): (\S{1,20})$", text, re.MULTILINE))
    level, scale = posix.number(rows.get("level")), posix.number(rows.get("scale"))
    percent = 100 * level / scale if level is not None and scale else None
    cables = [value for name, value in rows.items() if name.endswith("powered")]
    return percent, ("true" in cables if cables else None)


def rails_uj(text: str) -> float:
    """Microjoules that all rails have used since the phone started.

    Each meter prints `t=<ms>`, then `CH<n>(T=<ms>)[<rail>], <uWs>` a channel.

    Raises:
        GoneError: there are no rails, or a shell may not read them.
    """
    told = re.findall(
        r"^CH[0-9]{1,2}\(T=[0-9]{1,20}\)\[[^\]\n]{1,80}\], ([0-9]{1,18})$", text, re.MULTILINE
    )
    if not told:
        raise GoneError("this phone shows its power rails to no shell")
    return float(sum(map(int, told)))
