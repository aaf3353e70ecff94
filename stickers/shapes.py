"""Numbers become outlines: ellipses, blobs, capsules, stars and hearts as polygons."""

# Canvas units, y down, angles in degrees clockwise as seen. N: points of a polygon.

import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike

from minuet.stickers.rig import Points


@lru_cache(maxsize=64)
def _circle(count: int) -> Points:
    angle = np.linspace(0.0, 2.0 * math.pi, count, endpoint=False)
    circle = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    circle.setflags(write=False)
    return circle


@lru_cache(maxsize=64)
def _half(count: int) -> Points:
    angle = np.linspace(0.0, math.pi, count)
    half = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    half.setflags(write=False)
    return half


def turned(points: ArrayLike, degrees: float, about: tuple[float, float] = (0.0, 0.0)) -> Points:
    """Points (N, 2) turned clockwise about a centre."""
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    centre = np.asarray(about, dtype=np.float64)
    offset = np.asarray(points, dtype=np.float64) - centre
    return np.asarray(offset @ np.array([[cos, sin], [-sin, cos]]) + centre)


def mirrored(points: ArrayLike) -> Points:
    """Points (N, 2) mirrored about the vertical axis."""
    return np.asarray(points, dtype=np.float64) * (-1.0, 1.0)


def scaled(
    points: ArrayLike, x: float, y: float, about: tuple[float, float] = (0.0, 0.0)
) -> Points:
    """Points (N, 2) scaled about a centre."""
    centre = np.asarray(about, dtype=np.float64)
    return (np.asarray(points, dtype=np.float64) - centre) * (x, y) + centre


def ellipse(
    x: float, y: float, rx: float, ry: float | None = None, *, degrees: float = 0.0, count: int = 36
) -> Points:
    """An ellipse about (x, y); a circle when `ry` is left out."""
    outline = _circle(count) * (rx, rx if ry is None else ry)
    return (turned(outline, degrees) if degrees else outline) + (x, y)


def superellipse(
    x: float,
    y: float,
    rx: float,
    ry: float,
    power: float = 3.0,
    *,
    degrees: float = 0.0,
    count: int = 56,
) -> Points:
    """|x/rx|^p + |y/ry|^p = 1: an ellipse at p = 2, nearer a box as p grows."""
    circle = _circle(count)
    outline = np.sign(circle) * np.abs(circle) ** (2.0 / power) * (rx, ry)
    return (turned(outline, degrees) if degrees else outline) + (x, y)


@lru_cache(maxsize=16)
def _catmull_rom(steps: int) -> Points:
    t = (np.arange(steps) / steps)[:, None]
    powers = np.concatenate([np.ones_like(t), t, t**2, t**3], axis=1)
    basis = np.array([[0, 2, 0, 0], [-1, 0, 1, 0], [2, -5, 4, -1], [-1, 3, -3, 1]]) / 2.0
    weights: Points = powers @ basis
    weights.setflags(write=False)
    return weights


def blob(points: ArrayLike, steps: int = 8) -> Points:
    """A closed Catmull-Rom curve through every given point: (N, 2) -> (N * steps, 2)."""
    knots = np.asarray(points, dtype=np.float64)
    padded = np.concatenate([knots[-1:], knots, knots[:2]])
    return _through(padded, steps)


def _through(padded: Points, steps: int) -> Points:
    """The curve between all but the first and last knot: (N, 2) -> ((N - 3) * steps, 2)."""
    windows = np.stack([padded[i : len(padded) - 3 + i] for i in range(4)], axis=1)
    return np.asarray(_catmull_rom(steps) @ windows).reshape(-1, 2)


def curve(points: ArrayLike, steps: int = 8) -> Points:
    """An open Catmull-Rom curve: (N, 2) -> ((N - 1) * steps + 1, 2)."""
    knots = np.asarray(points, dtype=np.float64)
    first, last = 2 * knots[0] - knots[1], 2 * knots[-1] - knots[-2]
    padded = np.concatenate([first[None], knots, last[None]])
    smooth = _through(padded, steps)
    return np.concatenate([smooth, knots[-1:]])


def capsule(
    start: tuple[float, float],
    end: tuple[float, float],
    radius: float,
    end_radius: float | None = None,
    *,
    count: int = 12,
) -> Points:
    """Two half circles joined: a limb; `end_radius` makes it taper."""
    angle = math.atan2(end[1] - start[1], end[0] - start[0])
    halves = []
    for centre, size, turn in (
        (start, radius, 0.5 * math.pi),
        (end, radius if end_radius is None else end_radius, -0.5 * math.pi),
    ):
        halves.append(turned(_half(count), math.degrees(angle + turn)) * size + centre)
    return np.concatenate(halves)


def star(
    x: float, y: float, outer: float, inner: float, tips: int = 5, *, degrees: float = -90.0
) -> Points:
    """A star of `tips` sharp tips: (2 * tips, 2), the first tip at `degrees`."""
    spokes = turned(_circle(2 * tips), degrees)
    spokes[0::2] *= outer
    spokes[1::2] *= inner
    return np.asarray(np.add(spokes, (x, y)))


def regular(x: float, y: float, radius: float, sides: int, *, degrees: float = -90.0) -> Points:
    """A regular polygon: (sides, 2)."""
    return turned(_circle(sides), degrees) * radius + (x, y)


def heart(x: float, y: float, size: float, *, count: int = 48) -> Points:
    """A heart about 2 * `size` wide, its middle at (x, y)."""
    cos, sin = _circle(count).T
    angle = np.arctan2(sin, cos)
    fall = 13 * np.cos(angle) - 5 * np.cos(2 * angle) - 2 * np.cos(3 * angle) - np.cos(4 * angle)
    return np.stack([x + size * np.sin(angle) ** 3, y - size * (fall + 2.5) / 16.0], axis=1)


def merged_circles(
    circles: Sequence[tuple[float, float, float]], centre: tuple[float, float], count: int = 120
) -> Points:
    """The outer edge of overlapping circles (x, y, radius), as seen from a centre inside them."""
    rays = _circle(count)
    farthest = np.full(count, 0.01)
    for x, y, radius in circles:
        offset = np.array([x - centre[0], y - centre[1]])
        along = rays @ offset
        inside = radius**2 - (offset @ offset - along**2)
        exits = np.where(inside > 0.0, along + np.sqrt(np.maximum(inside, 0.0)), 0.0)
        farthest = np.maximum(farthest, exits)
    return np.asarray(rays * farthest[:, None] + centre)


@lru_cache(maxsize=64)
def _sweep(start: float, stop: float, count: int) -> Points:
    angle = np.radians(np.linspace(start, stop, count))
    sweep = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    sweep.setflags(write=False)
    return sweep


def arc(
    x: float, y: float, rx: float, ry: float, start: float, stop: float, *, count: int = 14
) -> Points:
    """Part of an ellipse from `start` to `stop` degrees: 0 is right, 90 is below."""
    return _sweep(start, stop, count) * (rx, ry) + (x, y)


def rounded(points: ArrayLike, rounds: int = 2) -> Points:
    """Corners cut by Chaikin's rule: each round doubles the points."""
    corners = np.asarray(points, dtype=np.float64)
    for _ in range(rounds):
        following = np.roll(corners, -1, axis=0)
        pair = np.stack([0.75 * corners + 0.25 * following, 0.25 * corners + 0.75 * following], 1)
        corners = pair.reshape(-1, 2)
    return corners


def both_sides(right: Sequence[tuple[float, float]]) -> Points:
    """A closed outline from its right half, given from top to bottom: points at x = 0 once."""
    half = np.asarray(right, dtype=np.float64)
    inner = half[half[:, 0] > 0.0]
    return np.concatenate([half, mirrored(inner)[::-1]])
