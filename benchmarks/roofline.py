"""A watched run and a machine's peaks -> how near each operator came to what the machine can do.

Time at the roofline is max(2 * macs / peak, bytes / bandwidth); the attained share is that over
the time taken (Williams, Waterman, Patterson 2009, "Roofline", CACM 52(4)), here for one operator
or the sum over several. An operator whose work is not known takes no part in its group's share.

python -m minuet.benchmarks.roofline REPORT     a report's folder, or its report.json
"""

import sys
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from minuet.benchmarks import placement
from minuet.contracts.errors import MinuetError, RequestError
from minuet.contracts.files import read_json
from minuet.contracts.report import Operator, Peaks, Report, Run

COMPUTE, MEMORY, NOTHING, UNKNOWN = "compute", "memory", "nothing", "unknown"
# Words in the names of units that are not the processor, whose peaks are measured.
ELSEWHERE = (
    *("cuda", "gpu", "tensorrt", "rocm", "migraphx", "dml", "vulkan", "mps", "cann"),
    *("neuralengine", "coreml", "qnn", "nnapi", "vitis", "ethos", "neuron"),
)
HEAVIEST = 3
FAR = 0.5  # of the roofline: below, what holds an operator up is its kernel, and neither roof
MOST_BYTES = 256 << 20  # of a report


@dataclass(frozen=True, slots=True, kw_only=True)
class Attained:
    """One operator, or several together, against the roofline."""

    op: str
    kind: str
    stage: str
    unit: str
    dtype: str
    operators: int
    ms: float
    share_of_time: float  # of all operators'
    known: float  # share of ms whose operators' work is known
    intensity: float | None  # FLOP a byte
    attained_gflops: float | None
    attained_gbs: float | None
    roof_gflops: float | None  # what the machine allows at this intensity
    attained: float | None  # share of the roofline, in [0, 1]
    limit: str  # compute, memory, nothing (a view, which has no work), or unknown


def rows(run: Run, peaks: Peaks) -> list[Attained]:
    """Every operator, the slowest first; empty where nothing was timed."""
    return _grouped(run, peaks, id)


def stages(run: Run, peaks: Peaks) -> list[Attained]:
    """The operators of each stage together, in order of cost."""
    return _grouped(run, peaks, lambda one: one.stage)


def heaviest(run: Run, peaks: Peaks, most: int = HEAVIEST) -> list[Attained]:
    """The costliest operators; the many small ones of a kind in a stage count as one."""
    return _grouped(run, peaks, lambda one: (one.stage, one.kind, one.dtype))[:most]


def roof_ms(operator: Operator, peaks: Peaks) -> float | None:
    """The least time that an operator's work can take on this machine's processor.

    Returns:
        None where its work or its dtype's peak is not known, or where it ran on something else.
    """
    if any(word in operator.unit.lower() for word in ELSEWHERE):
        return None
    compute, memory = _computing_ms(operator, peaks), _moving_ms(operator, peaks)
    return None if compute is None or memory is None else max(compute, memory)


def lines(run: Run, peaks: Peaks | None) -> Iterator[str]:
    """The costliest operators and the stages, as text."""
    if not placement.timed(run):
        why = run.unplaced or "the runtime tells no operators' times"
        yield f"{run.artifact} on {run.runtime}: no roofline: {why}"
        return
    if peaks is None:
        yield f"{run.artifact} on {run.runtime}: no roofline: the machine's peaks were not measured"
        return
    said = ", ".join(f"{dtype} {peak:.0f} GFLOP/s" for dtype, peak in peaks.gflops.items())
    yield f"peaks on {peaks.threads} threads: {said}; memory {peaks.read_gbs:.1f} GB/s"
    if run.threads and run.threads != peaks.threads:
        yield f"the run had {run.threads}: no share below is of what it could use"
    yield from _table(f"the {HEAVIEST} costliest operators", heaviest(run, peaks))
    yield from _table("by stage", stages(run, peaks))
    unknown = sum(row.share_of_time for row in rows(run, peaks) if row.limit == UNKNOWN)
    if unknown:
        yield f"{unknown:.1%} of the time is of operators whose work, or its peak, is not known"


def _table(title: str, found: Sequence[Attained]) -> Iterator[str]:
    yield (
        f"{title:<40} {'dtype':>6} {'ms':>9} {'time':>6} {'GFLOP/s':>9} {'GB/s':>7} "
        f"{'attained':>8}  limit"
    )
    yield from map(_line, found)


def _line(row: Attained) -> str:
    name = (
        row.op if row.operators == 1 else f"{row.stage} {row.kind}".strip() + f" x{row.operators}"
    )
    far = row.attained is not None and row.attained < FAR
    return (
        f"  {name:<38.38} {row.dtype:>6} {row.ms:>9.3f} {row.share_of_time:>6.1%} "
        f"{_said(row.attained_gflops, '.1f'):>9} {_said(row.attained_gbs, '.1f'):>7} "
        f"{_said(row.attained, '.0%'):>8}  {row.limit}{', far below' if far else ''}"
    )


def _said(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)


def _grouped(run: Run, peaks: Peaks, key: Callable[[Operator], Hashable]) -> list[Attained]:
    whole = sum(one.p50_ms for one in run.operators)
    if not whole:
        return []
    groups: dict[Hashable, list[Operator]] = {}
    for one in run.operators:
        groups.setdefault(key(one), []).append(one)
    found = [_attained(held, peaks, whole) for held in groups.values()]
    return sorted(found, key=lambda row: -row.ms)


def _attained(held: Sequence[Operator], peaks: Peaks, whole: float) -> Attained:
    roofs = [roof_ms(one, peaks) for one in held]
    pairs = [(one, roof) for one, roof in zip(held, roofs, strict=True) if roof is not None]
    ms = sum(one.p50_ms for one in held)
    counted_ms = sum(one.p50_ms for one, _ in pairs)
    flop = sum(2 * (one.macs or 0.0) for one, _ in pairs)
    moved = sum(one.moved_bytes or 0.0 for one, _ in pairs)
    roof = sum(least for _, least in pairs)
    fits = bool(counted_ms and roof)
    return Attained(
        op=max(held, key=lambda one: one.p50_ms).name,
        kind=_common([one.kind for one in held]),
        stage=_common([one.stage for one in held]),
        unit=_common([one.unit for one in held]),
        dtype=_common([one.dtype for one in held]),
        operators=len(held),
        ms=ms,
        share_of_time=ms / whole,
        known=counted_ms / ms if ms else 0.0,
        intensity=flop / moved if fits and moved else None,
        attained_gflops=flop / counted_ms / 1e6 if fits else None,
        attained_gbs=moved / counted_ms / 1e6 if fits else None,
        roof_gflops=flop / roof / 1e6 if fits else None,
        attained=min(1.0, roof / counted_ms) if fits else None,
        limit=_limit([one for one, _ in pairs], peaks),
    )


def _limit(counted: Sequence[Operator], peaks: Peaks) -> str:
    if not counted:
        return UNKNOWN
    computing = sum(_computing_ms(one, peaks) or 0.0 for one in counted)
    moving = sum(_moving_ms(one, peaks) or 0.0 for one in counted)
    if not computing + moving:
        return NOTHING
    return COMPUTE if computing >= moving else MEMORY


def _computing_ms(operator: Operator, peaks: Peaks) -> float | None:
    if not operator.macs:
        return operator.macs
    peak = peaks.gflops.get(operator.dtype)
    return 2 * operator.macs / peak / 1e6 if peak else None


def _moving_ms(operator: Operator, peaks: Peaks) -> float | None:
    moved = operator.moved_bytes
    return None if moved is None else moved / peaks.read_gbs / 1e6


def _common(values: Sequence[str]) -> str:
    """What all have; "" where they differ."""
    return values[0] if len(set(values)) == 1 else ""


def main(arguments: Sequence[str]) -> int:
    """Print every run of a report; 2 where there is none."""
    try:
        if len(arguments) != 1:
            raise RequestError("name one report: a folder, or its report.json.")
        path = Path(arguments[0])
        path = path / "report.json" if path.is_dir() else path
        report = Report.from_json(read_json(path, MOST_BYTES), str(path))
    except MinuetError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    for run in report.runs:
        title = f"{run.artifact} on {run.runtime}"
        for line in ("", title, *placement.lines(run), *lines(run, report.peaks)):
            print("".join(sign if sign.isprintable() else "?" for sign in line))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
