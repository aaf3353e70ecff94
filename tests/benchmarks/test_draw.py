"""Marks lie where the numbers are, by formulas of their own; many samples are thinned, not bent."""

import math
import re

import numpy as np
import pytest

from minuet.benchmarks import draw
from minuet.benchmarks.draw import Scale, spanning, thin, ticks
from minuet.benchmarks.draw_latency import (
    Cloud,
    Order,
    beyond,
    cloud_row,
    order_plot,
    scale_of,
)
from minuet.benchmarks.draw_points import Point, Roof, best_of, plane, roofline
from minuet.benchmarks.draw_ratios import history, ratio_row
from minuet.benchmarks.draw_ratios import scale_of as scale_of_ratios
from minuet.benchmarks.stats import Interval
from tests.benchmarks.conftest import drawn
from tests.benchmarks.storied import course


def number(drawing: str, kind: str, attribute: str) -> float:
    found = re.search(rf'class="{kind}"[^>]* {attribute}="([-\d.]+)', drawing)
    assert found, kind
    return float(found[1])


@pytest.mark.parametrize(("top", "expected"), [(9.0, 2.0), (310.0, 100.0), (0.03, 0.01)])
def test_ticks_are_round_and_few(top: float, expected: float) -> None:
    found = ticks(top)
    assert found[1] == pytest.approx(expected) and found[-1] <= top and 3 <= len(found) <= 7


@pytest.mark.parametrize(
    ("scale", "expected"),
    [
        (Scale(low=0, high=10), [0, 2, 4, 6, 8, 10]),
        (Scale(low=171, high=389, log=True), [200, 250, 300, 350]),
        (Scale(low=0.9, high=110, log=True), [1, 2, 5, 10, 20, 50, 100]),
        (Scale(low=0.01, high=2e4, log=True), [0.01, 0.1, 1, 10, 100, 1000, 10000]),
    ],
)
def test_a_scale_has_round_numbers_within_it(scale: Scale, expected: list[float]) -> None:
    assert scale.ticks() == pytest.approx(expected)


def test_equal_ratios_are_equal_steps_on_a_logarithmic_scale() -> None:
    scale = Scale(low=10, high=1000, log=True)
    assert [scale(v) for v in (10, 100, 1000)] == pytest.approx([0, 0.5, 1])
    assert scale(1) == 0 and scale(1e6) == 1 and not scale.holds(1)


@pytest.mark.parametrize("values", [[0.0], [5.0, 5.0], [0.0, 1e12], [1e-12, 2e-12]])
@pytest.mark.parametrize("log", [True, False])
def test_any_values_span_a_scale(values: list[float], log: bool) -> None:
    scale = spanning(values, log=log)
    assert scale.low < scale.high and all(0 <= scale(value) <= 1 for value in values)
    assert all(math.isfinite(tick) for tick in scale.ticks())


def test_thinning_keeps_the_order_the_ends_and_the_shape() -> None:
    values = list(drawn(3, 20_000))
    kept = thin(values, 500)
    assert kept == sorted(set(kept)) and len(kept) <= 520
    assert {int(np.argmin(values)), int(np.argmax(values))} <= set(kept)
    assert np.median([values[i] for i in kept]) == pytest.approx(np.median(values), rel=0.01)
    assert thin([1.0, 2.0], 2) == [0, 1]


def test_the_marks_of_a_cloud_lie_where_its_numbers_are() -> None:
    samples = np.array([10.0, 20.0, 30.0])
    p50 = Interval(value=20.0, low=12.0, high=28.0)
    cloud = Cloud(name="a", samples_ms=samples, p50=p50, limit_ms=40.0)
    scale = scale_of([cloud])
    row = cloud_row(cloud, scale)
    room = (40 / 10) ** 0.04
    place = math.log(20 * room / 10) / math.log(40 * room**2 / 10)
    assert number(row, "middle", "x1") == pytest.approx(1000 * place, abs=0.01)
    assert number(row, "limit", "x1") == pytest.approx(scale.x(40.0), abs=0.01)
    assert (number(row, "span", "x1"), number(row, "span", "x2")) == pytest.approx(
        (scale.x(12.0), scale.x(28.0)), abs=0.01
    )
    dots = re.search(r'class="dots sample" d="([^"]*)"', row)
    assert dots and dots[1].count("M") == 3
    assert "<title>a</title>" in row and "median 20" in row and "limit 40" in row


def test_a_hump_is_highest_where_samples_are_densest() -> None:
    samples = np.array([10.0] * 5 + [11.0] * 40 + [12.0] * 5 + [20.0])
    scale = Scale(low=9, high=21)
    cloud = Cloud(name="a", samples_ms=samples, p50=Interval(value=11, low=11, high=11))
    found = re.search(r'class="hump" d="M([^Z]*)Z"', cloud_row(cloud, scale))
    assert found
    points = [tuple(map(float, pair.split())) for pair in found[1].split("L")]
    peak = min(points, key=lambda point: point[1])
    assert peak[0] == pytest.approx(scale.x(11.0), abs=5)


def test_an_order_shows_what_came_before_and_after_and_counts_what_lies_beyond() -> None:
    samples = np.array(drawn(2, 100))
    order = Order(
        name="a", before_ms=(900.0, 300.0), samples_ms=samples, after_ms=drawn(4, 40, 104.0)
    )
    assert beyond(order) == 2
    plot = order_plot(order)
    counts = [len(re.findall("M", d)) for d in re.findall(r'class="dots \w+" d="([^"]*)"', plot)]
    assert counts == [2, 100, 40]
    assert all(word in plot for word in ("warm-up", "100 warm runs", "sustained"))
    alone = order_plot(Order(name="a", before_ms=(), samples_ms=samples))
    assert "warm-up" not in alone and "sustained" not in alone


def test_the_trend_is_the_running_median() -> None:
    samples = np.r_[np.full(50, 10.0), np.full(50, 12.0)]
    plot = order_plot(Order(name="a", before_ms=(), samples_ms=samples))
    found = re.search(r'class="trend" d="M([^"]*)"', plot)
    assert found
    heights = [float(pair.split()[1]) for pair in found[1].split("L")]
    assert len(set(heights)) == 2 and heights[0] > heights[-1]  # lower on the page is less


def test_the_best_are_those_that_nothing_beats_in_both() -> None:
    rng = np.random.default_rng(0)
    points = [
        Point(name=str(i), x=float(x), y=float(y)) for i, (x, y) in enumerate(rng.random((60, 2)))
    ]
    for higher in (True, False):
        sign = -1 if higher else 1
        free = {
            p.name
            for p in points
            if not any(q.x <= p.x and sign * q.y <= sign * p.y for q in points if q is not p)
        }
        assert {p.name for p in best_of(points, higher=higher)} == free


def test_labels_cover_neither_each_other_nor_the_edge() -> None:
    points = [
        Point(name=f"artifact-{i} on runtime", x=100 + 7 * i, y=5.0 + i % 2) for i in range(6)
    ]
    drawing, _ = plane("t", points, points[:1], "MB", y_log=True)
    boxes = []
    rows = re.findall(
        r'<text class="name[^"]*" x="([\d.]+)%" y="([-\d.]+)"(?: dx="([-\d.]+)")?'
        r'(?: text-anchor="(\w+)")?>([^<]*)<',
        drawing,
    )
    assert len(rows) >= 3
    for left, y, dx, anchor, label in rows:
        x = float(left) / 100 * 290 + float(dx or 0)
        wide = 7 * len(label)
        x -= {"": 0, "middle": wide / 2, "end": wide}[anchor]
        boxes.append((x, float(y) - 11, x + wide, float(y) + 4))
    for i, (a, b, c, d) in enumerate(boxes):
        assert a > -5 and c < 295
        assert not any(a < g and e < c and b < h and f < d for e, f, g, h in boxes[:i])


def test_a_roof_bends_where_reading_and_computing_take_as_long() -> None:
    points = [Point(name="conv", x=50.0, y=40.0, told="conv"), Point(name="add", x=0.1, y=0.5)]
    drawing, _ = roofline("t", points, [(1.0, 2.0)], [Roof(name="fp32", gflops=100.0)], 10.0)
    found = re.search(r'class="roof" d="M([^"]*)"', drawing)
    assert (
        found and "fp32 100" in drawing and "reads 10" in drawing and "operations a byte" in drawing
    )
    places = [tuple(map(float, pair.split())) for pair in found[1].split("L")]
    x = spanning([50.0, 0.1, 1.0, 10.0], log=True, margin=0.1)
    assert places[1][0] == pytest.approx(x.x(10.0), abs=0.1)  # 100 GFLOP/s over 10 GB/s
    assert places[0][1] > places[1][1] == places[2][1]
    left = [float(cx) for cx in re.findall(r'cx="([\d.]+)%"', drawing)]
    assert sorted(left) == pytest.approx(sorted(100 * x(v) for v in (50.0, 0.1)), abs=0.01)


def test_a_ratio_lies_among_the_differences_that_do_not_count() -> None:
    ratio = Interval(value=1.05, low=1.04, high=1.06)
    scale = scale_of_ratios([ratio, Interval(value=1, low=0.0, high=math.inf)], 0.03)
    assert scale.low < -6 and scale.high < 10  # what has no end does not stretch it
    row = ratio_row("a", ratio, scale, "fail")
    assert number(row, "reach fail", "x1") == pytest.approx(scale.x(4.0), abs=0.01)
    assert number(row, "equal", "x1") == pytest.approx(scale.x(0.0), abs=0.01)


def test_a_history_shows_every_value_and_where_it_changed() -> None:
    drawing = history(course(), "median").replace("\N{NO-BREAK SPACE}", " ")
    dots = re.search(r'class="dots moment" d="([^"]*)"', drawing)
    assert dots and dots[1].count("M") == 8
    assert ">+20.0 %<" in drawing and ">2026-03-01<" in drawing and ">2026-03-08<" in drawing
    assert number(drawing, "change", "x1") == pytest.approx(1000 * 4.5 / 8)


def test_a_drawing_has_a_name_and_a_description() -> None:
    found = draw.drawing(10, "what <it> is", "what it says", [])
    assert found.startswith('<svg role="img"') or 'role="img"' in found
    assert "<title>what &lt;it&gt; is</title><desc>what it says</desc>" in found
