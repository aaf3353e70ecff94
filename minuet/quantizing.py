"""What was asked of a quantization -> a recipe, its ranges and tensors, and what a search saw."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from minuet.commands.common import Out
from minuet.contracts.errors import RequestError
from minuet.contracts.tensors import Arrays
from minuet.quantize.recipe import Recipe
from minuet.quantize.sensitivity import changed

if TYPE_CHECKING:
    from torch.fx import GraphModule

    from minuet.export.capture import Program
    from minuet.layer_times import Times
    from minuet.mixing import Mixed, Point, Wanted
    from minuet.models.student import Student
    from minuet.palettizing import Asked
    from minuet.palettizing import Found as Palettes
    from minuet.quantize.calibrate import Method, Ranges
    from minuet.quantize.recover import Recovered
    from minuet.quantize.smooth import Smoothing

# The network works at one size whatever the sticker's, so its ranges hold for every output size.
SIZE = 128
SEARCHED, HELD = 4, 8  # stickers that a search looks at, and others that it is measured on
SHOWN = 2000  # their first address, behind those of what is weighed
ABOVE_DB = 1.5  # what a search aims for above the floor: other stickers are other stickers
SHARE = 0.26  # of the bytes in float32: int8 codes and scales with a little float
BITS = 4.0  # palettes: a weight, in the mean
CLIPS = 32
PALETTE_CLIPS = 4  # each is seen by every palette of every layer
# What layers may become where only weights do; the boldest is the last.
CODES = {"int8-weights": ("weights",), "int4-weights": ("weights", "weights4")}


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What was asked."""

    student: Path
    out: Path
    scheme: str
    clips: int = CLIPS
    method: Method
    keep_float: tuple[str, ...] | None = None  # None: a search finds them, or nothing is kept
    keep_activations: tuple[str, ...] | None = None
    bits: float = BITS
    floor_db: float
    share: float = SHARE
    recover: int = 0  # steps of training
    threads: int = 0
    seed: int = 0

    @property
    def by_hand(self) -> bool:
        """Whether patterns say what becomes of layers."""
        return self.keep_float is not None or self.keep_activations is not None

    def notes(self, kind: str) -> Path:
        """Where an interrupted run left what it knew."""
        return self.out.absolute().with_name(f".{self.out.name}.{kind}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A quantization, before it is weighed."""

    recipe: Recipe
    told: str  # of it, in a line
    ranges: Ranges = field(default_factory=dict)
    tensors: Arrays = field(default_factory=dict)
    search: dict[str, Any] = field(default_factory=dict)
    picture: str = ""  # SVG


class Work:
    """A student at hand, captured once."""

    def __init__(self, order: Order, say: Out) -> None:
        from minuet.models.student import load_student

        self.order, self.say = order, say
        self.student: Student = load_student(order.student)

    @cached_property
    def program(self) -> Program:
        """At the size that the network works at."""
        from minuet.export.capture import capture

        animator = self.student.animator(SIZE)
        signature = animator.signature()
        with self.say.progress(f"capturing {self.order.student}"):
            return capture(animator, next(iter(self.clips(1))), signature)

    @cached_property
    def module(self) -> GraphModule:
        """The same with parameters by name."""
        return self.program.exported.module()

    @cached_property
    def layers(self) -> list[str]:
        """All that may be quantized, in order."""
        from minuet.quantize.layers import calls

        return list(dict.fromkeys(call.layer for call in calls(self.module)))

    def clips(self, count: int) -> Any:
        """Training stickers with captions and noise, every motion as often."""
        from minuet.calibrating import drawn_inputs

        signature = self.student.animator(SIZE).signature()
        return drawn_inputs(self.student, signature, self.order.seed, count)

    @property
    def parameters(self) -> Arrays:
        """Every parameter's values."""
        return {name: one.detach().numpy() for name, one in self.module.named_parameters()}

    def all_in_int8(self, ranges: Ranges) -> Program:
        """The program with every layer in int8, as ONNX has it."""
        from minuet.export.quiet import quiet
        from minuet.quantize.apply import quantize_program
        from minuet.quantize.layers import constant
        from minuet.quantize.recipe import treatments

        layers = treatments(self.layers, sorted(constant(self.module)), ())
        recipe, program = self.recipe(layers), self.program
        with quiet():
            made = quantize_program(program.exported, program.inputs, recipe, ranges, "onnx")
        return replace(program, exported=made)

    def shown(self, count: int) -> list[Arrays]:
        """Stickers of pairs that no training drew: for a search, and to measure what it chose.

        Where a student was never shown the like it is less sure, and rounding costs more: a search
        on training stickers was 8 dB too hopeful of the shipped student.
        """
        from minuet.sources import golden_inputs

        signature, seed = self.student.animator(SIZE).signature(), self.order.seed
        return [
            golden_inputs(self.student, signature, seed, SHOWN + at, "test") for at in range(count)
        ]

    @property
    def further(self) -> Callable[[int], Arrays]:
        """Any number of training stickers, by address."""
        from minuet.sources import golden_inputs

        signature, seed = self.student.animator(SIZE).signature(), self.order.seed
        return lambda at: golden_inputs(self.student, signature, seed, at, "train")

    def recipe(self, layers: dict[str, str], **more: Any) -> Recipe:
        """Of these treatments."""
        order = self.order
        return Recipe(
            scheme=order.scheme,
            keep_float=tuple(more.get("keep_float", ())),
            keep_activations=tuple(more.get("keep_activations", ())),
            layers=layers,
            method=order.method,
            clips=order.clips,
            seed=order.seed,
            student_sha256=self.student.sha256,
        )


def clips_of(scheme: str) -> int:
    """How many stickers a scheme looks at unless told otherwise."""
    return PALETTE_CLIPS if scheme.startswith("palettes") else CLIPS


def find(order: Order, say: Out) -> Found:
    """The quantization that was asked for.

    Raises:
        RequestError: patterns, clips or limits that do not fit the student.
        ParityError: a search found nothing that is near enough.
    """
    return HOW[order.scheme](Work(order, say))


def static(work: Work) -> Found:
    """Ranges of every call; which layers are worth it is said by patterns, or found."""
    order = work.order
    if order.scheme != "int8" or order.by_hand:
        found = _by_patterns(work, "int8", calibrated(work))
    else:
        found = _smooth_and_searched(work)
    if not order.recover:
        return found
    recovered = trained(work, found)
    tensors = recovered.numbers if recovered.best else found.tensors
    return replace(found, tensors=tensors, told=f"{found.told}; {_gained(recovered)}")


def _smooth_and_searched(work: Work) -> Found:
    with work.say.progress("rescaling channels"):
        smoothing = smoothed(work)
    with changed(work.module, smoothing.tensors):
        found = searched(work, calibrated(work))
    found = replace(found, tensors={**smoothing.tensors, **found.tensors})
    if smoothing.alpha is None:
        return found
    return replace(found, told=f"{found.told}; smoothed, alpha {smoothing.alpha:g}")


def smoothed(work: Work) -> Smoothing:
    """Channels rescaled where the program allows it, and where that brings it nearer to float."""
    from minuet.palettizing import frames_error
    from minuet.quantize.apply import FORMS
    from minuet.quantize.folds import folds
    from minuet.quantize.smooth import best_smoothing

    module, clips = work.module, list(work.clips(SEARCHED))
    every = dict.fromkeys(work.layers, "int8")
    found = folds(module)
    return best_smoothing(module, found, clips, every, FORMS["onnx"], frames_error)


def searched(work: Work, ranges: Ranges) -> Found:
    """int8, int4 or float for each layer: the fastest in ONNX Runtime that is near enough."""
    from minuet.layer_times import layer_times
    from minuet.mixing import Wanted

    order = work.order
    with work.say.progress("timing every layer in float and in int8"):
        both = {"fp32": work.program, "int8": work.all_in_int8(ranges)}
        times = layer_times(both, work.layers, next(work.clips(1)), threads=order.threads)
    wanted = Wanted(floor_db=order.floor_db + ABOVE_DB, share=order.share)
    return _mixed(work, ranges, times, wanted)


def smallest(work: Work) -> Found:
    """Codes of weights alone, nothing calibrated: the fewest bytes that are near enough."""
    from minuet.mixing import Wanted

    order = work.order
    if order.by_hand:
        return _by_patterns(work, CODES[order.scheme][-1])
    floor_db = order.floor_db + ABOVE_DB
    wanted = Wanted(floor_db=floor_db, treatments=CODES[order.scheme], goal="size")
    return _mixed(work, {}, {"fp32": {}, "int8": {}}, wanted)


def _mixed(work: Work, ranges: Ranges, times: Mapping[str, Times], wanted: Wanted) -> Found:
    """What a search over the layers' treatments finds."""
    from minuet.mixing import Frames, mix
    from minuet.notes import Notes

    order, clips = work.order, work.shown(SEARCHED + HELD)
    known = {name: np.asarray(ends) for name, ends in ranges.items()}
    notes = Notes(order.notes("search"), [work.parameters, known, *clips])
    frames, seen, held = Frames(work.module, ranges), clips[:SEARCHED], clips[SEARCHED:]
    with work.say.progress("every layer in every way", total=len(work.layers)) as step:
        found, errors = mix(frames, work.layers, times, seen, held, wanted, notes, step)
    notes.forget()
    told = {key: value for key, value in asdict(found).items() if key != "tensors"}
    return Found(
        recipe=work.recipe(found.layers),
        told=_told(found, wanted),
        ranges=ranges,
        tensors=found.tensors,
        search={**told, "times": times, "errors": errors},
        picture=_picture(found, wanted),
    )


def trained(work: Work, found: Found) -> Recovered:
    """The chosen program, trained against the float one with its rounding in place."""
    from minuet.export.quiet import quiet
    from minuet.quantize.apply import changed_program
    from minuet.quantize.recover import Course, recover
    from minuet.quantize.trainees import floating, of_int8

    order, notes = work.order, work.order.notes("training")
    clips = work.shown(SEARCHED + HELD)
    program = changed_program(work.program.exported, found.tensors)
    with quiet():
        trainee = of_int8(program.module(), found.recipe, found.ranges, "onnx")
    with work.say.progress("training against the float student", total=order.recover) as step:
        made = recover(
            trainee,
            floating(work.module),
            work.further,
            clips[SEARCHED:],
            Course(steps=order.recover),
            notes,
            step=step,
        )
    notes.unlink(missing_ok=True)
    return made


def _gained(made: Recovered) -> str:
    if not made.best:
        return f"{made.steps} steps of training brought nothing, and are not kept"
    return (
        f"{made.best} steps of training: from {made.before_db:.1f} to {made.after_db:.1f} dB in "
        "float arithmetic"
    )


def _told(found: Mixed, wanted: Wanted) -> str:
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


def _picture(found: Mixed, wanted: Wanted) -> str:
    """The search as SVG."""
    from minuet.benchmarks.draw_front import Mark, front_svg

    timed = bool(found.float_seconds)

    def cost(point: Point) -> float:
        return 1e3 * point.seconds if timed else point.size / 1e6

    def mark(label: str, point: Point, chosen: bool = False) -> Mark:
        return Mark(label=label, cost=cost(point), db=point.measured_db or 0.0, chosen=chosen)

    whole = Mark(
        label="float",
        cost=1e3 * found.float_seconds if timed else found.float_size / 1e6,
        db=math.inf,
    )
    marks = [
        *([whole] if timed else []),
        mark(f"{wanted.treatments[-1]} for all", found.uniform),
        mark("the nearest of its bytes", found.equal),
        mark("chosen", found.chosen, chosen=True),
    ]
    line = [(cost(point), point.predicted_db) for point in found.front]
    title = "How near to float, for how much time in ONNX Runtime"
    if not timed:
        title = "How near to float, in how many bytes of weights"
    axis = "ms of the layers, a clip" if timed else "MB of weights"
    return front_svg(title, axis, line, marks, wanted.floor_db)


def dynamic(work: Work) -> Found:
    """Linear layers that look at their input as it comes."""
    from minuet.quantize.layers import calls

    linear = {call.layer for call in calls(work.module) if call.kind == "linear"}
    return _by_patterns(work, "int8", among=linear)


def palettes(work: Work) -> Found:
    """A palette of its own for every layer."""
    import shutil

    from minuet.palettizing import Asked, Clips, Steps, search, told

    order, count = work.order, work.order.clips
    if count < 1:
        raise RequestError(f"a search needs clips, and {count} are asked for; give at least 1.")
    asked = Asked(bits=order.bits, floor_db=order.floor_db, recovery=order.recover)
    clips = work.shown(count + HELD)
    drawn = Clips(seen=clips[:count], held=clips[count:], training=work.further)
    notes, total = order.notes("search"), len(work.layers) + order.recover
    with work.say.progress("every layer under every palette", total=total) as step:
        steps = Steps(layer=step, training=step)
        made = search(work.module, work.layers, drawn, asked, notes, steps)
    shutil.rmtree(notes, ignore_errors=True)
    return Found(
        recipe=work.recipe(made.found.layers),
        told=told(made.found),
        tensors=made.tensors,
        search={**asdict(made.found), "errors": made.errors},
        picture=_palette_picture(made.found, asked),
    )


def _palette_picture(found: Palettes, asked: Asked) -> str:
    from minuet.benchmarks.draw_front import Mark, front_svg

    marks = [
        Mark(
            label=f"{found.uniform_bits} bits for all",
            cost=float(found.uniform_bits),
            db=found.uniform_db,
        ),
        Mark(label="chosen", cost=found.bits, db=found.measured_db, chosen=True),
    ]
    title = "How near to float, for how many bits a weight"
    return front_svg(title, "bits a weight", found.front, marks, asked.floor_db)


HOW: dict[str, Callable[[Work], Found]] = {
    "int8": static,
    "w8a16": static,
    "fp8": static,
    "int8-weights": smallest,
    "int4-weights": smallest,
    "int8-dynamic": dynamic,
    "palettes": palettes,
    "palettes-int8": palettes,
}


def calibrated(work: Work) -> Ranges:
    """What every call saw; an interrupted calibration goes on."""
    from minuet.quantize.calibrate import calibrate

    order, notes = work.order, work.order.notes("calibration")
    module = work.module
    with work.say.progress("calibrating", total=order.clips) as step:

        def drawn() -> Any:
            for inputs in work.clips(order.clips):
                yield inputs
                step()

        ranges = calibrate(module, drawn(), order.method, notes)
    notes.unlink(missing_ok=True)
    return ranges


def _by_patterns(
    work: Work, treatment: str, ranges: Ranges | None = None, among: Any = None
) -> Found:
    """One treatment for all layers but those that are kept."""
    from minuet.quantize.layers import constant
    from minuet.quantize.recipe import treatments

    order = work.order
    floats = (*_wanted(order.keep_float), *sorted(constant(work.module)))
    halves = _wanted(order.keep_activations)
    layers = treatments(work.layers, floats, halves, treatment, among)
    recipe = work.recipe(layers, keep_float=floats, keep_activations=halves)
    counts = Counter(layers.values())
    told = ", ".join(f"{count} layers {word}" for word, count in sorted(counts.items()))
    return Found(recipe=recipe, told=told, ranges=ranges or {})


def _wanted(patterns: Sequence[str] | None) -> tuple[str, ...]:
    return tuple(patterns or ())
