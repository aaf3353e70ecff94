"""Target -> the rules that its programs go through, in order."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from minuet.contracts.errors import RequestError
from minuet.export.capture import Program
from minuet.export.rewrites.attention import ExplicitAttention, OneKey
from minuet.export.rewrites.axes import FoldAxes
from minuet.export.rewrites.constants import FoldConstants, RemoveNothing
from minuet.export.rewrites.engine import Log, Rule, apply
from minuet.export.rewrites.expansion import DelayExpansion
from minuet.export.rewrites.norms import FlatGroupNorm
from minuet.export.rewrites.once import ComputedOnce
from minuet.export.rewrites.ranks import FoldMoves
from minuet.export.rewrites.video import FrameConvolutions
from minuet.export.rewrites.writes import GatherWrites
from minuet.export.rewrites.xnnpack import PlainReshapes, Slices, TanhGelu, TensorOperands

Rules = Callable[[], tuple[Rule, ...]]


def _common() -> tuple[Rule, ...]:
    # Last: a delayed expansion leaves the same projection in every step.
    return (
        *(RemoveNothing(), GatherWrites(), FoldConstants(), OneKey(), DelayExpansion()),
        ComputedOnce(),
    )


RULES: dict[str, Rules] = {
    "onnx": _common,
    "tensorrt": _common,
    "coreml": lambda: (
        *_common(),
        FlatGroupNorm(),
        FoldAxes(5),
        FoldMoves(5),
        RemoveNothing(),
    ),
    "executorch": lambda: (
        *_common(),
        FrameConvolutions(),
        ExplicitAttention(),
        TanhGelu(),
        TensorOperands(),
        Slices(),
        FoldMoves(5),
        PlainReshapes(),
        RemoveNothing(),
    ),
}


def rewrite(program: Program, target: str) -> tuple[Program, Log]:
    """A program in the form that a target runs best, and the log of what was done.

    The given program stays as it was, and shares its weights with the result.

    Raises:
        RequestError: an unknown target.
    """
    if target not in RULES:
        raise RequestError(f"there are no rules for {target!r}; choose from {', '.join(RULES)}.")
    exported, log = apply(program.exported, RULES[target]())
    return replace(program, exported=exported), log
