"""Watched runs and peaks -> operators under the machine's roofs, and what limits the heaviest."""

from collections.abc import Sequence

from minuet.benchmarks import placement, roofline
from minuet.benchmarks.draw_points import Point, Roof
from minuet.benchmarks.draw_points import roofline as drawn_roofline
from minuet.benchmarks.page_html import NOTHING, Html, Part, folded, note, part, table, tag
from minuet.benchmarks.page_words import UNKNOWN, amount, percent, shortened, who
from minuet.benchmarks.roofline import HEAVIEST, Attained
from minuet.benchmarks.verdict import figure
from minuet.contracts.report import Peaks, Report, Run

MOST_RUNS = 8  # that are drawn
MOST_OPERATORS = 2000  # in a drawing, the slowest
MOST_GROUPS = 60
LISTED = 10


def roofs(report: Report) -> Part:
    """Operators under the machine's roofs, and what limits the heaviest."""
    known = [run for run in report.runs if placement.timed(run)]
    if not known:
        return NOTHING
    if report.peaks is None:
        return part("Roofline", note("Not drawn: the machine's peaks were not measured."))
    peaks = report.peaks
    return part(
        "Roofline",
        note(
            "A circle is the operators of one kind in one stage, as large as its share of the "
            "time; a dot is one operator. The lines are the most that this machine was seen to do "
            f"on {peaks.threads} threads."
        ),
        [_roof_block(run, peaks) for run in known[:MOST_RUNS]],
        note(f"Of {len(known)} runs, {MOST_RUNS} are drawn." if len(known) > MOST_RUNS else ""),
        lede=_limits(known[0], peaks),
    )


def _limits(run: Run, peaks: Peaks) -> str:
    """What the heaviest of a run are held back by."""
    told = [f"{_name(row)} ({_limit(row)})" for row in roofline.heaviest(run, peaks)]
    return f"The heaviest of {who(run)}: {'; '.join(told)}."


def _limit(row: Attained) -> str:
    time = f"{percent(row.share_of_time)} of the time"
    if row.attained is None:
        return time
    return f"{time}, {percent(row.attained)} of its roof, limited by {row.limit}"


def _name(row: Attained) -> str:
    if row.operators == 1:
        return row.op
    return f"{row.operators} {row.kind}" + (f" in {row.stage}" if row.stage else "")


def _roof_block(run: Run, peaks: Peaks) -> Html:
    groups = roofline.heaviest(run, peaks, MOST_GROUPS)
    known = [row for row in groups if row.intensity and row.attained_gflops]
    heading = tag("h3", who(run))
    if not known:
        return tag("div", heading, note("The work of its operators is not known."), class_="one")
    dtypes = dict.fromkeys(row.dtype for row in known if row.dtype in peaks.gflops)
    lines = [Roof(name=name, gflops=peaks.gflops[name]) for name in dtypes or peaks.gflops]
    rows = roofline.rows(run, peaks)
    singles = [
        (row.intensity, row.attained_gflops)
        for row in rows[:MOST_OPERATORS]
        if row.intensity and row.attained_gflops
    ]
    drawing, axis = drawn_roofline(
        f"Roofline of {who(run)}",
        [_point(row, place) for place, row in enumerate(known)],
        singles,
        lines,
        peaks.read_gbs,
    )
    return tag(
        "div",
        heading,
        tag("div", drawing, axis, class_="over"),
        _not_drawn(rows),
        _costs(run, groups[:LISTED]),
        class_="one",
    )


def _not_drawn(rows: Sequence[Attained]) -> list[Html]:
    """What the drawing leaves out."""
    left = len(rows) - MOST_OPERATORS
    unknown = 1 - sum(row.share_of_time * row.known for row in rows)
    moving = sum(row.share_of_time for row in rows if row.attained_gbs and not row.attained_gflops)
    told = []
    if moving > 0:
        told.append(
            note(
                f"{percent(moving)} of the time went to operators without multiply-accumulates: "
                "they have no place here, but are listed below."
            )
        )
    if any(row.attained == 1 for row in rows):
        told.append(note("What lies on or above a line was as fast as the peak that was measured."))
    if left > 0:
        told.append(note(f"The slowest {MOST_OPERATORS} operators are drawn, {left} are not."))
    if unknown > 1e-4:
        told.append(note(f"Of {percent(unknown)} of the time the work is not known."))
    return told


def _point(row: Attained, place: int) -> Point:
    attained = "" if row.attained is None else f", {percent(row.attained)} of its roof"
    told = f"{_name(row)}: {amount(row.attained_gflops, 'GFLOP/s', 3)}{attained}"
    return Point(
        name=shortened(_name(row)) if place < HEAVIEST else "",
        x=row.intensity or 0.0,
        y=row.attained_gflops or 0.0,
        told=f"{told}, {percent(row.share_of_time)} of the time",
        kind="best" if place < HEAVIEST else "",
        radius=3 + 20 * min(row.share_of_time, 1.0) ** 0.5,
    )


def _costs(run: Run, groups: Sequence[Attained]) -> list[Html]:
    """The heaviest in figures, and the next, folded away."""
    first, rest = groups[:HEAVIEST], groups[HEAVIEST:]
    told = [_table(f"What costs most in {who(run)}", first)]
    if rest:
        told.append(folded(f"The next {len(rest)}", _table("What costs less", rest)))
    return told


def _table(name: str, groups: Sequence[Attained]) -> Html:
    head = (
        "operators",
        "dtype",
        "ms",
        "of the time",
        "ops a byte",
        "GFLOP/s",
        "GB/s",
        "of its roof",
    )
    lines = [
        [
            _name(row),
            row.dtype or UNKNOWN,
            figure(row.ms),
            percent(row.share_of_time),
            *map(_number, (row.intensity, row.attained_gflops, row.attained_gbs)),
            UNKNOWN if row.attained is None else percent(row.attained),
            row.limit,
        ]
        for row in groups
    ]
    return table(name, (*head, "limited by"), lines, words=(1, 8))


def _number(value: float | None) -> object:
    return f"{value:.3g}" if value else UNKNOWN
