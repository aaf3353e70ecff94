"""Samples -> rows of humps: a label, a drawing that stretches to its column, one scale for all."""

# A drawing is 100 units wide and HUMP high, and is stretched; words stay HTML, so that they keep
# their size on a phone.

import html
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from minuet.benchmarks.stats import Samples, checked, quantile

WIDTH, HUMP = 100, 40
BINS = 80
SHOWN = 0.995  # share of each run's samples that the scale must hold; the rest is counted


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One run's row."""

    label: str
    samples_ms: Samples
    limit_ms: float | None = None  # of the median


def latencies(lines: Sequence[Line]) -> str:
    """Rows of humps with median, p90 and limit; empty where nothing was measured."""
    lines = [line for line in lines if len(line.samples_ms)]
    if not lines:
        return ""
    top = max(max(quantile(line.samples_ms, SHOWN), line.limit_ms or 0) for line in lines) * 1.06
    rows = "".join(_row(line, top) for line in lines)
    return f'<div class="chart">{rows}{_axis(top)}</div>'


def ticks(top: float, wanted: int = 5) -> list[float]:
    """Round numbers from 0 to top, about `wanted` of them."""
    rough = top / wanted
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough)
    return [step * index for index in range(int(top / step) + 1)]


def _axis(top: float) -> str:
    marks = [
        f'<span style="left:{_x(value, top):.2f}%">{value:g}{"" if value else " ms"}</span>'
        for value in ticks(top)
    ]
    return f'<div class="axis">{"".join(marks)}</div>'


def _row(line: Line, top: float) -> str:
    samples = checked(line.samples_ms)
    p50, p90 = quantile(samples, 0.5), quantile(samples, 0.9)
    beyond = int((samples > top).sum())
    told = f"p50 {p50:.4g} ms, p90 {p90:.4g} ms"
    told += f", limit {line.limit_ms:g} ms" if line.limit_ms else ""
    told += f", {beyond} beyond the edge" if beyond else ""
    marks = _mark("tail", p90, top) + _mark("middle", p50, top)
    marks += _mark("limit", line.limit_ms, top) if line.limit_ms else ""
    grid = "".join(_mark("grid", value, top) for value in ticks(top))
    label = html.escape(line.label, quote=True)
    return (
        f'<div class="row"><b>{label}</b><span>{told}</span></div>'
        f'<svg viewBox="0 0 {WIDTH} {HUMP}" preserveAspectRatio="none" role="img" '
        f'aria-label="{label}: {told}">{grid}{_hump(samples, top)}{marks}</svg>'
    )


def _hump(samples: Samples, top: float) -> str:
    """A smoothed histogram; all rows are equally high, since only its shape is meant."""
    counts, edges = np.histogram(samples, bins=BINS, range=(0, top))
    smooth = np.convolve(counts, (1, 4, 6, 4, 1), mode="same")
    heights = 0.92 * HUMP * smooth / max(float(smooth.max()), 1e-9)
    points = " ".join(
        f"{_x((a + b) / 2, top):.2f},{HUMP - height:.2f}"
        for a, b, height in zip(edges, edges[1:], heights, strict=False)
    )
    return f'<polygon class="hump" points="0,{HUMP} {points} {WIDTH},{HUMP}"/>'


def _mark(kind: str, value: float, top: float) -> str:
    x = f"{_x(value, top):.2f}"
    return f'<line class="{kind}" x1="{x}" x2="{x}" y1="0" y2="{HUMP}"/>'


def _x(value: float, top: float) -> float:
    return WIDTH * min(value, top) / top
