"""Points with names -> a plane: sizes against times, or operators under a machine's roofs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from minuet.benchmarks import draw
from minuet.benchmarks.draw import Scale
from minuet.benchmarks.page_html import Html, tag
from minuet.benchmarks.page_words import amount

PLANE, ROOFS = 260, 320  # pixels high
PHONE, DESK = 290, 440  # pixels across that a plane has at least, and on a desk
LETTER, LINE = 7.0, 15  # pixels that a letter of a label takes across, and down
Box = tuple[float, float, float, float]  # left, top, right, bottom


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """Something with two numbers."""

    name: str  # drawn beside it, where there is room; "" for none
    x: float
    y: float
    told: str = ""  # what it says when pointed at
    kind: str = ""  # best, or nothing
    radius: float = 5.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Roof:
    """The most that a machine computes in one dtype."""

    name: str
    gflops: float


def best_of(points: Sequence[Point], *, higher: bool) -> list[Point]:
    """Those that no other beats in both numbers, by x: the least x, and the least or greatest y."""
    sign = -1 if higher else 1
    kept: list[Point] = []
    for point in sorted(points, key=lambda p: (p.x, sign * p.y)):
        if not kept or sign * point.y < sign * kept[-1].y:
            kept.append(point)
    return kept


def plane(
    title: str, points: Sequence[Point], front: Sequence[Point], unit: str, *, y_log: bool
) -> tuple[Html, Html]:
    """Points by ms and another number, with the line of the best; and the lower axis."""
    x = draw.spanning([p.x for p in points], log=True, margin=0.14)
    y = draw.spanning([p.y for p in points], log=y_log, margin=0.14)
    strokes, above = draw.levels(y, PLANE, unit)
    strokes += draw.grid(x, PLANE)
    places = [(x.x(p.x), _down(y, p.y, PLANE)) for p in front]
    strokes.append(draw.path("front", _stairs(places)))
    told = "; ".join(p.told for p in points)
    marks = _marks(points, x, y, PLANE)
    return draw.drawing(PLANE, title, told, strokes, *above, *marks), draw.axis(x, " ms")


def _stairs(places: Sequence[draw.Place]) -> list[draw.Place]:
    """No choice between two choices is known, so the line goes around the corner."""
    steps = list(places[:1])
    for place in places[1:]:
        steps += [(place[0], steps[-1][1]), place]
    return steps


def roofline(
    title: str,
    points: Sequence[Point],
    operators: Sequence[draw.Place],
    roofs: Sequence[Roof],
    read_gbs: float,
) -> tuple[Html, Html]:
    """Work a byte and speed of groups and of single operators, under min(peak, reading).

    Williams, Waterman and Patterson 2009 (doi 10.1145/1498765.1498785), figure 1.

    Args:
        operators: their work a byte and their speed, without names.

    Returns:
        The drawing and its lower axis.
    """
    ridges = [(roof.gflops / read_gbs, roof.gflops) for roof in roofs]
    seen = [*((p.x, p.y) for p in points), *operators, *ridges]
    x = draw.spanning([place[0] for place in seen], log=True, margin=0.1)
    y = draw.spanning([place[1] for place in seen], log=True, margin=0.1)
    strokes, above = draw.levels(y, ROOFS, "GFLOP/s")
    strokes += draw.grid(x, ROOFS)
    strokes.append(draw.dots("faint", [(x.x(a), _down(y, b, ROOFS)) for a, b in operators]))
    start = max(x.low, y.low / read_gbs)
    for roof, (ridge, top) in zip(roofs, ridges, strict=True):
        edge = [(start, start * read_gbs), (ridge, top), (x.high, top)]
        strokes.append(draw.path("roof", [(x.x(a), _down(y, b, ROOFS)) for a, b in edge]))
        label = f"{roof.name} {amount(roof.gflops, 'GFLOP/s', 3)}"
        above.append(draw.words("100%", _down(y, top, ROOFS) - 7, label, kind="soft", anchor="end"))
    foot = min(_down(y, start * read_gbs, ROOFS) + 16, ROOFS - 6.0)
    reads = f"reads {amount(read_gbs, 'GB/s', 3)}"
    above.append(draw.words(x.left(start), foot, reads, kind="soft", dx=14))
    above.append(draw.words("100%", ROOFS - 6.0, "operations a byte", kind="soft", anchor="end"))
    told = "; ".join(p.told for p in points if p.name)
    marks = _marks(points, x, y, ROOFS)
    return draw.drawing(ROOFS, title, told, strokes, *above, *marks), draw.axis(x, "")


def _down(scale: Scale, value: float, height: int) -> float:
    return height * (1 - scale(value))


def _marks(points: Sequence[Point], x: Scale, y: Scale, height: int) -> list[Html]:
    """Circles, the largest below, and their names where there is room on a phone and on a desk."""
    places = {index: (x(p.x), _down(y, p.y, height)) for index, p in enumerate(points)}
    order = sorted(places, key=lambda index: -points[index].radius)
    circles = [
        tag(
            "circle",
            tag("title", points[index].told or points[index].name),
            class_=points[index].kind or None,
            cx=f"{100 * places[index][0]:.2f}%",
            cy=float(places[index][1]),
            r=float(points[index].radius),
        )
        for index in order
    ]
    return [*circles, *_names(points, places, height)]


def _names(points: Sequence[Point], places: Mapping[int, draw.Place], height: int) -> list[Html]:
    """Each name where it covers no other, and best no point: to the right, the left, above, below.

    A place must be free on a phone and on a desk alike, since one drawing serves both.
    """
    circles = {
        wide: [
            (x * wide - r, y - r, x * wide + r, y + r)
            for index, (x, y) in places.items()
            for r in (points[index].radius + 1,)
        ]
        for wide in (PHONE, DESK)
    }
    taken: dict[int, list[Box]] = {PHONE: [], DESK: []}
    found = []
    for index, point in enumerate(points):
        x, y = places[index]
        for strict, (anchor, dx, dy) in _tries(point):
            boxes = {w: _box(point.name, anchor, x * w + dx, y + dy) for w in taken}
            if all(_free(boxes[w], taken[w] + circles[w] * strict, w, height) for w in taken):
                for wide, box in boxes.items():
                    taken[wide].append(box)
                kind, left = f"name {point.kind}".strip(), f"{100 * x:.2f}%"
                found.append(draw.words(left, y + dy, point.name, kind=kind, anchor=anchor, dx=dx))
                break
    return found


def _tries(point: Point) -> list[tuple[bool, tuple[str, float, float]]]:
    if not point.name:
        return []
    return [(strict, side) for strict in (True, False) for side in _sides(point.radius)]


def _sides(radius: float) -> list[tuple[str, float, float]]:
    """Where a name may begin, be centred, or end: pixels across and down from its point."""
    far, near = radius + 5, radius + 1
    above, below = -far, far + 10
    beside = [
        ("start", far, 4.0),
        ("end", -far, 4.0),
        ("middle", 0.0, above),
        ("middle", 0.0, below),
    ]
    heights = (above, below, above - LINE, below + LINE)
    return beside + [
        (anchor, dx, y) for y in heights for anchor, dx in (("start", near), ("end", -near))
    ]


def _box(name: str, anchor: str, x: float, y: float) -> Box:
    wide = LETTER * len(name)
    left = {"start": x, "middle": x - wide / 2, "end": x - wide}[anchor]
    return left, y - LINE + 4, left + wide, y + 4


def _free(box: Box, taken: Sequence[Box], width: int, height: int) -> bool:
    left, top, right, bottom = box
    if left < -4 or right > width + 4 or top < 0 or bottom > height:
        return False
    return not any(left < c and a < right and top < d and b < bottom for a, b, c, d in taken)
