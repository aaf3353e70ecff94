"""An iPhone on a Mac's cable, through Xcode's command-line tools.

An iPhone runs apps only, so a small app of the user's does the work there: docs/devices.md says
what it is told and what it answers.
"""

import json
import re
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any, Self

from minuet.benchmarks.devices.device import UNKNOWN, State
from minuet.benchmarks.devices.devicectl import Row, chosen, identifier, reason, succeeded, text
from minuet.benchmarks.devices.files import artifact_of, raw_inputs
from minuet.benchmarks.devices.mac import NOT_HERE
from minuet.benchmarks.devices.native import SETTLE, means
from minuet.benchmarks.devices.shell import FILE, Done, Local, Shell, Word, plain
from minuet.benchmarks.memory import Memory
from minuet.benchmarks.process import ANSWER_SECONDS
from minuet.benchmarks.subject import Block, GoneError, Job, Opened, Subject, Watched
from minuet.contracts.artifact import Artifact, Manifest
from minuet.contracts.errors import MissingBackendError, Refusal, RequestError
from minuet.contracts.files import contained
from minuet.contracts.records import record
from minuet.contracts.report import Machine

APP = re.compile(r"[A-Za-z0-9][A-Za-z0-9.-]{0,154}")  # a bundle identifier, by Apple's rule
THERMAL = ("nominal", "fair", "serious", "critical")  # ProcessInfo.ThermalState
PLACE = "Documents/minuet"  # in the app's own container


@dataclass(frozen=True, slots=True, kw_only=True)
class AppTold:
    """What the app wrote into told.json."""

    load_ms: float
    runs_ms: tuple[float, ...]
    version: str
    thermal: str = UNKNOWN
    low_power: bool = False
    battery_percent: float | None = None
    peak_mib: float | None = None  # phys_footprint, the figure that iOS ends an app by

    def __post_init__(self) -> None:
        if self.thermal not in (*THERMAL, UNKNOWN):
            raise ValueError(f"thermal state {self.thermal!r:.40}")
        if min(self.load_ms, *self.runs_ms, 0.0) < 0:
            raise ValueError("a time is below 0")


@dataclass(slots=True, kw_only=True)
class Phone:
    """An iPhone or iPad that trusts this Mac, in developer mode."""

    wanted: str = ""  # its name, UDID or identifier; "": the only one that is connected
    app: str = ""
    shell: Shell = field(default_factory=Local)
    name: str = "ios"
    notes: list[str] = field(default_factory=list[str])
    found: Row = field(default_factory=dict[str, Any])
    _numbers: Iterator[int] = field(default_factory=lambda: count(1))

    def __post_init__(self) -> None:
        if not APP.fullmatch(self.app):
            raise RequestError(
                f"app {self.app!r:.80} is no bundle identifier; say ios:NAME,app=com.example.bench "
                "(docs/devices.md says what that app does)."
            )

    def __enter__(self) -> Self:
        try:
            done = self.devicectl("list", "devices")
        except MissingBackendError as error:
            raise MissingBackendError(f"{NOT_HERE}: {error}") from error
        self.found = chosen(done, self.wanted)
        self.name = f"ios:{text(self.found, 'deviceProperties', 'name')}"
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.notes.append(
            f"{self.name}: what was sent stays in {PLACE} of {self.app} until that app removes it."
        )

    def machine(self) -> Machine:
        """Model and system; devicectl tells neither cores nor memory: 0."""
        model = text(self.found, "hardwareProperties", "marketingName")
        kind = text(self.found, "hardwareProperties", "productType")
        release = text(self.found, "deviceProperties", "osVersionNumber")
        system = text(self.found, "hardwareProperties", "platform")
        return Machine(
            cpu=f"{model} ({kind})", cores=0, memory_mib=0, os=f"{system} {release}", python=""
        )

    def state(self) -> State:
        """What the app tells of the phone when it is asked for no run at all."""
        told = PhoneSubject(phone=self, place=f"{PLACE}/state").told(0)
        note = f"{self.name}: low power mode is on; switch it off and measure again."
        if told.low_power and note not in self.notes:
            self.notes.append(note)
        return State(thermal=told.thermal, battery_percent=told.battery_percent)

    def subject(self, job: Job) -> Subject:
        """A Core ML artifact in the app."""
        manifest, artifact = artifact_of(job)
        if artifact.target != "coreml":
            raise GoneError(f"{self.name}: runs Core ML only, not {artifact.name}")
        place = f"{PLACE}/subject-{next(self._numbers)}"
        return PhoneSubject(phone=self, place=place, job=job, manifest=manifest, artifact=artifact)

    def energy_mj(self, job: Job) -> float | Refusal:
        """Xcode shows energy levels, no joules."""
        return Refusal("no command-line tool of Xcode tells the energy of an iPhone in joules")

    def devicectl(self, *words: Word) -> Done:
        """A devicectl command, whose JSON is the Done's file.

        Raises:
            GoneError: it failed, with its own reason.
        """
        command = ["xcrun", "devicectl", *words, "--json-output", FILE]
        done = self.shell.run(command, seconds=ANSWER_SECONDS)
        if done.code or succeeded(done.file) is None:
            raise GoneError(f"devicectl {words[1]}: {reason(done)}; what was measured is kept")
        return done

    def device(self, *words: Word) -> list[Word]:
        """Words of a command for this phone and the app's own container."""
        container = ["--domain-type", "appDataContainer", "--domain-identifier", self.app]
        return ["device", *words, "--device", identifier(self.found), *container]

    def launch(self, place: str) -> None:
        """Run the app, and wait until it has ended."""
        options = ["--device", identifier(self.found), "--console", "--terminate-existing"]
        self.devicectl("device", "process", "launch", *options, self.app, "--minuet", place)

    def fetch(self, path: str) -> bytes:
        """A file of the app's container."""
        words = self.device("copy", "from", "--source", path, "--destination", FILE)
        done = self.shell.run(["xcrun", "devicectl", *words], seconds=ANSWER_SECONDS)
        if done.code:
            raise GoneError(f"{self.name}: {path} cannot be had: {done.last_words}")
        return done.file


@dataclass(slots=True, kw_only=True)
class PhoneSubject:
    """A model that the app runs: launched afresh each turn."""

    phone: Phone
    place: str
    job: Job | None = None  # None: only asked for the phone's state
    manifest: Manifest | None = None
    artifact: Artifact | None = None
    _model: bool = False
    _peak_mib: float | None = None

    def open(self) -> Opened:
        """Compile, send, and run once."""
        assert self.job and self.artifact
        with tempfile.TemporaryDirectory(prefix="minuet-") as folder:
            package = contained(self.job.bundle, self.artifact.entry)
            compiled = Path(folder) / "compiled"
            compiled.mkdir()
            done = self.phone.shell.run(
                ["xcrun", "coremlcompiler", "compile", package, compiled], seconds=ANSWER_SECONDS
            )
            if done.code:
                raise GoneError(f"coremlcompiler: {done.last_words}")
            self._copy(compiled / f"{package.stem}.mlmodelc", "model.mlmodelc")
        self._model = True
        told = self.told(1)
        first = told.runs_ms[0]
        return Opened(load_ms=told.load_ms, first_ms=first, version=plain(told.version)[:80])

    def sample(self, count: int, batch: int = 1) -> Block:
        """Launch, and leave out the first runs."""
        return {"total": means(self.told(SETTLE + count * batch).runs_ms, count, batch)}

    def save(self, path: Path) -> None:
        """Outputs stay on the phone: frames are compared by `minuet verify` on a Mac."""

    def stages(self, count: int) -> Watched:
        """The app does not tell."""
        raise GoneError("the app does not say what its operators took")

    def close(self, *, weigh: bool = False) -> Memory:
        """Nothing is left running."""
        return Memory(peak_rss_mib=self._peak_mib)

    def told(self, runs: int) -> AppTold:
        """One launch of the app, and what it answered."""
        self._send_job(runs)
        self.phone.launch(self.place)
        try:
            answer = json.loads(self.phone.fetch(f"{self.place}/told.json"))
            told: AppTold = record(AppTold, answer)
        except (ValueError, RecursionError) as error:
            raise GoneError(f"{self.phone.app}: its told.json is damaged: {error}") from error
        if len(told.runs_ms) != runs:
            raise GoneError(f"{self.phone.app}: told {len(told.runs_ms)} times of {runs} runs")
        self._peak_mib = max(filter(None, (self._peak_mib, told.peak_mib)), default=None)
        return told

    def _send_job(self, runs: int) -> None:
        """What to do; and an empty answer, lest an old one be taken for the new."""
        with tempfile.TemporaryDirectory(prefix="minuet-") as folder:
            self._write(Path(folder) / "told.json", b"")
            words = {"model": self._model, "runs": runs, "inputs": self._rows()}
            self._write(Path(folder) / "job.json", json.dumps(words).encode())
            if self.job and runs == 1:
                order = tuple(row["name"] for row in self._rows())
                for index, data in enumerate(raw_inputs(self.job.inputs, order)):
                    self._write(Path(folder) / f"{index}.bin", data)

    def _write(self, path: Path, data: bytes) -> None:
        path.write_bytes(data)
        self._copy(path, path.name)

    def _rows(self) -> list[dict[str, Any]]:
        if not (self.manifest and self.artifact):
            return []
        programs = self.manifest.programs
        signature = programs.get(self.artifact.component) or self.manifest.signature
        return [
            {"name": spec.name, "shape": spec.shape, "dtype": spec.dtype, "file": f"{index}.bin"}
            for index, spec in enumerate(signature.inputs)
        ]

    def _copy(self, source: Path, name: str) -> None:
        there = f"{self.place}/{name}"
        words = self.phone.device("copy", "to", "--source", source, "--destination", there)
        self.phone.devicectl(*words)
