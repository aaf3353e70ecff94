"""Samples -> what they look like: a cloud a run on one scale, and the order they were taken in."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from minuet.benchmarks import draw
from minuet.benchmarks.draw import STRETCH, Scale
from minuet.benchmarks.page_html import Html
from minuet.benchmarks.page_words import amount, span
from minuet.benchmarks.stats import Floats, Interval, quantile

CLOUD, ORDER = 66, 120  # pixels high
HUMP, STRIP = 38, (44, 60)  # where the hump stands, and between which heights the dots lie
MOST_DOTS = 500  # of one run
BINS = 250
BEFORE, AFTER, GAP = 0.2, 0.26, 0.02  # of the width, for what came before and after the warm runs
GOLDEN = 0.6180339887  # its multiples spread evenly, however many there are
LEVEL = 0.95  # of the intervals that are drawn


@dataclass(frozen=True, slots=True, kw_only=True)
class Cloud:
    """One run's samples, its median, and the limit of that."""

    name: str
    samples_ms: Floats
    p50: Interval
    limit_ms: float | None = None
    said: bool = True  # the limit bears its name
    quiet: bool = False  # the one that another is compared with


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """One run's samples in the order they were taken."""

    name: str
    before_ms: Sequence[float]  # of the warm-up
    samples_ms: Floats
    after_ms: Sequence[float] = ()  # of a long load
    limit_ms: float | None = None


def scale_of(clouds: Sequence[Cloud]) -> Scale:
    """One scale for all clouds and their limits."""
    limits = [cloud.limit_ms for cloud in clouds if cloud.limit_ms]
    ends = [float(end(cloud.samples_ms)) for cloud in clouds for end in (np.min, np.max)]
    return draw.spanning([*ends, *limits], log=True, margin=0.04)


def cloud_row(cloud: Cloud, scale: Scale) -> Html:
    """A hump of where samples lie, a dot a sample, the median with its interval, the limit."""
    told = f"{len(cloud.samples_ms)} samples, median {amount(cloud.p50.value, 'ms')}"
    bounds = span(cloud.p50.low, cloud.p50.high, "ms")
    told += f", interval {bounds or 'not known'}"
    tone = " quiet" if cloud.quiet else ""
    middle, low, high = cloud.p50.value, cloud.p50.low, min(cloud.p50.high, scale.high)
    strokes = [
        *draw.grid(scale, CLOUD),
        draw.path("hump" + tone, _hump(cloud.samples_ms, scale), closed=True),
        draw.dots("sample" + tone, _strip(cloud.samples_ms, scale)),
        draw.line("span" + tone, scale.x(low), HUMP, scale.x(high), HUMP) if bounds else Html(""),
        draw.line("middle" + tone, scale.x(middle), 4, scale.x(middle), STRIP[1] + 2),
    ]
    above = []
    if cloud.limit_ms:
        x = scale.x(cloud.limit_ms)
        strokes.append(draw.line("limit", x, 0, x, CLOUD))
        label = f"limit {amount(cloud.limit_ms, 'ms')}"
        above += [draw.flag(scale(cloud.limit_ms), 12, label, "fail")] if cloud.said else []
        told += f", {label}"
    return draw.drawing(CLOUD, cloud.name, told, strokes, *above)


def _hump(samples: Floats, scale: Scale) -> list[draw.Place]:
    """How densely samples lie: a Gaussian about each, as wide as Silverman's rule says.

    All are equally high, since their shape alone is meant.
    Silverman 1986, eq. 3.31: h = 0.9 min(sd, IQR / 1.34) n^(-1/5), over places and not numbers.
    """
    places = np.array([scale(value) for value in samples])
    counts, edges = np.histogram(places, bins=BINS, range=(0, 1))
    quarters = np.quantile(places, [0.25, 0.75])
    spread = min(float(places.std()), float(quarters[1] - quarters[0]) / 1.34) or places.std()
    width = max(0.9 * float(spread) * places.size**-0.2, 0.003) * BINS
    reach = np.arange(-int(4 * width) - 1, int(4 * width) + 2)
    dense = np.convolve(counts, np.exp(-((reach / width) ** 2) / 2), mode="full")
    dense = dense[reach.size // 2 :][:BINS]
    heights = 0.9 * HUMP * dense / dense.max()
    middles = STRETCH * (edges[:-1] + edges[1:]) / 2
    seen = np.flatnonzero(heights > 0.15)
    first, last = max(int(seen[0]) - 1, 0), min(int(seen[-1]) + 2, BINS)
    top = [(float(x), HUMP - float(y)) for x, y in zip(middles, heights, strict=True)]
    return [(top[first][0], HUMP), *top[first:last], (top[last - 1][0], HUMP)]


def _strip(samples: Floats, scale: Scale) -> list[draw.Place]:
    upper, lower = STRIP
    shown = draw.thin(samples.tolist(), MOST_DOTS)
    return [
        (scale.x(float(samples[index])), upper + (lower - upper) * (index * GOLDEN % 1))
        for index in shown
    ]


def order_plot(order: Order) -> Html:
    """Samples from left to right as they were taken, on a scale of their own, and their trend."""
    scale = _close(order)
    strokes, above = draw.levels(scale, ORDER, "ms")
    lanes = _lanes(order)
    for lane in lanes:
        shown = draw.thin(lane.values, MOST_DOTS)
        strokes.append(
            draw.dots(lane.kind, [(lane.x(i), _y(scale, lane.values[i])) for i in shown])
        )
        if lane.kind == "sample":
            trend = [(lane.x(i), _y(scale, value)) for i, value in _trend(order.samples_ms)]
            strokes.append(draw.path("trend", trend))
        above.append(draw.words(f"{100 * lane.left:.2f}%", ORDER + 18, lane.name, kind="soft"))
    if order.limit_ms and scale.holds(order.limit_ms):
        y = _y(scale, order.limit_ms)
        strokes.append(draw.line("limit", 0, y, STRETCH, y))
        above.append(draw.words("100%", y - 5, "limit", kind="fail", anchor="end"))
    count = sum(len(lane.values) for lane in lanes)
    told = f"{count} samples between {amount(scale.low)} and {amount(scale.high, 'ms')}"
    return draw.drawing(ORDER, f"{order.name}, in order", told, strokes, *above)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Lane:
    """Samples of one kind, side by side."""

    name: str
    kind: str
    values: Sequence[float]
    left: float  # of the whole width
    width: float

    def x(self, index: int) -> float:
        return STRETCH * (self.left + self.width * (index + 0.5) / len(self.values))


def _lanes(order: Order) -> list[_Lane]:
    """Warm-up, warm and sustained: the short ones get the room that their names need."""
    before = BEFORE if order.before_ms else 0.0
    after = AFTER if order.after_ms else 0.0
    warm = 1 - before - after
    rows = (
        ("warm-up", "cold", order.before_ms, 0.0, before),
        (f"{order.samples_ms.size} warm runs", "sample", order.samples_ms.tolist(), before, warm),
        ("sustained", "sustained", order.after_ms, before + warm, after),
    )
    return [
        _Lane(name=name, kind=kind, values=values, left=left, width=width - GAP)
        for name, kind, values, left, width in rows
        if len(values)
    ]


def _close(order: Order) -> Scale:
    """Near the warm samples: of the rest, what lies beyond is drawn on the edge."""
    values = [*order.samples_ms, *order.after_ms]
    low, middle, high = (quantile(values, share) for share in (0.005, 0.5, 0.995))
    reach = max(high - middle, middle - low, 0.02 * middle, 1e-6)
    return draw.spanning([max(0.0, low - 0.3 * reach), high + 0.3 * reach])


def beyond(order: Order) -> int:
    """How many samples lie on an edge because they lie beyond it."""
    scale = _close(order)
    return sum(not scale.holds(value) for lane in _lanes(order) for value in lane.values)


def _trend(samples: Floats) -> list[tuple[int, float]]:
    """Medians of a window that wanders, a tenth of all wide."""
    width = max(5, samples.size // 10) | 1
    if samples.size < 2 * width:
        return []
    windows = np.lib.stride_tricks.sliding_window_view(samples, width)
    medians = np.median(windows, axis=1)
    stride = max(1, medians.size // 200)
    return [(i + width // 2, float(medians[i])) for i in range(0, medians.size, stride)]


def _y(scale: Scale, value: float) -> float:
    return ORDER * (1 - scale(value))
