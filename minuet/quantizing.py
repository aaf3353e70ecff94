"""What was asked of a quantization -> a recipe, its ranges and tensors, and what a search saw."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from minuet.commands.common import Out
from minuet.contracts.errors import RequestError
from minuet.contracts.tensors import Arrays
from minuet.findings import (
    mixed_line,
    mixed_picture,
    palettes_line,
    palettes_picture,
    recovered_line,
)
from minuet.nearness import frames_error
from minuet.quantize.recipe import Recipe
from minuet.quantize.runs import changed
from minuet.workpiece import Order, Work

if TYPE_CHECKING:
    from minuet.layer_times import Times
    from minuet.mixing import Wanted
    from minuet.quantize.calibrate import Ranges
    from minuet.quantize.recover import Recovered
    from minuet.quantize.smooth import Smoothing

SEARCHED, HELD = 4, 8  # stickers that a search looks at, and others that it is measured on
ABOVE_DB = 1.5  # what a search aims for above the floor: other stickers are other stickers
# What layers may become where only weights do; the boldest is the last.
CODES = {"int8-weights": ("weights",), "int4-weights": ("weights", "weights4")}


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A quantization, before it is weighed."""

    recipe: Recipe
    told: str  # of it, in a line
    ranges: Ranges = field(default_factory=dict)
    tensors: Arrays = field(default_factory=dict)
    search: dict[str, Any] = field(default_factory=dict)
    picture: str = ""  # SVG


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
    return replace(found, tensors=tensors, told=f"{found.told}; {recovered_line(recovered)}")


def _smooth_and_searched(work: Work) -> Found:
    from minuet.mixing import Wanted

    order = work.order
    wanted = Wanted(floor_db=order.floor_db + ABOVE_DB, share=order.share)
    with work.say.progress("rescaling channels"):
        smoothing = smoothed(work)
    with changed(work.module, smoothing.tensors):
        found = searched(work, wanted, calibrated(work))
    found = replace(found, tensors={**smoothing.tensors, **found.tensors})
    if smoothing.alpha is None:
        return found
    return replace(found, told=f"{found.told}; smoothed, alpha {smoothing.alpha:g}")


def smoothed(work: Work) -> Smoothing:
    """Channels rescaled where the program allows it, and where that brings it nearer to float."""
    from minuet.quantize.apply import FORMS
    from minuet.quantize.folds import folds
    from minuet.quantize.smooth import best_smoothing

    module, clips = work.module, list(work.clips(SEARCHED))
    every = dict.fromkeys(work.layers, "int8")
    found = folds(module)
    return best_smoothing(module, found, clips, every, FORMS["onnx"], frames_error)


def searched(work: Work, wanted: Wanted, ranges: Ranges) -> Found:
    """int8, int4 or float for each layer: the fastest in ONNX Runtime that is near enough."""
    from minuet.layer_times import layer_times

    with work.say.progress("timing every layer in float and in int8"):
        both = {"fp32": work.program, "int8": work.all_in_int8(ranges)}
        times = layer_times(both, work.layers, next(work.clips(1)), threads=work.order.threads)
    return _mixed(work, wanted, ranges, times)


def smallest(work: Work) -> Found:
    """Codes of weights alone, nothing calibrated: the fewest bytes that are near enough."""
    from minuet.mixing import Wanted

    order = work.order
    if order.by_hand:
        return _by_patterns(work, CODES[order.scheme][-1])
    floor_db = order.floor_db + ABOVE_DB
    wanted = Wanted(floor_db=floor_db, treatments=CODES[order.scheme], goal="size")
    return _mixed(work, wanted, {})


def _mixed(
    work: Work, wanted: Wanted, ranges: Ranges, times: Mapping[str, Times] | None = None
) -> Found:
    """What a search over the layers' treatments finds."""
    from minuet.mixing import Frames, mix
    from minuet.notes import Notes

    order, clips = work.order, work.shown(SEARCHED + HELD)
    known = {name: np.asarray(ends) for name, ends in ranges.items()}
    notes = Notes(order.notes("search"), [work.parameters, known, *clips])
    frames, seen, held = Frames(work.module, ranges), clips[:SEARCHED], clips[SEARCHED:]
    with work.say.progress("every layer in every way", total=len(work.layers)) as step:
        found, errors = mix(frames, work.layers, seen, held, wanted, notes, step, times)
    notes.forget()
    told = {key: value for key, value in asdict(found).items() if key != "tensors"}
    return Found(
        recipe=work.recipe(found.layers),
        told=mixed_line(found, wanted),
        ranges=ranges,
        tensors=found.tensors,
        search={**told, "times": times, "errors": errors},
        picture=mixed_picture(found, wanted),
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


def dynamic(work: Work) -> Found:
    """Linear layers that look at their input as it comes."""
    from minuet.quantize.layers import calls

    linear = {call.layer for call in calls(work.module) if call.kind == "linear"}
    return _by_patterns(work, "int8", among=linear)


def palettes(work: Work) -> Found:
    """A palette of its own for every layer."""
    import shutil

    from minuet.palettizing import Asked, Clips, Steps, search

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
        told=palettes_line(made.found),
        tensors=made.tensors,
        search={**asdict(made.found), "errors": made.errors},
        picture=palettes_picture(made.found, asked),
    )


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
    from minuet.calibrating import strata
    from minuet.quantize.calibrate import calibrate

    order, notes, module = work.order, work.order.notes("calibration"), work.module
    if unseen := strata(order.seed, order.clips).unseen:
        work.say.warn(unseen)
    with work.say.progress("calibrating", total=order.clips) as step:

        def drawn() -> Iterator[Arrays]:
            for inputs in work.clips(order.clips):
                yield inputs
                step()

        ranges = calibrate(module, drawn(), order.method, notes)
    notes.unlink(missing_ok=True)
    return ranges


def _by_patterns(
    work: Work,
    treatment: str,
    ranges: Ranges | None = None,
    among: Collection[str] | None = None,
) -> Found:
    """One treatment for all layers but those that are kept."""
    from minuet.quantize.layers import constant
    from minuet.quantize.recipe import treatments

    order = work.order
    floats = (*(order.keep_float or ()), *sorted(constant(work.module)))
    halves = order.keep_activations or ()
    layers = treatments(work.layers, floats, halves, treatment, among)
    recipe = work.recipe(layers, floats, halves)
    counts = Counter(layers.values())
    told = ", ".join(f"{count} layers {word}" for word, count in sorted(counts.items()))
    return Found(recipe=recipe, told=told, ranges=ranges or {})
