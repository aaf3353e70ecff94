"""Runs, metrics and numbers -> the words that a page says them in."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from minuet.benchmarks.metrics import DECIBELS, OFF
from minuet.benchmarks.page_html import Html, tag
from minuet.benchmarks.stages import PREFIX
from minuet.benchmarks.stats import Floats, Interval, checked, quantile, quantile_interval
from minuet.benchmarks.verdict import Verdict, figure
from minuet.contracts.artifact import Parity
from minuet.contracts.report import BASE, Run

UNKNOWN = Html("&ndash;")
NARROW = "\N{NO-BREAK SPACE}"
NAMED = 32  # letters of a name in a drawing
FEWEST = {0.5: 1, 0.9: 20, 0.99: 100}  # samples below which a quantile is only its extremes
TIMES = {
    "total": "warm runs",
    "first": "first runs",
    "load": "openings of the file",
    "warm_up": "runs of the warm-up",
    "sustained": "sustained runs",
}
SHARES = {"p50": "median", "p90": "90th percentile", "p99": "99th percentile"}
PLAIN = {
    "peak_rss": "peak memory",
    "peak_pss": "peak memory, shared pages by their share",
    "mapped": "memory mapped from files",
    "energy": "energy of a run",
    "bytes": "size on disk",
    "macs": "multiply-accumulates a clip",
    "macs_per_frame": "multiply-accumulates a frame",
    "nfe": "network evaluations a clip",
    "steps": "sampler steps",
    DECIBELS: "likeness to the original",
}
OVER = " over baseline"  # the end of a metric that is a ratio


@dataclass(frozen=True, slots=True, kw_only=True)
class Warm:
    """A run that was timed, with its median."""

    run: Run
    samples: Floats
    p50: Interval

    @property
    def name(self) -> str:
        """Who it is."""
        return who(self.run)


def warm(runs: Iterable[Run]) -> list[Warm]:
    """The runs that were timed."""
    return [_warm(run) for run in runs if run.samples_ms.get("total") and not run.refusal]


def _warm(run: Run) -> Warm:
    samples = checked(run.samples_ms["total"])
    return Warm(run=run, samples=samples, p50=quantile_interval(samples, 0.5))


def ours(rows: Iterable[Warm]) -> list[Warm]:
    """Those that are no base."""
    return [row for row in rows if row.run.side != BASE]


def who(run: Run) -> str:
    """An artifact, its runtime, and whether it is the older one."""
    return f"{run.artifact} on {run.runtime}{' (base)' if run.side == BASE else ''}"


def meant(metric: str) -> str:
    """A budget's metric in plain words; its own name where there are none."""
    if metric.endswith(OVER):
        return f"{meant(metric.removesuffix(OVER))} over the baseline's"
    if metric.startswith(OFF):
        return f"time off {metric.removeprefix(OFF)}"
    time, _, share = metric.rpartition(".")
    if share in SHARES and time in TIMES:
        return f"{SHARES[share]} of {TIMES[time]}"
    if share in SHARES and time.startswith(PREFIX):
        return f"{SHARES[share]} of the stage {time.removeprefix(PREFIX)}"
    return PLAIN.get(metric, metric)


def told(verdict: Verdict, value: float | None, digits: int = 4) -> str:
    """A number of a verdict, in its unit."""
    if value is not None and verdict.metric.startswith(OFF):
        return percent(value)
    return amount(value, verdict.unit, digits)


def amount(value: float | None, unit: str = "", digits: int = 4) -> str:
    """A number with its unit, as people write it."""
    if value is None:
        return "not measured"
    if unit == "B":
        return size(value)
    words = figure(float(f"{value:.{digits}g}"))
    if unit.startswith("of "):
        return f"{figure(100 * float(words))}{NARROW}% {unit}"
    if unit == "x":
        return f"{words}\N{MULTIPLICATION SIGN}"
    return f"{words}{NARROW}{unit}" if unit else words


def size(count: float) -> str:
    """Bytes."""
    for unit, one in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= one * 0.1:
            return f"{count / one:.3g}{NARROW}{unit}"
    return f"{count:.0f}{NARROW}B"


def signed(ratio: float) -> str:
    """A ratio as a change; a bound that is not known is a question mark."""
    if not 0 < ratio < math.inf:
        return "?"
    return f"{100 * (ratio - 1):+.1f}{NARROW}%".replace("-", "\N{MINUS SIGN}")


def day(moment: str) -> str:
    """The day of an ISO 8601 moment."""
    return moment[:10]


def minute(moment: str) -> str:
    """An ISO 8601 moment of UTC as people read it."""
    return f"{moment[:16].replace('T', ' ')} UTC" if moment else ""


def several(count: int, word: str) -> str:
    """A count of things."""
    return f"{count} {word}{'' if count == 1 else 's'}"


def span(low: float | None, high: float | None, unit: str = "") -> str:
    """An interval; a bound that is not known is a question mark."""
    if low is None or (low <= 0 and (high is None or math.isinf(high))):
        return ""
    top = "?" if high is None or math.isinf(high) else amount(high, unit)
    return f"{figure(low)} to {top}"


def percent(share: float) -> str:
    """A share of a whole; what is tiny is not nothing."""
    found = 100 * share
    if 0 < found < 1:
        return f"under 1{NARROW}%"
    return f"{found:.0f}{NARROW}%"


def tail(samples: Sequence[float] | Floats, share: float) -> object:
    """A quantile in ms, where there are samples enough for it."""
    if len(samples) < FEWEST[share]:
        return UNKNOWN
    return figure(quantile(samples, share))


def runtime_of(parity: Parity) -> str:
    """The runtime that a proof ran on."""
    return parity.backend.partition(":")[0]


def shortened(name: str) -> str:
    """A name as a drawing has room for."""
    return name if len(name) <= NAMED else f"{name[: NAMED - 1]}\N{HORIZONTAL ELLIPSIS}"


def aside(words: object) -> Html:
    """A quieter word beside a number."""
    return tag("span", words, class_="soft")


def caption(name: str, told: object) -> Html:
    """What stands above a drawing: who it is, and its number."""
    return tag("div", tag("span", name, class_="who"), tag("span", told), class_="row")
