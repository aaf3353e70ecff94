"""A captured program -> the same function, its channels rescaled so that int8 loses less.

What a layer or a norm makes can be divided by s, channel by channel, and the layer that reads it
multiplied: nothing changes but how well codes fit. Xiao et al. 2023 (SmoothQuant, arXiv
2211.10438), eq. 4, weigh activations against weights. Departure: every s is a power of two, so that
float arithmetic gives the same bits as before, and float16 weights stay float16 numbers.

Where this can be done is found in minuet.quantize.folds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from minuet.contracts.errors import RequestError
from minuet.contracts.tensors import Array, Arrays
from minuet.quantize.apply import Form
from minuet.quantize.calibrate import Method, Ranges, calibrate
from minuet.quantize.folds import Fold
from minuet.quantize.layers import Call
from minuet.quantize.runs import changed, outputs, watched
from minuet.quantize.simulate import simulated

if TYPE_CHECKING:
    from torch import Tensor
    from torch.fx import GraphModule

# Shapes: C channels between a maker and its readers, I inputs of a reader.

ALPHAS = (0.3, 0.4, 0.5, 0.6, 0.7)  # how much of the difficulty moves from activations to weights
FURTHEST = 10  # powers of two that a channel is moved at most
FAINTEST = 1e-30  # a weight that is divided by
Doubles = NDArray[np.float64]
Error = Callable[[Sequence[Array], Sequence[Array]], float]  # of outputs, quantized and float
Peaks = Mapping[str, Doubles]  # maker's weight -> the largest |activation| of each channel, (C,)


@dataclass(frozen=True, slots=True, kw_only=True)
class Smoothing:
    """The best of some rescalings, by the error of the whole program."""

    alpha: float | None  # None: as it was is best
    tensors: dict[str, Array]  # parameters that changed, float32
    ranges: Ranges  # calibrated behind the change
    errors: dict[str, float]  # by what was tried


def peaks(graph_module: GraphModule, folds: Sequence[Fold], inputs: Iterable[Arrays]) -> Peaks:
    """The largest absolute value of each channel that the readers of a fold see, over clips.

    Raises:
        RequestError: no clips, clips of another size, or activations that are not finite.
    """
    found = {fold.weight: np.zeros(len(fold.free_C)) for fold in folds}
    by_reader = {name: (fold, row) for fold in folds for name, row in fold.readers.items()}

    def see(call: Call, given: Tensor, _: Tensor) -> None:
        if row := by_reader.get(f"{call.layer}.weight"):
            fold, columns_I = row
            np.maximum.at(found[fold.weight], columns_I, _most(call, given))

    if not sum(1 for _ in watched(graph_module, inputs, see)):
        raise RequestError("there are no clips to smooth by; give at least one.")
    return found


def _most(call: Call, given: Tensor) -> Doubles:
    """The largest absolute value of each channel that a call reads, (I,)."""
    axis = 1 if call.kind == "conv2d" else given.ndim - 1
    most_I = given.abs().amax([at for at in range(given.ndim) if at != axis]).double().numpy()
    if not np.isfinite(most_I).all():
        raise RequestError(
            f"the activations at {call.key} are not finite; the weights or the clips are broken."
        )
    return np.asarray(most_I)


def smoothed(
    graph_module: GraphModule, folds: Sequence[Fold], seen: Peaks, alpha: float
) -> dict[str, Array]:
    """The parameters that change under s_j = max |X_j|^alpha / max |W_j|^(1 - alpha).

    Folds come in order, each behind those before: a layer may read one and make another.
    """
    if not 0 <= alpha <= 1:
        raise RequestError(f"alpha is from 0 to 1, not {alpha}.")
    made: dict[str, Array] = {}

    def value(name: str) -> Array:
        known: Array = made[name] if name in made else graph_module.get_parameter(name).numpy()
        return known

    for fold in folds:
        read_C = np.zeros(len(fold.free_C))
        for name, columns_I in fold.readers.items():
            np.maximum.at(read_C, columns_I, _largest(value(name)))
        wanted_C = seen[fold.weight] ** alpha / np.maximum(read_C, FAINTEST) ** (1 - alpha)
        scale_C = _powers(wanted_C, fold.free_C & (read_C > 0))
        for name in filter(None, (fold.weight, fold.bias)):
            made[name] = value(name) / _along(scale_C, value(name).ndim, 0)
        for name, columns_I in fold.readers.items():
            made[name] = value(name) * _along(scale_C[columns_I], value(name).ndim, 1)
    return made


def best_smoothing(
    graph_module: GraphModule,
    folds: Sequence[Fold],
    inputs: Sequence[Arrays],
    treatments: Mapping[str, str],
    form: Form,
    error: Error,
    method: Method | None = None,
    alphas: Sequence[float] = ALPHAS,
) -> Smoothing:
    """The rescaling under which the quantized program is nearest to the float one.

    Args:
        graph_module: left as it was.
        inputs: calibration clips: peaks, ranges and errors are all taken on them.
        treatments, form: as of simulate.simulated.
        error: of outputs, quantized and float, over all clips.

    Raises:
        RequestError: as calibrate and simulated.
    """
    seen = peaks(graph_module, folds, inputs)
    tried: dict[str, tuple[float | None, dict[str, Array]]] = {"as it was": (None, {})}
    if folds:
        tried |= {f"alpha {a:g}": (a, smoothed(graph_module, folds, seen, a)) for a in alphas}
    reference, errors, ranges = outputs(graph_module, inputs), dict[str, float](), {}
    for name, (_, tensors) in tried.items():
        with changed(graph_module, tensors):
            ranges[name] = calibrate(graph_module, inputs, method)
            made = outputs(simulated(graph_module, treatments, ranges[name], form), inputs)
            errors[name] = error(made, reference)
    best = min(errors, key=lambda name: errors[name])
    alpha, tensors = tried[best]
    return Smoothing(alpha=alpha, tensors=tensors, ranges=ranges[best], errors=errors)


def _powers(scale_C: Doubles, free_C: NDArray[np.bool_]) -> NDArray[np.float32]:
    """The nearest powers of two; 1 where nothing may move, or nothing is known."""
    usable_C = free_C & np.isfinite(scale_C) & (scale_C > 0)
    power_C = np.rint(np.log2(np.where(usable_C, scale_C, 1.0)))
    return np.asarray(np.exp2(np.clip(power_C, -FURTHEST, FURTHEST)), np.float32)


def _largest(weight: Array) -> Doubles:
    """The largest absolute weight of each input, (I,)."""
    others = tuple(at for at in range(weight.ndim) if at != 1)
    return np.asarray(np.abs(weight).max(axis=others), np.float64)


def _along(scales: NDArray[np.float32], rank: int, axis: int) -> NDArray[np.float32]:
    return np.asarray(scales.reshape([-1 if at == axis else 1 for at in range(rank)]))
