"""Runs, proofs and quality -> what a run's time is paid with: bytes, likeness, looks."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from minuet.benchmarks.draw_points import Point, best_of, plane
from minuet.benchmarks.page_html import NOTHING, Html, Part, note, part, tag
from minuet.benchmarks.page_words import Warm, amount, ours, runtime_of, shortened
from minuet.benchmarks.quality import METRICS
from minuet.benchmarks.stats import Interval
from minuet.contracts.artifact import Manifest

MOST = 60  # runs in a drawing, the fastest

Quality = Mapping[str, Mapping[str, Interval]]  # who -> metric -> interval


@dataclass(frozen=True, slots=True, kw_only=True)
class _Panel:
    """What runs are held against besides time."""

    title: str
    unit: str
    values: Mapping[str, float]  # run -> number
    higher: bool  # is better


def trade(rows: Sequence[Warm], manifest: Manifest | None, quality: Quality | None) -> Part:
    """Which run is worth its bytes and its likeness; nothing for a single run."""
    rows = sorted(ours(rows), key=lambda row: row.p50.value)
    alike = likeness(manifest)
    panels = [
        _Panel(
            title="Size",
            unit="MB",
            values={row.name: row.run.bytes_on_disk / 1e6 for row in rows if row.run.bytes_on_disk},
            higher=False,
        ),
        _Panel(
            title="Likeness to the original",
            unit="dB",
            values={row.name: alike[row.name] for row in rows if row.name in alike},
            higher=True,
        ),
        _graded(rows, quality or {}),
    ]
    told = [_drawn(panel, rows) for panel in panels if len(panel.values) > 1]
    if not told:
        return NOTHING
    left = f" The fastest {MOST} runs are drawn." if len(rows) > MOST else ""
    return part(
        "What the time buys",
        note(f"Across: the median of warm runs. The line joins what nothing beats in both.{left}"),
        tag("div", told, class_="pair"),
    )


def _graded(rows: Sequence[Warm], quality: Quality) -> _Panel:
    """A metric of quality that is known of several runs, by their or their artifacts' names."""
    found: dict[str, dict[str, float]] = {}
    for row in rows:
        for metric, interval in quality.get(row.name, quality.get(row.run.artifact, {})).items():
            if metric in METRICS and METRICS[metric].better == "higher":
                found.setdefault(metric, {})[row.name] = interval.value
    for metric, values in found.items():
        title = f"Quality: {metric.replace('_', ' ')}"
        return _Panel(title=title, unit=METRICS[metric].unit, values=values, higher=True)
    return _Panel(title="", unit="", values={}, higher=True)


def likeness(manifest: Manifest | None) -> dict[str, float]:
    """ "artifact on runtime" -> dB from the original, where that was proved."""
    artifacts = manifest.artifacts if manifest else ()
    return {
        f"{artifact.name} on {runtime_of(parity)}": parity.value
        for artifact in artifacts
        for parity in artifact.parity
        if parity.value is not None and "dB" in parity.metric
    }


def _drawn(panel: _Panel, rows: Sequence[Warm]) -> Html:
    points = [
        Point(
            name=shortened(row.name),
            x=row.p50.value,
            y=value,
            told=f"{row.name}: {amount(row.p50.value, 'ms')}, {amount(value, panel.unit)}",
        )
        for row in rows[:MOST]
        if (value := panel.values.get(row.name)) is not None
    ]
    front = best_of(points, higher=panel.higher)
    points = [replace(point, kind="best" if point in front else "") for point in points]
    best = "upper" if panel.higher else "lower"
    drawing, axis = plane(panel.title, points, front, panel.unit, y_log=not panel.higher)
    return tag(
        "div",
        tag("h3", panel.title),
        tag("div", drawing, axis, class_="over"),
        note(f"Best is at the {best} left."),
        class_="one",
    )
