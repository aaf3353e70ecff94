"""A student -> int8, int4 or float for each layer: the best choice that stays near enough.

Each layer alone is treated in every way, and the frames of whole clips say what that costs; its
bytes, or a profile of the program in float and in int8, say what it saves. The sums are a forecast:
layers' errors are not quite independent. So the choice is measured on other clips, and where the
forecast was wrong the search goes on with what it was wrong by.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from minuet.contracts.codes import block_of
from minuet.contracts.errors import ParityError, RequestError
from minuet.contracts.tensors import Arrays
from minuet.layer_times import Times
from minuet.nearness import decibels_of, frames_error
from minuet.notes import Notes, Table
from minuet.quantize.layers import constant
from minuet.quantize.recipe import FLOAT, INT8, WEIGHTS, WEIGHTS4
from minuet.quantize.runs import changed, outputs
from minuet.quantize.search import ERROR, SECONDS, SIZE, Choice, Option, Options, least

if TYPE_CHECKING:
    from torch.fx import GraphModule

    from minuet.quantize.calibrate import Ranges

ROUNDS = 6  # of choosing and measuring
HARDLY_MORE = 1.02
SLACK_DB = 0.3  # so near to the floor a choice is good enough
STEP_DB = 0.05  # from a forecast that was too little to the next
LESS = 0.999  # of what the one before costs
FRONT_DB = (55.0, 50.0, 47.5, 45.0, 42.5, 40.0, 37.5, 35.0, 32.5, 30.0, 27.5, 25.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What a choice is to keep."""

    floor_db: float  # the least PSNR from the float student, on clips that no search saw
    share: float = 1.0  # the most bytes of the layers' weights, of those in float32
    treatments: tuple[str, ...] = (WEIGHTS, WEIGHTS4, INT8)  # the last is the boldest
    goal: str = SECONDS  # what is to be least; or SIZE

    def __post_init__(self) -> None:
        if not math.isfinite(self.floor_db):
            raise RequestError(f"--floor is in dB, not {self.floor_db}.")
        if not 0 < self.share <= 1:
            raise RequestError(f"--share-of-bytes is above 0 and at most 1, not {self.share}.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One choice, as it is told."""

    size: int  # bytes of the layers' weights
    seconds: float  # of the layers' operators, watched
    predicted_db: float
    measured_db: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Mixed:
    """What a search found."""

    layers: dict[str, str]
    tensors: Arrays  # biases that go with them
    chosen: Point
    uncorrected_db: float  # of the choice with its own biases
    uniform: Point  # the boldest for all
    equal: Point  # the nearest to float of the bytes of that
    float_seconds: float
    float_size: int  # in float32
    front: tuple[Point, ...]  # the best at each of FRONT_DB, by forecast


class Frames:
    """The student's frames under any treatment of its layers, beside its own."""

    def __init__(self, graph_module: GraphModule, ranges: Ranges, target: str = "onnx") -> None:
        from minuet.quantize.apply import FORMS

        self.program, self.ranges, self.form = graph_module, ranges, FORMS[target]
        self.rounded: dict[tuple[str, str], Any] = {}
        self.own: dict[int, list[Any]] = {}  # by the inputs' identity

    def error(
        self, layers: Mapping[str, str], inputs: Sequence[Arrays], tensors: Arrays | None = None
    ) -> float:
        """Mean square of what these treatments, and other biases, change."""
        from minuet.quantize.simulate import simulated

        if id(inputs) not in self.own:
            self.own[id(inputs)] = outputs(self.program, inputs)
        with changed(self.program, tensors or {}):
            treated = simulated(self.program, layers, self.ranges, self.form, self.rounded)
            return frames_error(outputs(treated, inputs), self.own[id(inputs)])

    def decibels(
        self, layers: Mapping[str, str], inputs: Sequence[Arrays], tensors: Arrays | None = None
    ) -> float:
        """The same as PSNR."""
        return decibels_of(self.error(layers, inputs, tensors))

    def biases(self, layers: Mapping[str, str], inputs: Sequence[Arrays]) -> Arrays:
        """Those under which these treatments keep every channel's mean."""
        from minuet.quantize.correct import corrected

        return corrected(self.program, inputs, layers, self.ranges, self.form).tensors


def mix(
    frames: Frames,
    layers: Sequence[str],
    seen: Sequence[Arrays],
    held: Sequence[Arrays],
    wanted: Wanted,
    notes: Notes,
    step: Callable[[], None],
    times: Mapping[str, Times] | None = None,
) -> tuple[Mixed, Table]:
    """Measure every layer in every way, choose the best, and measure the choice.

    Args:
        seen: inputs to search on.
        held: others to measure choices on.
        notes: what an interrupted search left is not measured again.
        times: of fp32 and int8, see layer_times; none: seconds are no matter, and told as 0.

    Raises:
        RequestError: no choice is so small.
        ParityError: none that is so small is so near.
    """
    parameter = frames.program.get_parameter
    sizes = {layer: tuple(parameter(f"{layer}.weight").shape) for layer in layers}
    whole = 4 * sum(math.prod(shape) for shape in sizes.values())
    table = _errors(frames, layers, seen, wanted, notes, step)
    options = options_of(table, sizes, times)
    most = int(wanted.share * whole)
    choice, tensors, measured = _nearest(frames, options, (seen, held), wanted, most)
    uniform = _all(options, wanted.treatments[-1])
    equal = least(options, ERROR, {SIZE: uniform.size})
    found = Mixed(
        layers=choice.layers,
        tensors=tensors,
        chosen=_point(choice, measured),
        uncorrected_db=frames.decibels(choice.layers, held),
        uniform=_point(uniform, frames.decibels(uniform.layers, held)),
        equal=_point(equal, frames.decibels(equal.layers, held)),
        float_seconds=sum(times["fp32"].values()) if times else 0.0,
        float_size=whole,
        front=tuple(_front(options, wanted.goal)),
    )
    return found, table


def options_of(
    table: Table, sizes: Mapping[str, tuple[int, ...]], times: Mapping[str, Times] | None
) -> Options:
    """Error, bytes and seconds of every treatment of every layer."""

    def seconds(layer: str, name: str) -> float:
        return times["int8" if name == INT8 else "fp32"].get(layer, 0.0) if times else 0.0

    return {
        layer: {
            name: Option(
                error=errors,
                size=weight_bytes(name, sizes[layer]),
                seconds=seconds(layer, name),
            )
            for name, errors in {FLOAT: 0.0, **table[layer]}.items()
        }
        for layer in sizes
    }


def weight_bytes(treatment: str, shape: tuple[int, ...]) -> int:
    """What a layer's weight takes in a file: codes and scales; float as float16, as it is kept."""
    count = math.prod(shape)
    if treatment == FLOAT:
        return 2 * count
    if treatment == WEIGHTS4:
        return -(-count // 2) + 2 * count // math.prod(block_of(shape, 4))
    return count + 4 * shape[0]


def _errors(
    frames: Frames,
    layers: Iterable[str],
    seen: Sequence[Arrays],
    wanted: Wanted,
    notes: Notes,
    step: Callable[[], None],
) -> Table:
    """What each treatment of each layer alone does to the frames.

    A layer whose input is always the same has none: openvino 2026.4 cannot compile packed weights
    beside a constant, and every runtime folds the whole layer away.
    """
    still, table = constant(frames.program), dict[str, dict[str, float]]()

    def error(layer: str, name: str) -> float:
        return frames.error({layer: name}, seen)

    for layer in layers:
        table[layer] = notes.measure(layer, () if layer in still else wanted.treatments, error)
        step()
    return table


def _nearest(
    frames: Frames,
    options: Options,
    clips: tuple[Sequence[Arrays], Sequence[Arrays]],
    wanted: Wanted,
    size: int,
) -> tuple[Choice, Arrays, float]:
    """The best choice that is measured to keep the floor, its biases corrected.

    Raises:
        ParityError: there is none.
    """
    (seen, held), aim, failed = clips, wanted.floor_db, -math.inf
    best: tuple[Choice, Arrays, float] | None = None
    tried: list[dict[str, str]] = []
    cost = attrgetter(wanted.goal)
    measured = -math.inf
    while len(tried) < ROUNDS:
        choice = _best(options, wanted.goal, aim, size)
        if choice.layers in tried:
            break
        tried.append(choice.layers)
        measured, tensors = _corrected(frames, choice, seen, held)
        above = measured - wanted.floor_db
        if above < 0:
            failed = max(failed, choice.decibels)
        elif best is None or cost(choice) < cost(best[0]):
            best = choice, tensors, measured
        if 0 <= above < SLACK_DB:
            break
        # Where the forecast would have had to be, and never where it is known to be too little.
        aim = max(choice.decibels - above, failed + STEP_DB)
    if best is None:
        raise ParityError(
            f"the best choice within the bytes is {measured:.1f} dB from the float student, and "
            f"{wanted.floor_db:g} dB are asked for. Nothing was written. Allow more bytes, or a "
            "lower --floor."
        )
    return best


def _corrected(
    frames: Frames, choice: Choice, seen: Sequence[Arrays], held: Sequence[Arrays]
) -> tuple[float, Arrays]:
    """With corrected biases where that helps on clips that they were not made from."""
    tensors = frames.biases(choice.layers, seen)
    own, corrected = (frames.decibels(choice.layers, held, one) for one in ({}, tensors))
    return (corrected, tensors) if corrected > own else (own, {})


def _best(options: Options, goal: str, db: float, size: int) -> Choice:
    """By forecast the least that keeps within db, and of those that cost hardly more the nearest.

    Where none is near enough, the nearest.
    """
    within = {SIZE: float(size)}
    try:
        cheapest = attrgetter(goal)(least(options, goal, {**within, ERROR: 10 ** (-db / 10)}))
    except RequestError:
        return least(options, ERROR, within)
    return least(options, ERROR, {**within, goal: cheapest * HARDLY_MORE})


def _all(options: Options, treatment: str) -> Choice:
    """The same for every layer that may have it."""
    rows = {
        layer: {treatment: row[treatment]} if treatment in row else row
        for layer, row in options.items()
    }
    return least(rows, SIZE, {})


def _front(options: Options, goal: str) -> Iterator[Point]:
    """The best at each distance, the nearest first; what gains nothing is left out."""
    cost, before = attrgetter(goal), math.inf
    size = sum(max(one.size for one in row.values()) for row in options.values())
    for db in FRONT_DB:
        one = _best(options, goal, db, size)
        if cost(one) < before * LESS:
            before = cost(one)
            yield _point(one)


def _point(choice: Choice, measured_db: float | None = None) -> Point:
    return Point(
        size=choice.size,
        seconds=choice.seconds,
        predicted_db=decibels_of(choice.error),
        measured_db=measured_db,
    )
