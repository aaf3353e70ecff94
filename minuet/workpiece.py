"""What was asked of a quantization -> the student at hand: its program, its layers, its clips."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from minuet.commands.common import Out
from minuet.contracts.tensors import Arrays
from minuet.quantize.recipe import Recipe

if TYPE_CHECKING:
    from torch.fx import GraphModule

    from minuet.export.capture import Program
    from minuet.models.student import Student
    from minuet.quantize.calibrate import Method, Ranges

# The network works at one size whatever the sticker's, so its ranges hold for every output size.
SIZE = 128
SHOWN = 2000  # the first address of stickers for a search, behind those of what is weighed
SHARE = 0.26  # of the bytes in float32: int8 codes and scales with a little float
BITS = 4.0  # palettes: a weight, in the mean
CLIPS = 32
PALETTE_CLIPS = 4  # each is seen by every palette of every layer


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

    def clips(self, count: int) -> Iterator[Arrays]:
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

    def recipe(
        self,
        layers: dict[str, str],
        keep_float: tuple[str, ...] = (),
        keep_activations: tuple[str, ...] = (),
    ) -> Recipe:
        """Of these treatments, and the patterns that they came from."""
        order = self.order
        return Recipe(
            scheme=order.scheme,
            keep_float=keep_float,
            keep_activations=keep_activations,
            layers=layers,
            method=order.method,
            clips=order.clips,
            seed=order.seed,
            student_sha256=self.student.sha256,
        )


def clips_of(scheme: str) -> int:
    """How many stickers a scheme looks at unless told otherwise."""
    return PALETTE_CLIPS if scheme.startswith("palettes") else CLIPS
