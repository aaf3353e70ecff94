"""What a quantization found -> a line for people, and a picture of what it chose among."""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING

from minuet.benchmarks.draw_front import Mark, front_svg

if TYPE_CHECKING:
    from minuet.mixing import Mixed, Point, Wanted
    from minuet.palettizing import Asked, Found
    from minuet.quantize.recover import Recovered


def mixed_line(found: Mixed, wanted: Wanted) -> str:
    """What layers became, and what that costs beside the boldest for all."""
    counts = Counter(found.layers.values())
    kinds = ", ".join(f"{count} {word}" for word, count in counts.most_common())
    boldest = wanted.treatments[-1]
    return (
        f"{kinds}: {_costs(found, found.chosen)} ({boldest} for all: "
        f"{_costs(found, found.uniform)}; of those bytes the nearest: "
        f"{found.equal.measured_db:.1f} dB)"
    )


def _costs(found: Mixed, point: Point) -> str:
    """A choice in words."""
    ms = f"{1e3 * point.seconds:.1f} of {1e3 * found.float_seconds:.1f} ms, "
    share = f"{point.size / found.float_size:.3f} of the bytes, {point.measured_db:.1f} dB"
    return (ms if found.float_seconds else "") + share


def mixed_picture(found: Mixed, wanted: Wanted) -> str:
    """The front as SVG: by time where that was measured, by bytes where it was not."""
    timed = bool(found.float_seconds)

    def cost(point: Point) -> float:
        return 1e3 * point.seconds if timed else point.size / 1e6

    def mark(label: str, point: Point, chosen: bool = False) -> Mark:
        return Mark(label=label, cost=cost(point), db=point.measured_db or 0.0, chosen=chosen)

    marks = [
        mark(f"{wanted.treatments[-1]} for all", found.uniform),
        mark("the nearest of its bytes", found.equal),
        mark("chosen", found.chosen, chosen=True),
    ]
    title, axis = "How near to float, in how many bytes of weights", "MB of weights"
    if timed:
        title = "How near to float, for how much time in ONNX Runtime"
        axis = "ms of the layers, a clip"
        marks = [Mark(label="float", cost=1e3 * found.float_seconds, db=math.inf), *marks]
    line = [(cost(point), point.predicted_db) for point in found.front]
    return front_svg(title, axis, line, marks, wanted.floor_db)


def palettes_line(found: Found) -> str:
    """What a search for palettes came to."""
    steps = f" after {found.trained} steps of training ({found.rounded_db:.1f} before)"
    return (
        f"{found.bits:.2f} bits a weight, {found.size / 1e6:.2f} MB of weights, "
        f"{found.measured_db:.1f} dB from the float student{steps if found.trained else ''} "
        f"({found.uniform_bits} bits for all: {found.uniform_db:.1f} dB)"
    )


def palettes_picture(found: Found, asked: Asked) -> str:
    """Its front as SVG."""
    bits = found.uniform_bits
    marks = [
        Mark(label=f"{bits} bits for all", cost=float(bits), db=found.uniform_db),
        Mark(label="chosen", cost=found.bits, db=found.measured_db, chosen=True),
    ]
    title = "How near to float, for how many bits a weight"
    return front_svg(title, "bits a weight", found.front, marks, asked.floor_db)


def recovered_line(made: Recovered) -> str:
    """What training brought."""
    if not made.best:
        return f"{made.steps} steps of training brought nothing, and are not kept"
    return (
        f"{made.best} steps of training: from {made.before_db:.1f} to {made.after_db:.1f} dB in "
        "float arithmetic"
    )
