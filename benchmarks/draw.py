"""Numbers -> places, and strokes that stretch to their column while words keep their size."""

# A drawing has two layers. Strokes are in units of STRETCH by pixels, stretched sideways, with
# lines that keep their width. Words and circles stand above them, placed by per cent. So one
# drawing fits a phone and a desk, and its words can be read on both.

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from minuet.benchmarks.page_html import Html, tag

STRETCH = 1000
EXTREMES = 10  # that are drawn at either end, however many samples there are
Place = tuple[float, float]  # units across, pixels down


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """Numbers -> places between 0 and 1."""

    low: float
    high: float
    log: bool = False  # equal steps are equal ratios

    def __call__(self, value: float) -> float:
        """Where a number lies; what is beyond an end lies on it."""
        value = min(max(value, self.low), self.high)
        if self.log:
            return math.log(value / self.low) / math.log(self.high / self.low)
        return (value - self.low) / (self.high - self.low)

    def x(self, value: float) -> float:
        """Units across."""
        return STRETCH * self(value)

    def left(self, value: float) -> str:
        """The same for words."""
        return f"{100 * self(value):.2f}%"

    def holds(self, value: float) -> bool:
        """Whether it is drawn where it is."""
        return self.low <= value <= self.high

    def ticks(self, wanted: int = 5) -> list[float]:
        """Round numbers on the scale."""
        decades = [value for value in _decades(self.low, self.high) if self.holds(value)]
        if self.log and len(decades) >= 3:
            whole = [value for value in decades if f"{value:e}".startswith("1.0")]
            return decades if len(decades) <= wanted + 3 else whole
        step = _step((self.high - self.low) / wanted)
        first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
        return [step * index for index in range(first, last + 1)]


def spanning(values: Iterable[float], *, log: bool = False, margin: float = 0.06) -> Scale:
    """A scale that holds all values, with room at its ends; of equal ones, some room around them.

    Raises:
        ValueError: no values.
    """
    found = list(values)
    low, high = min(found), max(found)
    if log:
        high = max(high, 1e-9)
        low = max(low, high / 1e6)
        room = max(high / low, 1.1) ** margin
        return Scale(low=low / room, high=high * room, log=True)
    room = max((high - low) * margin, abs(high) * 0.005, 1e-9)
    return Scale(low=low - room, high=high + room)


def ticks(top: float, wanted: int = 5) -> list[float]:
    """Round numbers from 0 to top, about `wanted` of them."""
    step = _step(top / wanted)
    return [step * index for index in range(int(top / step) + 1)]


def _step(rough: float) -> float:
    power = 10.0 ** math.floor(math.log10(rough))
    return next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough * (1 - 1e-9))


def _decades(low: float, high: float) -> list[float]:
    if low <= 0:
        return []
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    return [float(f"{factor}e{power}") for power in powers for factor in (1, 2, 5)]


def drawing(height: int, title: str, told: str, strokes: Sequence[Html], *above: object) -> Html:
    """A picture with its name and what it says, for those who hear it."""
    stretched = tag(
        "svg",
        strokes,
        viewBox=f"0 0 {STRETCH} {height}",
        preserveAspectRatio="none",
        width="100%",
        height=height,
    )
    return tag(
        "svg",
        tag("title", title),
        tag("desc", told),
        stretched,
        above,
        role="img",
        width="100%",
        height=height,
    )


def line(kind: str, x1: float, y1: float, x2: float, y2: float) -> Html:
    """A straight stroke."""
    return tag("line", class_=kind, x1=float(x1), y1=float(y1), x2=float(x2), y2=float(y2))


def path(kind: str, points: Iterable[Place], closed: bool = False) -> Html:
    """A stroke through places; a shape if it is closed."""
    words = "L".join(f"{_short(x)} {_short(y)}" for x, y in points)
    end = "Z" if closed else ""
    return tag("path", class_=kind, d=Html(f"M{words}{end}")) if words else Html("")


def dots(kind: str, points: Iterable[Place]) -> Html:
    """A round dot a place, all of one path: strokes without length, with round ends."""
    words = "".join(f"M{_short(x)} {_short(y)}h0" for x, y in points)
    return tag("path", class_=f"dots {kind}", d=Html(words)) if words else Html("")


def words(
    left: str, y: float, told: object, *, kind: str = "", anchor: str = "start", dx: float = 0
) -> Html:
    """Words at a place of the drawing."""
    return tag(
        "text",
        told,
        class_=kind or None,
        x=left,
        y=float(y),
        dx=float(dx) if dx else None,
        text_anchor=anchor if anchor != "start" else None,
    )


def flag(share: float, y: float, told: str, kind: str) -> Html:
    """Words beside an upright, on the side with more room."""
    left = f"{100 * share:.2f}%"
    if share > 0.5:
        return words(left, y, told, kind=kind, anchor="end", dx=-6)
    return words(left, y, told, kind=kind, dx=6)


def axis(scale: Scale, unit: str) -> Html:
    """Round numbers below drawings; the first bears the unit."""
    marks = [
        words(
            scale.left(value),
            14,
            f"{value:g}{'' if place else unit}".replace("-", "\N{MINUS SIGN}"),
            kind="soft",
            anchor="middle",
        )
        for place, value in enumerate(scale.ticks())
    ]
    return tag("svg", marks, width="100%", height=20, aria_hidden="true", class_="axis")


def grid(scale: Scale, height: float) -> list[Html]:
    """An upright hairline a round number."""
    return [line("grid", scale.x(v), 0, scale.x(v), height) for v in scale.ticks()]


def levels(scale: Scale, height: int, unit: str) -> tuple[list[Html], list[Html]]:
    """A level hairline a round number, and the numbers, with their unit in the corner."""
    downs = [(value, height * (1 - scale(value))) for value in scale.ticks(4)]
    lines = [line("grid", 0, y, STRETCH, y) for _, y in downs]
    told = [
        words("0%", y + 4, f"{value:g}", kind="soft", anchor="end", dx=-8) for value, y in downs
    ]
    return lines, [*told, words("0%", -10, unit, kind="soft")]


def thin(values: Sequence[float], most: int) -> list[int]:
    """Which of many values to draw, in order: every few-th, and the least and greatest of all."""
    count = len(values)
    if count <= most:
        return list(range(count))
    order = sorted(range(count), key=values.__getitem__)
    ends = order[:EXTREMES] + order[-EXTREMES:]
    return sorted({*range(0, count, math.ceil(count / most)), *ends})


def _short(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")
