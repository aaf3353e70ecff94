"""Ratios with intervals -> rows about 1; values over time -> the line of a history."""

import math
from collections.abc import Sequence

from minuet.benchmarks import draw
from minuet.benchmarks.compare import MIN_EFFECT
from minuet.benchmarks.draw import STRETCH, Scale
from minuet.benchmarks.history import Course
from minuet.benchmarks.page_html import Html
from minuet.benchmarks.page_words import amount, day, signed
from minuet.benchmarks.stats import Interval

ROW, HISTORY = 30, 140  # pixels high
MOST_VALUES = 300  # of a history that are drawn, the newest


def ends(ratio: Interval) -> tuple[float, float, float]:
    """A ratio and its bounds, in per cent from equal; a bound that is not known is infinite."""
    low = ratio.low if ratio.low > 0 else -math.inf
    return 100 * (ratio.value - 1), 100 * (low - 1), 100 * (ratio.high - 1)


def scale_of(ratios: Sequence[Interval], effect: float) -> Scale:
    """One scale for all ratios, in per cent from equal, with what does not count in it."""
    known = [end for ratio in ratios for end in ends(ratio) if math.isfinite(end)]
    return draw.spanning([*known, -200 * effect, 200 * effect])


def ratio_row(
    name: str, ratio: Interval, scale: Scale, kind: str, effect: float = MIN_EFFECT
) -> Html:
    """A ratio and its interval, against the band of differences that do not count."""
    value, low, high = ends(ratio)
    middle = ROW / 2
    left, right = scale.x(100 * (1 / (1 + effect) - 1)), scale.x(100 * effect)
    strokes = [
        draw.path("band", [(left, 0), (right, 0), (right, ROW), (left, ROW)], closed=True),
        draw.line("equal", scale.x(0), 0, scale.x(0), ROW),
        draw.line(f"reach {kind}", scale.x(low), middle, scale.x(high), middle),
        draw.dots(f"ratio {kind}", [(scale.x(value), middle)]),
    ]
    told = f"{value:+.1f} %, interval {low:+.1f} to {high:+.1f} %"
    return draw.drawing(ROW, name, told, strokes)


def history(course: Course, name: str) -> Html:
    """Values over time; where they changed for good, an upright says by how much."""
    values, times = course.values[-MOST_VALUES:], course.times[-MOST_VALUES:]
    scale = draw.spanning(values, margin=0.12)
    strokes, above = draw.levels(scale, HISTORY, course.unit)
    places = [
        (STRETCH * (index + 0.5) / len(values), HISTORY * (1 - scale(value)))
        for index, value in enumerate(values)
    ]
    for change in course.changes:
        index = change.at - len(course.values) + len(values)
        if index >= 0:
            x = places[index][0]
            strokes.append(draw.line("change", x, 0, x, HISTORY))
            above.append(draw.flag(x / STRETCH, 12, signed(change.ratio.value), "name"))
    strokes += [draw.path("trend", places), draw.dots("moment", places)]
    above += [
        draw.words("0%", HISTORY + 18, day(times[0]), kind="soft"),
        draw.words("100%", HISTORY + 18, day(times[-1]), kind="soft", anchor="end"),
    ]
    told = f"{len(values)} reports; the last {amount(values[-1], course.unit)}"
    return draw.drawing(HISTORY, f"{name} over time", told, strokes, *above)
