"""TOML -> a budget: what a model may cost on a class of machine, each limit checked once."""

import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from minuet.contracts.errors import DamagedError, RequestError

SCHEMA = 1
MAX_BYTES = 1 << 20

# Metric -> its unit. A metric of samples is <samples>.<quantile>; a stage's samples are called
# stage.<name>.
QUANTILES = {"p50": 0.5, "p90": 0.9, "p99": 0.99}
PLAIN = {"peak_rss": "MiB", "bytes": "B", "steps": "", "nfe": "", "macs": ""}
TIMES = ("load", "first", "warm_up", "total")


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """One line of a budget."""

    metric: str
    at_most: float
    runtime: str = "*"  # shell patterns
    artifact: str = "*"
    of: str = ""  # another artifact: then at_most is a share of its value
    unit: str = ""

    def __post_init__(self) -> None:
        for word in (self.metric, self.runtime, self.artifact, self.of, self.unit):
            if type(word) is not str:
                raise RequestError(f"a limit's metric, names and unit are text, got {word!r:.40}.")
        unit = unit_of(self.metric)
        if self.unit and self.unit != unit:
            raise RequestError(f"{self.metric} is measured in {unit or 'counts'}, not {self.unit}.")
        at_most = self.at_most
        if isinstance(at_most, bool) or not isinstance(at_most, int | float):
            raise RequestError(f"{self.metric}: at_most is a number, got {at_most!r}.")
        if not (math.isfinite(at_most) and at_most > 0):
            raise RequestError(f"{self.metric}: at_most is above 0, got {at_most}.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """What one model may cost on one class of machine."""

    name: str
    limits: tuple[Limit, ...]
    size: int = 0  # side of the stickers it is about, in pixels; 0: any
    min_effect: float = 0.03  # a slow-down below this share is nobody's business
    level: float = 0.99  # of every interval that a verdict rests on

    def __post_init__(self) -> None:
        if type(self.name) is not str or type(self.size) is not int:
            raise RequestError(f"name is text and size whole, got {self.name!r}, {self.size!r}.")
        if not 0 < self.min_effect < 1 or not 0.5 < self.level < 1:
            raise RequestError(
                f"need 0 < min_effect < 1 and 0.5 < level < 1, "
                f"got {self.min_effect} and {self.level}."
            )


def unit_of(metric: str) -> str:
    """The unit of a metric.

    Raises:
        RequestError: no such metric.
    """
    if metric in PLAIN:
        return PLAIN[metric]
    samples, _, share = metric.rpartition(".")
    if share in QUANTILES and (samples in TIMES or samples.startswith("stage.")):
        return "ms"
    known = [*PLAIN, *(f"{name}.{'|'.join(QUANTILES)}" for name in (*TIMES, "stage.<name>"))]
    raise RequestError(f"no metric is called {metric!r}; there are: {', '.join(known)}.")


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
        raise RequestError(f"schema {schema!r} is not {SCHEMA}, the one this minuet reads.")
    rows = fields.pop("limits", None)
    if not isinstance(rows, list) or not rows:
        raise RequestError("a budget needs at least one [[limits]] table.")
    try:
        return Budget(limits=tuple(_limit(row) for row in rows), **fields)
    except TypeError as error:
        raise RequestError(f"a budget is not written like this: {_plainly(error)}.") from error


def _limit(row: Any) -> Limit:
    if not isinstance(row, Mapping):
        raise RequestError(f"a limit is a table, got {row!r}.")
    try:
        return Limit(**row)
    except TypeError as error:
        raise RequestError(f"a limit is not written like this: {_plainly(error)}.") from error


def _plainly(error: TypeError) -> str:
    return str(error).removeprefix("Limit.__init__() ").removeprefix("Budget.__init__() ")


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
