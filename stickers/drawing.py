"""Strokes become a rig: parts are collected, fitted into the safe area and put in order."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike

from minuet.stickers.palette import deep, luminance
from minuet.stickers.rig import BORDER, Color, Part, Points, Rig

SAFE = 0.80  # nothing, border included, lies farther from the middle on either axis at rest
MARGIN = 0.072  # room kept for outline and white border around every silhouette
SCALE = 0.86  # of the art's own units, when all of it fits
FLOOR = 0.76  # where the lowest part ends, so that there is room to jump

PIVOTS: dict[str, tuple[float, float]] = {
    "root": (0.0, 0.84),
    "body": (0.0, 0.62),
    "head": (0.0, 0.5),
    "arm_left": (-0.3, 0.3),
    "arm_right": (0.3, 0.3),
    "leg_left": (-0.15, 0.62),
    "leg_right": (0.15, 0.62),
    "ear_left": (-0.3, -0.4),
    "ear_right": (0.3, -0.4),
    "tail": (0.2, 0.56),
    "eyes": (0.0, -0.1),
    "accessory": (0.0, -0.5),
}


@dataclass(slots=True, kw_only=True)
class Anchors:
    """Where things are worn and held, in the art's units."""

    top: float = -0.56  # where a hat's rim sits
    hat_width: float = 1.0
    hat_x: float = 0.0
    eye_y: float = -0.1
    eye_x: float = 0.22  # distance of an eye from the middle of the face
    mouth: tuple[float, float] = (0.0, 0.08)
    neck: tuple[float, float] = (0.3, 0.24)  # half width and height of a scarf
    hand: tuple[float, float] = (0.52, 0.46)
    hand_radius: float = 0.09
    hand_color: Color | None = None  # None: no hand, held things lean on the body
    side: float = 0.5  # half width of the head at the ears
    ear_y: float | None = None  # None: at the eyes


@dataclass(slots=True)
class Drawing:
    """A rig being drawn."""

    parts: list[Part] = field(default_factory=list)
    pivots: dict[str, tuple[float, float]] = field(default_factory=lambda: dict(PIVOTS))
    anchors: Anchors = field(default_factory=Anchors)
    color: Color = (255.0, 255.0, 255.0)  # what accessories must stand out from
    toppers: list[int] = field(default_factory=list)  # parts a hat takes the place of
    rims: set[int] = field(default_factory=set)
    border: float = BORDER

    def fill(
        self,
        node: str,
        points: ArrayLike,
        color: Color,
        z: float,
        *,
        silhouette: bool = True,
        shade: bool = True,
        rim: bool = False,
    ) -> None:
        """A closed shape that gives the sticker its outer form; `rim` draws a faint edge."""
        if rim or (silhouette and luminance(color) > 222.0):
            self.rims.add(len(self.parts))
        polygon = np.asarray(points, dtype=np.float64)
        self.parts.append(
            Part(node=node, points=polygon, color=color, z=z, silhouette=silhouette, shade=shade)
        )

    def mark(
        self, node: str, points: ArrayLike, color: Color, z: float, *, shade: bool = False
    ) -> None:
        """A closed shape on top of another: a patch, a cheek, a glint."""
        self.fill(node, points, color, z, silhouette=False, shade=shade)

    def line(
        self,
        node: str,
        points: ArrayLike,
        color: Color,
        width: float,
        z: float,
        *,
        silhouette: bool = False,
        closed: bool = False,
    ) -> None:
        """An open stroke, or a closed one."""
        self.parts.append(
            Part(
                node=node,
                points=np.asarray(points, dtype=np.float64),
                color=color,
                kind="ring" if closed else "line",
                width=width,
                z=z,
                silhouette=silhouette,
                shade=False,
            )
        )

    def topper(self, since: int) -> None:
        """Parts drawn since then give way to a hat."""
        self.toppers.extend(range(since, len(self.parts)))

    def take_off_toppers(self) -> None:
        """Leave out what a hat would cut through."""
        kept = [index for index in range(len(self.parts)) if index not in set(self.toppers)]
        place = {old: new for new, old in enumerate(kept)}
        self.parts = [self.parts[index] for index in kept]
        self.rims = {place[index] for index in self.rims if index in place}
        self.toppers = []

    def finish(self) -> Rig:
        """The fitted rig, parts in painting order."""
        parts = sorted(self._with_rims(), key=lambda part: part.z)
        scale, shift = fit(parts)
        return Rig(
            parts=tuple(_placed(parts, scale, shift)),
            pivots={
                node: (x * scale + shift[0], y * scale + shift[1])
                for node, (x, y) in self.pivots.items()
            },
            border=self.border,
        )

    def _with_rims(self) -> Iterator[Part]:
        for index, part in enumerate(self.parts):
            if index in self.rims:
                yield Part(
                    node=part.node,
                    points=part.points,
                    color=deep(part.color, 0.26),
                    kind="ring",
                    width=0.028,
                    z=part.z - 0.004,
                    silhouette=False,
                    shade=False,
                )
            yield part


def _placed(parts: list[Part], scale: float, shift: tuple[float, float]) -> Iterator[Part]:
    """Parts scaled, then shifted; their points are views of one read-only array."""
    points = np.concatenate([part.points for part in parts]) * scale + shift
    points.setflags(write=False)
    start = 0
    for part in parts:
        stop = start + len(part.points)
        yield Part(
            node=part.node,
            points=points[start:stop],
            color=part.color,
            kind=part.kind,
            width=part.width * scale,
            z=part.z,
            silhouette=part.silhouette,
            shade=part.shade,
        )
        start = stop


def bounds(parts: Sequence[Part]) -> tuple[Points, Points]:
    """Lowest and highest (x, y) of what is painted, strokes included, border not."""
    starts = np.cumsum([0, *(len(part.points) for part in parts[:-1])])
    points = np.concatenate([part.points for part in parts])
    half = 0.5 * np.array([[part.width] for part in parts])
    low = np.minimum.reduceat(points, starts) - half
    high = np.maximum.reduceat(points, starts) + half
    return low.min(axis=0), high.max(axis=0)


def fit(parts: Sequence[Part]) -> tuple[float, tuple[float, float]]:
    """The scale and shift that bring the art into the safe area, feet near the floor."""
    low, high = bounds(parts)
    room = 2.0 * (SAFE - MARGIN)
    scale = min(SCALE, float(room / (high - low).max()))
    low, high = low * scale, high * scale
    limit = SAFE - MARGIN
    across = min(max(0.0, -limit - float(low[0])), limit - float(high[0]))
    height = float(high[1] - low[1])
    bottom = min(FLOOR - MARGIN, 0.5 * height + 0.05)
    down = max(bottom - float(high[1]), -limit - float(low[1]))
    return scale, (across, down)
