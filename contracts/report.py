"""Samples, machine, artifact: one measured run. Verdicts are computed from it, never stored."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, cast

from minuet.contracts.errors import DamagedError
from minuet.contracts.records import record

SCHEMA = 1


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One artifact on one runtime: every sample kept, in order."""

    artifact: str  # e.g. onnx-fp32
    artifact_sha256: str
    runtime: str
    runtime_version: str
    threads: int
    # "load", "first", "total"; "stage.<name>" of runs under a profiler, and those runs' "watched"
    samples_ms: dict[str, tuple[float, ...]]
    peak_rss_mib: float | None
    bytes_on_disk: int
    steps: int
    nfe: int  # network evaluations a clip: steps x guidance passes
    macs: float | None  # multiply-accumulates a clip, from the program
    refusal: str = ""  # why it was not run; then samples are empty
    unwatched: str = ""  # why its stages are not known

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
