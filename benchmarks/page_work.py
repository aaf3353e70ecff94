"""Watched runs -> where the time went: by stage, and by who ran it."""

from collections.abc import Sequence

from minuet.benchmarks import placement
from minuet.benchmarks.page_html import Html, Part, Row, bars, note, part, tag
from minuet.benchmarks.page_words import aside, percent, who
from minuet.benchmarks.stages import doubt, shares
from minuet.benchmarks.verdict import figure
from minuet.contracts.report import BASE, Run
from minuet.contracts.stages import OTHER

FIRST = 3  # runs of which the first sentence speaks
LISTED = 10  # units, and kinds of operators on each


def stages(runs: Sequence[Run]) -> Part:
    """What each stage of a program took, and why some runs do not know."""
    known = [run for run in runs if shares(run)]
    if not known:
        return part("Stages", _why(runs, "unwatched"))
    longest = max(row.p50_ms for run in known for row in shares(run)) or 1.0
    heavy = max(shares(known[0]), key=lambda row: row.p50_ms)
    return part(
        "Stages",
        tag("div", [_stage_block(run, longest) for run in known], class_="pair"),
        note(
            "Medians in ms of runs of their own under each runtime's profiler, which slows them: "
            "they compare with each other, not with the runs above."
        ),
        _why(runs, "unwatched"),
        lede=f"{heavy.name} takes {percent(heavy.share)} of {who(known[0])}.",
    )


def _stage_block(run: Run, longest: float) -> Html:
    lines = [
        Row(
            name=row.name,
            share=row.p50_ms / longest,
            told=(figure(row.p50_ms), aside(percent(row.share))),
            quiet=run.side == BASE or row.name == OTHER or row.name.endswith(" smaller"),
        )
        for row in shares(run)
    ]
    doubts = doubt(run)
    return tag("div", bars(who(run), lines), note(f"{doubts}." if doubts else ""), class_="one")


def where(runs: Sequence[Run]) -> Part:
    """Which unit ran for how long, and what fell off the one that did most."""
    known = [run for run in runs if run.operators]
    if not known:
        return part("Where it ran", _why(runs, "unplaced"))
    mostly = [
        f"{who(run)}: {percent(unit.share)} of the {_whole(run)} on {unit.name}"
        for run in known[:FIRST]
        for unit in placement.units(run)[:1]
    ]
    return part(
        "Where it ran",
        tag("div", [_placed(run) for run in known], class_="pair"),
        _why(runs, "unplaced"),
        lede="; ".join(mostly) + ".",
    )


def _whole(run: Run) -> str:
    return "time" if placement.timed(run) else "work"


def _placed(run: Run) -> Html:
    units = placement.units(run)
    lines = [
        Row(
            name=unit.name,
            share=unit.share,
            told=(percent(unit.share), aside(f"{unit.operators} ops")),
            quiet=place > 0,
        )
        for place, unit in enumerate(units[:LISTED])
    ]
    fell = [note(_fell(run, unit.name)) for unit in units[1:LISTED]]
    left = len(units) - LISTED
    more = note(f"And {left} more units." if left > 0 else "")
    told = [*fell, more] if fell else note("Nothing fell off it.")
    return tag("div", bars(who(run), lines), told, class_="one")


def _fell(run: Run, unit: str) -> str:
    """What a unit had to do that was not meant for it, and why."""
    rest = [row for row in placement.fallen(run, "") if row.unit == unit]
    told = [f"{row.operators} {row.kind} ({percent(row.share)})" for row in rest[:LISTED]]
    more = f" and {len(rest) - LISTED} other kinds" if len(rest) > LISTED else ""
    why = placement.reason(unit)
    return f"To {unit} fell {', '.join(told)}{more}{f': {why}' if why else ''}."


def _why(runs: Sequence[Run], field: str) -> list[Html]:
    """Why some runs do not know, each reason once."""
    reasons: dict[str, list[str]] = {}
    for run in runs:
        if reason := getattr(run, field):
            reasons.setdefault(reason, []).append(who(run))
    return [
        note(f"Not known of {', '.join(names)}: {reason}.") for reason, names in reasons.items()
    ]
