"""Samples, machine, artifact: one measured run. Verdicts are computed from it, never stored."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, cast

from minuet.contracts.errors import DamagedError
from minuet.contracts.records import record

SCHEMA = 2
BASE = "base"  # the side of the older of two bundles that were measured in turns


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """What the numbers depend on besides the artifact."""

    cpu: str
    cores: int
    memory_mib: int
    os: str
    python: str
    governor: str = "unknown"
    load_1min: float = 0.0
    versions: dict[str, str] = field(default_factory=dict[str, str])
    turbo: str = "unknown"  # on, off
    smt: str = "unknown"  # on, off: two threads share a core
    virtual: str = "unknown"  # yes, no: a hypervisor below the system
    quota_cores: float | None = None  # what a container may use; None: no quota was found
    throttled: int | None = None  # times that heat slowed a core while it was measured


@dataclass(frozen=True, slots=True, kw_only=True)
class Peaks:
    """What a machine was seen to reach at most, on so many threads."""

    threads: int
    gflops: dict[str, float]  # dtype -> 1e9 operations a second; a multiply-accumulate is two
    read_gbs: float  # 1e9 bytes a second from memory

    def __post_init__(self) -> None:
        if min(self.threads, self.read_gbs, *self.gflops.values()) <= 0:
            raise ValueError("peaks are above 0")


@dataclass(frozen=True, slots=True, kw_only=True)
class Operator:
    """One operator of a watched run: where it ran, how long, and what it had to do."""

    name: str
    kind: str  # as the runtime calls it, e.g. Conv
    unit: str  # who ran it, e.g. CPUExecutionProvider, XnnpackBackend, portable
    p50_ms: float
    stage: str = ""
    dtype: str = ""  # that it computed in, e.g. fp32, bf16, int8; "": not told
    macs: float | None = None  # multiply-accumulates, from the program
    moved_bytes: float | None = None  # inputs, weights and outputs, each once

    def __post_init__(self) -> None:
        if min(self.p50_ms, self.macs or 0, self.moved_bytes or 0) < 0:
            raise ValueError(f"operator {self.name!r:.40} has a figure below 0")


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One artifact on one runtime: every sample kept, in order."""

    artifact: str  # e.g. onnx-fp32
    artifact_sha256: str
    runtime: str
    runtime_version: str
    threads: int
    # "load", "first", "warm_up", "total", "sustained", "metered"; "stage.<name>" of runs under a
    # profiler, and those runs' "watched"
    samples_ms: dict[str, tuple[float, ...]]
    peak_rss_mib: float | None
    bytes_on_disk: int
    steps: int
    nfe: int  # network evaluations a clip: steps x guidance passes
    macs: float | None  # multiply-accumulates a clip, from the program
    refusal: str = ""  # why it was not run; then samples are empty
    unwatched: str = ""  # why its stages are not known
    shown: int = 0  # frames of a clip that are displayed; 0: not known
    peak_pss_mib: float | None = None  # shared pages by their share (Linux, Android)
    mapped_mib: float | None = None  # of the artifact's files, mapped rather than read
    energy_mj: float | None = None  # of a warm run, millijoules, the machine's rest included
    unmetered: str = ""  # why its energy is not known
    operators: tuple[Operator, ...] = ()  # slowest first
    unplaced: str = ""  # why its operators are not known
    side: str = ""  # BASE, or the newer one's and everybody else's
    batch: int = 1  # calls of which a warm sample is the mean: alone too short for the clock

    def __post_init__(self) -> None:
        for name, samples in self.samples_ms.items():
            if any(value < 0 for value in samples):
                raise ValueError(f"samples_ms.{name} holds a time below 0")


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What one `minuet bench` measured."""

    bundle: str
    machine: Machine
    runs: tuple[Run, ...]
    clock_resolution_ns: float
    minuet: str
    seed: int
    size: int = 0  # side of the stickers in pixels; 0: not known
    peaks: Peaks | None = None  # None: not measured
    measured_at: str = ""  # ISO 8601, UTC, when it began
    overhead_us: float | None = None  # of the harness in each sample; None: not measured
    schema: int = SCHEMA

    def to_json(self) -> dict[str, Any]:
        """A plain value."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Any, where: str) -> "Report":
        """The reverse of to_json.

        Raises:
            DamagedError: not a report, a newer schema, or a field of another kind, named.
        """
        if not isinstance(value, Mapping):
            raise DamagedError(f"{where}: not a minuet report.")
        rows = cast(Mapping[str, Any], value)
        schema = rows.get("schema")
        if isinstance(schema, int) and schema > SCHEMA:
            raise DamagedError(f"{where}: written by a newer minuet (schema {schema}); upgrade.")
        try:
            if isinstance(schema, int) and schema < 1:
                raise ValueError(f"schema {schema!r}")
            found: Report = record(cls, {"schema": None, **rows})
        except ValueError as error:
            raise DamagedError(f"{where}: damaged report: {error}; measure again.") from error
        return found
