"""What a search found -> one picture: how near to the original, for how much.

The drawing is SVG without scripts or fonts of its own, so that it opens anywhere and can be kept
beside a recipe.
"""

import html
import math
from collections.abc import Sequence
from dataclasses import dataclass

from minuet.benchmarks.draw import ticks

WIDTH, HEIGHT = 720, 420
LEFT, RIGHT, TOP, BOTTOM = 64, 24, 52, 56
LINE, MARKED, QUIET = "#2563eb", "#dc2626", "#6b7280"
MOST_DB = 60.0  # further up no eye sees more

Place = tuple[float, float]  # what it costs, decibels


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """A choice with a name."""

    label: str
    cost: float
    db: float  # infinite: the original
    chosen: bool = False


def front_svg(
    title: str, axis: str, line: Sequence[Place], marks: Sequence[Mark], floor_db: float
) -> str:
    """The line of the best, the marks beside it, and the floor; empty where there is no line.

    Args:
        axis: what is paid, with its unit.
        line: cost and decibels of the best choices, in any order.
    """
    if not line:
        return ""
    far = max(*(cost for cost, _ in line), *(mark.cost for mark in marks), 0.0) * 1.08
    known = [db for db in (*(db for _, db in line), *(mark.db for mark in marks)) if db < math.inf]
    known.append(floor_db)
    low, high = min(known) - 3, min(max(known) + 3, MOST_DB)
    frame = _Frame(far=far, low=low, high=high)
    points = " ".join(f"{frame.x(cost):.1f},{frame.y(db):.1f}" for cost, db in sorted(line))
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'font-family="system-ui, sans-serif" font-size="13">',
        f"<title>{html.escape(title)}</title>",
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>',
        _words(LEFT, 28, title, weight="600", size=16),
        *_grid(frame, axis),
        _floor(frame, floor_db),
        f'<polyline points="{points}" fill="none" stroke="{LINE}" stroke-width="2.5"/>',
        *(
            f'<circle cx="{frame.x(cost):.1f}" cy="{frame.y(db):.1f}" r="3" fill="{LINE}"/>'
            for cost, db in line
        ),
        *(_mark(frame, mark) for mark in marks),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Frame:
    """Numbers -> places on the drawing."""

    far: float  # the cost at the right edge; at the left one it is 0
    low: float  # dB
    high: float

    def x(self, cost: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * cost / self.far

    def y(self, db: float) -> float:
        share = (min(db, self.high) - self.low) / (self.high - self.low)
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * share


def _grid(frame: _Frame, axis: str) -> list[str]:
    bottom, right = HEIGHT - BOTTOM, WIDTH - RIGHT
    parts = []
    for cost in ticks(frame.far):
        if cost <= frame.far:
            parts += [
                _rule(frame.x(cost), TOP, frame.x(cost), bottom),
                _words(frame.x(cost), bottom + 18, f"{cost:g}", anchor="middle", color=QUIET),
            ]
    for db in range(int(frame.low // 5 + 1) * 5, int(frame.high) + 1, 5):
        parts += [
            _rule(LEFT, frame.y(db), right, frame.y(db)),
            _words(LEFT - 8, frame.y(db) + 4, f"{db}", anchor="end", color=QUIET),
        ]
    middle = (LEFT + right) / 2
    parts.append(_words(middle, HEIGHT - 14, axis, anchor="middle"))
    parts.append(_words(LEFT - 8, TOP - 8, "dB", anchor="end"))
    return parts


def _floor(frame: _Frame, db: float) -> str:
    y = frame.y(db)
    return (
        f'<line x1="{LEFT}" y1="{y:.1f}" x2="{WIDTH - RIGHT}" y2="{y:.1f}" stroke="{MARKED}" '
        f'stroke-dasharray="5 4"/>'
        + _words(WIDTH - RIGHT, y + 16, f"asked: {db:g} dB", anchor="end", color=MARKED)
    )


def _mark(frame: _Frame, mark: Mark) -> str:
    x, y, color = frame.x(mark.cost), frame.y(mark.db), MARKED if mark.chosen else "#111"
    left = x > WIDTH * 0.7
    exact = math.isinf(mark.db)
    words = f"{mark.label}: {mark.cost:.3g}, {'exact' if exact else f'{mark.db:.1f} dB'}"
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="6" fill="{color}"/>' + _words(
        x - 11 if left else x + 11, y + 4, words, anchor="end" if left else "start", color=color
    )


def _rule(x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="#e5e7eb"/>'


def _words(
    x: float,
    y: float,
    text: str,
    *,
    anchor: str = "start",
    color: str = "#111",
    weight: str = "400",
    size: int = 13,
) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{color}" '
        f'font-weight="{weight}" font-size="{size}" paint-order="stroke" stroke="#fff" '
        f'stroke-width="4">{html.escape(text)}</text>'
    )
