"""A metric's name -> its unit, and its samples or its one number in a run."""

from collections.abc import Callable, Mapping

from minuet.benchmarks import stages
from minuet.benchmarks.placement import off_unit
from minuet.contracts.artifact import Artifact
from minuet.contracts.errors import RequestError
from minuet.contracts.report import Run

# A metric of samples is <samples>.<quantile>; a stage's samples are called stage.<name>.
QUANTILES = {"p50": 0.5, "p90": 0.9, "p99": 0.99}
TIMES = ("load", "first", "warm_up", "total", "sustained")
OFF = "off."  # off.<units>: the share of the operators' time that they did not run
DECIBELS = "parity.db"  # how near its bundle's proof found an artifact to the student


NUMBERS: Mapping[str, tuple[str, Callable[[Run], float | None]]] = {
    "peak_rss": ("MiB", lambda run: run.peak_rss_mib),
    "peak_pss": ("MiB", lambda run: run.peak_pss_mib),
    "mapped": ("MiB", lambda run: run.mapped_mib),
    "energy": ("mJ", lambda run: run.energy_mj),
    "bytes": ("B", lambda run: run.bytes_on_disk),
    "steps": ("", lambda run: run.steps),
    "nfe": ("", lambda run: run.nfe),
    "macs": ("", lambda run: run.macs),
    "macs_per_frame": ("", lambda run: run.macs / run.shown if run.macs and run.shown else None),
}


def unit_of(metric: str) -> str:
    """The unit of a metric.

    Raises:
        RequestError: no such metric.
    """
    if metric in NUMBERS:
        return NUMBERS[metric][0]
    if metric == DECIBELS:
        return "dB"
    if metric.startswith(OFF) and metric != OFF:
        return ""
    if quantile_of(metric):
        return "ms"
    known = [*NUMBERS, *(f"{name}.{'|'.join(QUANTILES)}" for name in (*TIMES, "stage.<name>"))]
    known += [f"{OFF}<unit>", DECIBELS]
    raise RequestError(f"no metric is called {metric!r:.80}; there are: {', '.join(known)}.")


def quantile_of(metric: str) -> tuple[str, float] | None:
    """The samples and the share that a metric of samples names; None where it is another."""
    samples, _, share = metric.rpartition(".")
    if share in QUANTILES and (samples in TIMES or samples.startswith(stages.PREFIX)):
        return samples, QUANTILES[share]
    return None


def number_of(run: Run, metric: str, artifact: Artifact | None = None) -> float | None:
    """A metric that is one number; None where it was not measured."""
    if metric.startswith(OFF):
        return off_unit(run, metric.removeprefix(OFF))
    if metric == DECIBELS:
        return decibels(run, artifact)
    found = NUMBERS[metric][1](run)
    return None if found is None else float(found)


def why_missing(run: Run, metric: str) -> str:
    """Why a run has none of a metric."""
    if run.refusal:
        return f"not run: {run.refusal}"
    told = ""
    if metric == "energy":
        told = run.unmetered
    elif metric.startswith(OFF):
        told = run.unplaced
    elif metric == DECIBELS:
        return "no proof in decibels; name its bundle with --bundle"
    return f"not measured: {told}" if told else "not measured"


def decibels(run: Run, artifact: Artifact | None) -> float | None:
    """What the bundle's own proof says of this artifact on this runtime."""
    for row in artifact.parity if artifact else ():
        if row.backend.partition(":")[0] == run.runtime and row.metric.endswith("dB"):
            return row.value
    return None
