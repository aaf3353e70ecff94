"""Runs and their bases -> how many times slower; earlier values -> what became of a metric."""

from collections.abc import Sequence

from minuet.benchmarks import draw, draw_ratios
from minuet.benchmarks.compare import FASTER, MIN_EFFECT, SAME, SLOWER, Comparison, compared
from minuet.benchmarks.history import Course
from minuet.benchmarks.page_html import NOTHING, Html, Part, every, note, part, tag
from minuet.benchmarks.page_words import (
    Warm,
    amount,
    aside,
    caption,
    meant,
    minute,
    ours,
    signed,
)
from minuet.benchmarks.stats import GATE_LEVEL
from minuet.contracts.report import BASE

KINDS = {SLOWER: "fail", FASTER: "pass", SAME: "plain"}
EFFECT = f"{100 * MIN_EFFECT:.0f} %"


def comparison(rows: Sequence[Warm]) -> Part:
    """Each run over the base that was measured in turns with it."""
    bases = {_key(row): row for row in rows if row.run.side == BASE}
    found = [
        (row, compared(row.samples, base.samples, paired=True))
        for row in ours(rows)
        if (base := bases.get(_key(row))) and min(*row.samples, *base.samples) > 0
    ]
    if not found:
        return NOTHING
    scale = draw_ratios.scale_of([one.ratio for _, one in found], MIN_EFFECT)
    return part(
        "Against the base",
        tag("div", [_row(*one, scale) for one in found], draw.axis(scale, " %"), class_="chart"),
        note(
            "Ratios of pairs that were measured side by side, with their "
            f"{100 * GATE_LEVEL:.0f} % intervals; further right is slower. Within the band "
            f"({EFFECT}) a difference does not count."
        ),
        lede="; ".join(f"{row.name}: {_said(one)}" for row, one in found[:3]) + ".",
    )


def _key(row: Warm) -> tuple[str, str, int]:
    return row.run.artifact, row.run.runtime, row.run.threads


def _row(row: Warm, found: Comparison, scale: draw.Scale) -> Html:
    ratio = found.ratio
    interval = aside(f" {signed(ratio.low)} to {signed(ratio.high)}")
    told = every((tag("b", signed(ratio.value)), interval))
    drawn = draw_ratios.ratio_row(row.name, ratio, scale, KINDS.get(found.outcome, "unsure"))
    return every((caption(row.name, told), drawn))


def _said(found: Comparison) -> str:
    if found.outcome == SAME:
        return f"not slower by {EFFECT} or more"
    if found.outcome in KINDS:
        return f"{found.outcome} by {abs(100 * (found.ratio.value - 1)):.1f} %"
    return f"not decided; about {found.needed} samples would" if found.needed else "not decided"


def history(courses: Sequence[Course]) -> Part:
    """What was measured before, and when it changed."""
    told = [_course(course) for course in courses if course.values]
    return part("Over time", tag("div", told, class_="pair")) if told else NOTHING


def _course(course: Course) -> Html:
    name = f"{course.artifact} on {course.runtime}: {meant(course.metric)}"
    changes = [
        f"{signed(change.ratio.value)} with the report of {minute(course.times[change.at])}"
        for change in course.changes
    ]
    told = "; ".join(changes) or f"no change in {len(course.values)} reports"
    drawing = tag("div", draw_ratios.history(course, name), class_="over")
    head = caption(name, amount(course.values[-1], course.unit))
    return tag("div", head, drawing, note(f"{told}."), class_="one")
