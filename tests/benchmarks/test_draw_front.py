"""The picture of a search: points where their numbers say, words that cannot become markup."""

import math
import re
import xml.etree.ElementTree as ElementTree

from minuet.benchmarks.draw_front import HEIGHT, WIDTH, Mark, front_svg

LINE = [(10.0, 50.0), (8.0, 45.0), (6.0, 38.0)]


def circles(svg: str) -> list[tuple[float, float]]:
    root = ElementTree.fromstring(svg)
    return [
        (float(one.attrib["cx"]), float(one.attrib["cy"]))
        for one in root.iter("{http://www.w3.org/2000/svg}circle")
    ]


def test_more_time_is_further_right_and_nearer_is_higher_up() -> None:
    marks = [Mark(label="chosen", cost=8.5, db=41.0, chosen=True)]
    places = circles(front_svg("front", "ms", LINE, marks, 35.0))
    assert len(places) == 4
    (x0, y0), (x1, y1), (x2, y2), (xm, ym) = places
    assert x0 > xm > x1 > x2 and y0 < y1 < ym < y2
    assert math.isclose(x0 - x1, x1 - x2, rel_tol=0.01)  # 2 ms each
    assert math.isclose((y1 - y0) / (y2 - y1), 5 / 7, rel_tol=0.01)
    assert all(0 < x < WIDTH and 0 < y < HEIGHT for x, y in places)


def test_the_original_is_exact_and_stays_inside() -> None:
    svg = front_svg("front", "ms", LINE, [Mark(label="float", cost=12.0, db=math.inf)], 35.0)
    assert "float: 12, exact" in svg
    assert all(0 < y < HEIGHT for _, y in circles(svg))


def test_words_are_words() -> None:
    svg = front_svg("<script>", "ms", LINE, [Mark(label="a & b", cost=1.0, db=40.0)], 35.0)
    assert "<script>" not in svg and "a &amp; b" in svg and not re.search(r"\son\w+=", svg)


def test_without_a_line_there_is_no_picture() -> None:
    assert front_svg("front", "ms", [], [], 35.0) == ""
