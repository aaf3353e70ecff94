"""Function and inputs -> the largest value of each operation, and where float16 is too small."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from minuet.contracts.errors import RequestError
from minuet.contracts.hazard import Hazard
from minuet.runtimes.mil.evaluate import Rules, evaluate
from minuet.runtimes.mil.package import Block, Operation, load_functions

HALF_MAX = 65504.0  # the largest float16
# Results from which on the engine's own form gives 0, and who measured it: softplus from 10.408
# on; logsumexp where the sum of exponentials leaves float16, log(65504).
CLIFFS = {
    "softplus": (10.4, "apple/coremltools issue 2687"),
    "reduce_log_sum_exp": (math.log(HALF_MAX), "apple/coremltools issue 2690"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Range:
    """What one operation gave before it was rounded."""

    place: str
    op: str
    largest: float  # of |x|, among the finite
    overflows: int  # finite values beyond float16; what only inherits infinity is not counted
    strange: int  # values that were infinite or no numbers already


def ranges(
    function: Block, inputs: Mapping[str, Tensor], rounding: str = "fp16"
) -> tuple[dict[str, Tensor], tuple[Range, ...]]:
    """Outputs, and the range of every floating result in the order of evaluation."""
    found: list[Range] = []

    def watch(op: Operation, result: Tensor) -> None:
        if result.is_floating_point() and result.numel():
            found.append(_range(op, result))

    outputs = evaluate(function, inputs, Rules(rounding, watch))
    return outputs, tuple(found)


def _range(op: Operation, result: Tensor) -> Range:
    size = result.float().abs()
    finite = torch.isfinite(size)
    kept = torch.where(finite, size, 0)
    # Halfway to the next float16 would be rounded down.
    beyond = kept >= HALF_MAX + 16
    return Range(
        place=op.name,
        op=op.kind,
        largest=float(kept.max()),
        overflows=int(beyond.sum()),
        strange=int((~finite).sum()),
    )


def value_hazards(package: Path, inputs: Mapping[str, Tensor]) -> tuple[Hazard, ...]:
    """What one run in float16 shows of every function; that it could not be run is told as well.

    Functions of other sizes are given the same inputs, repeated or cropped; of them only what the
    default one does not show is told.
    """
    found: tuple[Hazard, ...] = ()
    try:
        for at, (name, function) in enumerate(load_functions(package).items()):
            seen = {(one.place, one.op) for one in found}
            rows = [one for one in _shown(function, inputs) if (one.place, one.op) not in seen]
            told = f", in function {name}" if at else ""
            found += tuple(replace(one, what=one.what + told) for one in rows)
    except RequestError as error:
        return (
            Hazard(
                place="",
                op="program",
                what=f"not run in float16, so that overflow would not be seen: {error}",
                fix="try it on a device",
            ),
        )
    return found


def _shown(function: Block, inputs: Mapping[str, Tensor]) -> tuple[Hazard, ...]:
    fitted = {one.name: _fitted(inputs[one.name], one.shape) for one in function.inputs}
    return range_hazards(ranges(function, fitted)[1])


def _fitted(value: Tensor, shape: tuple[int | None, ...]) -> Tensor:
    """A value repeated or cropped along each axis whose size is another one."""
    if value.dim() != len(shape):
        return value
    for axis, size in enumerate(shape):
        if size is not None and size != value.shape[axis]:
            value = value.index_select(axis, torch.arange(size) % value.shape[axis])
    return value


def range_hazards(found: tuple[Range, ...]) -> tuple[Hazard, ...]:
    """Where float16 overflowed first, and where a cliff of the engine was stepped over."""
    overflowed = [one for one in found if one.overflows]
    return tuple(_overflow(one) for one in overflowed) + tuple(
        _cliff(one) for one in found if one.op in CLIFFS and one.largest > CLIFFS[one.op][0]
    )


def _overflow(one: Range) -> Hazard:
    return Hazard(
        place=one.place,
        op=one.op,
        what=f"float16 overflows: {one.overflows} values up to {one.largest:.3g}",
        fix="scale its inputs down and its result up, or keep it in float32",
        source="this program, evaluated on these inputs",
    )


def _cliff(one: Range) -> Hazard:
    limit, source = CLIFFS[one.op]
    return Hazard(
        place=one.place,
        op=one.op,
        what=f"reaches {one.largest:.3g}; the Neural Engine gives 0 from {limit:.3g} on",
        fix="write max(x, 0) + log(1 + exp(-|x|)), or take the largest out before summing",
        source=source,
    )
