"""Samples of other tools, as JSON or CSV -> a report, judged as one of our own."""

import csv
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from minuet import __version__
from minuet.benchmarks.metrics import TIMES
from minuet.benchmarks.stages import PREFIX
from minuet.contracts.errors import DamagedError, RequestError
from minuet.contracts.files import MAX_JSON_BYTES, read_json
from minuet.contracts.records import LARGEST
from minuet.contracts.report import Machine, Report, Run

TO_MS = {"s": 1e3, "ms": 1.0, "us": 1e-3, "ns": 1e-6}
MOST_SERIES, MOST_SAMPLES, LONGEST_NAME = 1000, 100_000, 200
NOWHERE = Machine(cpu="unknown", cores=0, memory_mib=0, os="unknown", python="unknown")


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """Samples of one name and side, in order, in some unit."""

    name: str
    values: Sequence[Any]
    unit: str = ""
    side: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What a file holds, and what it says of where it was measured."""

    kind: str  # csv, json, pytest-benchmark, google-benchmark
    series: Sequence[Series]
    machine: Machine = NOWHERE
    measured_at: str = ""


def read_report(path: Path, unit: str = "") -> Report:
    """A report of ours from its folder or file, or one of what another tool measured.

    Another tool's series is the `total` of a run that has its name as artifact and the kind of
    the file as runtime; load, first, warm_up, total, sustained and stage.* are one run together.

    Args:
        unit: s, ms, us or ns, of series whose names do not end in _s, _ms, _us or _ns.

    Raises:
        DamagedError: missing, too large, of a newer schema, or it holds what is no time.
        RequestError: the unit of a series is not known.
    """
    if unit and unit not in TO_MS:
        raise RequestError(f"a unit is one of {', '.join(TO_MS)}, got {unit!r:.40}.")
    path = path / "report.json" if path.is_dir() else path
    table = path.suffix.lower() == ".csv"
    value = _read_csv(path) if table else read_json(path)
    if not table and isinstance(value, Mapping) and {"schema", "runs"} & value.keys():
        return Report.from_json(value, str(path))
    try:
        found = Found(kind="csv", series=_columns(value)) if table else _json(value)
        return _report(found, path.stem, unit)
    except RequestError as error:
        raise RequestError(f"{path}: {error}") from error
    except ValueError as error:
        raise DamagedError(f"{path}: {error}.") from error
    except (TypeError, AttributeError, KeyError, OverflowError) as error:
        kind = type(error).__name__
        raise DamagedError(
            f"{path}: not written as its kind is ({kind}: {error!s:.80})."
        ) from error


# --- kinds of files ------------------------------------------------------------------------------


def _json(value: Any) -> Found:
    if isinstance(value, list):
        plain = value and not isinstance(value[0], Mapping)
        series = [Series(name="samples", values=value)] if plain else _columns(value)
        return Found(kind="json", series=series)
    if not isinstance(value, Mapping):
        raise ValueError("not a minuet report, and no samples")
    rows = value.get("benchmarks")
    if isinstance(rows, list) and "machine_info" in value:
        return _pytest_benchmark(value, rows)
    if isinstance(rows, list) and "context" in value:
        return _google_benchmark(value, rows)
    series = [Series(name=name, values=_list(values, name)) for name, values in value.items()]
    return Found(kind="json", series=series)


def _read_csv(path: Path) -> list[dict[str, Any]]:
    try:
        if path.stat().st_size > MAX_JSON_BYTES:
            raise DamagedError(f"{path}: larger than {MAX_JSON_BYTES >> 20} MiB; refused.")
        text = path.read_text(encoding="utf-8-sig")
        rows = csv.DictReader(io.StringIO(text, newline=""), strict=True)
        names = rows.fieldnames or ()
        if len(names) != len(set(names)):
            raise DamagedError(f"{path}: two columns have the same name.")
        return list(rows)
    except FileNotFoundError as error:
        raise DamagedError(f"{path}: missing.") from error
    except (OSError, UnicodeError, csv.Error) as error:
        raise DamagedError(f"{path}: not readable as CSV ({error!s:.80}).") from error


def _columns(rows: Sequence[Any]) -> list[Series]:
    """Records: one sample each, as name and value, or one sample of every column."""
    found: dict[tuple[str, str, str], list[Any]] = {}
    for row in rows:
        if not isinstance(row, Mapping):
            raise ValueError(f"a record is {row!r:.40}, not an object")
        if {"name", "value"} <= row.keys():
            cells = {(row["name"], row.get("unit") or "", row.get("side") or ""): row["value"]}
        else:
            cells = {(name, "", ""): value for name, value in row.items()}
        for key, value in cells.items():
            if value not in ("", None):  # columns may be of different lengths
                found.setdefault(key, []).append(value)
    return [
        Series(name=name, unit=unit, side=side, values=values)
        for (name, unit, side), values in found.items()
    ]


def _pytest_benchmark(value: Mapping[str, Any], rows: Sequence[Any]) -> Found:
    """What `pytest --benchmark-json` or `--benchmark-save` writes; seconds."""
    if not all("data" in row["stats"] for row in rows):
        raise ValueError(
            "pytest-benchmark kept no samples; run it with --benchmark-json or -save-data"
        )
    info = value["machine_info"]
    cpu = info.get("cpu") or {}
    machine = Machine(
        cpu=str(cpu.get("brand_raw") or "unknown"),
        cores=int(cpu.get("count") or 0),
        memory_mib=0,
        os=f"{info.get('system', 'unknown')} {info.get('release', '')}".strip(),
        python=str(info.get("python_version", "unknown")),
    )
    series = [Series(name=row["fullname"], values=row["stats"]["data"], unit="s") for row in rows]
    at = str(value.get("datetime", ""))
    return Found(kind="pytest-benchmark", series=series, machine=machine, measured_at=at)


def _google_benchmark(value: Mapping[str, Any], rows: Sequence[Any]) -> Found:
    """What `--benchmark_out_format=json` writes: a sample is a repetition's mean."""
    single = [row for row in rows if row.get("run_type", "iteration") == "iteration"]
    if not single:
        raise ValueError(
            "only aggregates; run without --benchmark_report_aggregates_only, and repeated"
        )
    named: dict[tuple[str, str], list[Any]] = {}
    for row in single:
        key = row.get("run_name", row["name"]), row.get("time_unit", "ns")
        named.setdefault(key, []).append(row["real_time"])
    context = value["context"]
    machine = Machine(
        cpu=f"{context.get('num_cpus', 0)} x {context.get('mhz_per_cpu', 0)} MHz",
        cores=int(context.get("num_cpus") or 0),
        memory_mib=0,
        os="unknown",
        python="unknown",
    )
    series = [Series(name=name, values=values, unit=unit) for (name, unit), values in named.items()]
    at = str(context.get("date", ""))
    return Found(kind="google-benchmark", series=series, machine=machine, measured_at=at)


# --- samples -------------------------------------------------------------------------------------


def _report(found: Found, stem: str, unit: str) -> Report:
    if not found.series:
        raise ValueError("no samples")
    if len(found.series) > MOST_SERIES:
        raise ValueError(f"{len(found.series)} series; at most {MOST_SERIES} are read")
    runs: dict[tuple[str, str], dict[str, tuple[float, ...]]] = {}
    for series in found.series:
        name, scale = _scaled(series, unit)
        ours = name in TIMES or name.startswith(PREFIX)
        artifact, samples = (stem, name) if ours else (name, "total")
        runs.setdefault((artifact, series.side), {})[samples] = tuple(_times(series, scale))
    return Report(
        bundle=stem,
        machine=found.machine,
        runs=tuple(_run(*key, found.kind, samples) for key, samples in runs.items()),
        clock_resolution_ns=0.0,
        minuet=__version__,
        seed=0,
        measured_at=found.measured_at,
    )


def _run(artifact: str, side: str, kind: str, samples: dict[str, tuple[float, ...]]) -> Run:
    return Run(
        artifact=artifact,
        artifact_sha256="",
        runtime=kind,
        runtime_version="",
        threads=0,
        samples_ms=samples,
        peak_rss_mib=None,
        bytes_on_disk=0,
        steps=0,
        nfe=0,
        macs=None,
        side=side,
    )


def _scaled(series: Series, unit: str) -> tuple[str, float]:
    """The name without its unit, and how many milliseconds that unit has."""
    name, side = series.name, series.side
    if type(name) is not str or not name.isprintable() or not 0 < len(name) <= LONGEST_NAME:
        raise ValueError(f"a series has the name {name!r:.40}; names are short and printable")
    if side not in ("", "base"):
        raise ValueError(f'the side of {name!r} is {side!r:.40}; it is empty or "base"')
    base, _, suffix = name.rpartition("_")
    if series.unit:
        if series.unit not in TO_MS:
            raise ValueError(f"the unit of {name!r} is {series.unit!r:.40}, not {', '.join(TO_MS)}")
        return name, TO_MS[series.unit]
    if base and suffix in TO_MS:
        return base, TO_MS[suffix]
    if not unit:
        raise RequestError(f"the unit of {name!r} is not known; say it, for instance --unit ms.")
    return name, TO_MS[unit]


def _times(series: Series, scale: float) -> Iterable[float]:
    values = _list(series.values, series.name)
    if not values:
        raise ValueError(f"{series.name!r} has no samples")
    if len(values) > MOST_SAMPLES:
        raise ValueError(f"{series.name!r} has {len(values)} samples; at most {MOST_SAMPLES}")
    return [_time(value, series.name) * scale for value in values]


def _time(value: Any, name: str) -> float:
    try:
        found = float(value) if isinstance(value, str | int | float) else math.nan
    except (ValueError, OverflowError):
        found = math.nan
    if isinstance(value, bool) or not 0 <= found < LARGEST:
        raise ValueError(f"{name!r} holds {value!r:.40}, which is no time")
    return found


def _list(values: Any, name: str) -> Sequence[Any]:
    if not isinstance(values, list):
        raise ValueError(f"{name!r:.80} is not a list of numbers")
    return values
