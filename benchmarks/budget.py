"""TOML -> a budget: what a model may cost on a class of machine, each limit checked once."""

import fnmatch
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from minuet.benchmarks.metrics import DECIBELS, OFF, unit_of
from minuet.benchmarks.verdict import AT_LEAST, AT_MOST
from minuet.contracts.errors import DamagedError, RequestError
from minuet.contracts.records import LARGEST
from minuet.contracts.report import Machine

SCHEMA = 1
MAX_BYTES = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """One line of a budget."""

    metric: str
    at_most: float | None = None  # one of these two
    at_least: float | None = None
    runtime: str = "*"  # shell patterns
    artifact: str = "*"
    of: str = ""  # another artifact: then the limit is a share of its value
    unit: str = ""

    def __post_init__(self) -> None:
        for word in (self.metric, self.runtime, self.artifact, self.of, self.unit):
            if type(word) is not str:
                raise RequestError(f"a limit's metric, names and unit are text, got {word!r:.40}.")
        unit = unit_of(self.metric)
        if self.unit and self.unit != unit:
            raise RequestError(
                f"{self.metric} is measured in {unit or 'counts'}, not {self.unit:.40}."
            )
        if (self.at_most is None) == (self.at_least is None):
            raise RequestError(f"{self.metric}: a limit has at_most or at_least, one of them.")
        name = self.bound.replace(" ", "_")
        if isinstance(self.value, bool) or not isinstance(self.value, int | float):
            raise RequestError(f"{self.metric}: {name} is a number, got {self.value!r:.40}.")
        lowest = self.value > 0 or (self.value == 0 and self.metric.startswith(OFF))
        if not (lowest and self.value < LARGEST):
            raise RequestError(f"{self.metric}: {name} is above 0, got {self.value!s:.40}.")

    @property
    def bound(self) -> str:
        """On which side of the limit a value may be."""
        return AT_LEAST if self.at_most is None else AT_MOST

    @property
    def value(self) -> float:
        """The limit itself."""
        found = self.at_least if self.at_most is None else self.at_most
        assert found is not None
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """The machines that a budget is meant for; what is left out may be anything."""

    cpu: str = "*"  # shell patterns
    os: str = "*"
    cores: int = 0

    def __post_init__(self) -> None:
        if (type(self.cpu), type(self.os), type(self.cores)) != (str, str, int):
            raise RequestError("a device's cpu and os are text, and its cores a whole number.")

    def strange(self, machine: Machine) -> tuple[str, ...]:
        """Why a machine is not meant; empty where it is."""
        found = {
            "cpu": (self.cpu, machine.cpu, fnmatch.fnmatchcase(machine.cpu, self.cpu)),
            "os": (self.os, machine.os, fnmatch.fnmatchcase(machine.os, self.os)),
            "cores": (self.cores, machine.cores, self.cores in (0, machine.cores)),
        }
        return tuple(
            f"{name} {theirs!r:.80}, not {ours!r:.80}"
            for name, (ours, theirs, meant) in found.items()
            if not meant
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """What one model may cost on one class of machine."""

    name: str
    limits: tuple[Limit, ...] = ()
    size: int = 0  # side of the stickers it is about, in pixels; 0: any
    device: Device = Device()
    compare: tuple[str, ...] = ("total.p50",)  # metrics that are held against a baseline
    min_effect: float = 0.03  # a slow-down below this share is nobody's business
    level: float = 0.99  # of every interval that a verdict rests on

    def __post_init__(self) -> None:
        if type(self.name) is not str or type(self.size) is not int:
            raise RequestError(
                f"name is text and size whole, got {self.name!r:.40}, {self.size!r:.40}."
            )
        for figure in (self.min_effect, self.level):
            if isinstance(figure, bool) or not isinstance(figure, int | float):
                raise RequestError(f"min_effect and level are numbers, got {figure!r:.40}.")
        if not 0 < self.min_effect < 1 or not 0.5 < self.level < 1:
            raise RequestError(
                f"need 0 < min_effect < 1 and 0.5 < level < 1, "
                f"got {self.min_effect} and {self.level}."
            )
        for metric in self.compare:
            unit_of(metric)
            if metric.startswith(OFF) or metric == DECIBELS:
                raise RequestError(f"{metric} is not compared with a baseline; give it a limit.")


def read_budget(path: Path) -> Budget:
    """A budget from TOML.

    Raises:
        DamagedError: missing, too large, or not TOML.
        RequestError: an unknown key, metric or unit, or a limit that is no number.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise DamagedError(f"{path}: larger than {MAX_BYTES >> 20} MiB; refused.")
        value = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise DamagedError(f"{path}: missing.") from error
    except (OSError, ValueError, RecursionError) as error:  # no UTF-8, no TOML, endless numbers
        raise DamagedError(f"{path}: not readable as TOML ({error}).") from error
    try:
        return budget_of(value)
    except RequestError as error:
        raise RequestError(f"{path}: {error}") from error


def budget_of(value: Mapping[str, Any]) -> Budget:
    """A budget from a parsed table."""
    fields = dict(value)
    schema = fields.pop("schema", None)
    if schema != SCHEMA:
        raise RequestError(f"schema {schema!r:.40} is not {SCHEMA}, the one this minuet reads.")
    rows = fields.pop("limits", None)
    if not isinstance(rows, list) or not rows:
        raise RequestError("a budget needs at least one [[limits]] table.")
    fields["limits"] = tuple(_made(Limit, "limit", row) for row in rows)
    if "device" in fields:
        fields["device"] = _made(Device, "device", fields["device"])
    if "compare" in fields:
        fields["compare"] = _names(fields["compare"])
    made: Budget = _made(Budget, "budget", fields)
    return made


def _made(kind: Any, name: str, row: Any) -> Any:
    if not isinstance(row, Mapping):
        raise RequestError(f"a {name} is a table, got {row!r:.40}.")
    try:
        return kind(**row)
    except TypeError as error:
        plainly = str(error).removeprefix(f"{kind.__name__}.__init__() ")
        raise RequestError(f"a {name} is not written like this: {plainly}.") from error


def _names(rows: Any) -> tuple[str, ...]:
    if not isinstance(rows, list) or not all(type(row) is str for row in rows):
        raise RequestError(f"compare is a list of metrics, got {rows!r:.40}.")
    return tuple(rows)


def find_budget(name: str) -> Path:
    """A budget's file: a path, or the name of one that comes with minuet.

    Raises:
        RequestError: neither.
    """
    path = Path(name)
    if path.suffix or path.exists():
        return path
    shipped = {file.stem: file for file in (Path(__file__).parent / "budgets").glob("*.toml")}
    if name in shipped:
        return shipped[name]
    raise RequestError(
        f"no budget is called {name!r}; give a .toml file or one of: {', '.join(sorted(shipped))}."
    )
