"""A captured program and a treatment for each layer -> the quantized program's numbers, in torch.

An interpreter walks the float program and rounds what a target would round: weights once, where a
layer is treated at all, and the input and output of every call that computes in integers. Nothing
is captured, annotated or exported again, so that one choice among many costs one run. The numbers
are those of apply.quantize_program but for ties: it divides weights by their scale, PT2E's kernel
multiplies by the reciprocal.
"""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from typing import TYPE_CHECKING, Any

import numpy as np

from minuet.contracts.errors import RequestError
from minuet.contracts.tensors import Array
from minuet.quantize.apply import Form, activation_codes, computed, packed
from minuet.quantize.calibrate import INPUT, OUTPUT, Ranges
from minuet.quantize.groups import pack4
from minuet.quantize.layers import Call, calls
from minuet.quantize.palettes import palettize
from minuet.quantize.recipe import FLOAT, INT8, PALETTES, TREATMENTS, WEIGHTS, WEIGHTS4
from minuet.quantize.scales import HIGH, LOW, Affine, pack

if TYPE_CHECKING:
    from torch import Tensor
    from torch.fx import GraphModule, Node

Weights = MutableMapping[tuple[str, str], Any]  # (layer, treatment) -> the weight it computes with


def simulated(
    graph_module: GraphModule,
    treatments: Mapping[str, str],
    ranges: Ranges,
    form: Form,
    weights: Weights | None = None,
) -> Any:
    """The program under some treatments: a torch.fx.Interpreter, to be called as the program is.

    Its `rounded` maps the key of every treated call to the weight that it computes with; a tensor
    that is put into its `biases` under such a key takes the place of the call's bias.

    Args:
        graph_module: an exported program's `.module()`: parameters by name; left as it was.
        treatments: layer -> one of recipe.TREATMENTS; a layer without one stays float.
        ranges: of every call that comes to compute in int8, as calibrate gives them.
        form: the target's row of apply.FORMS: which calls compute in int8, and in which codes.
        weights: what has been rounded already, kept between calls by who tries many treatments;
            of one program, as long as its parameters stay the same.

    Raises:
        RequestError: a layer that the program has not, a treatment that is none, a call that was
            not calibrated.
    """
    found = calls(graph_module)
    every = _complete(found, treatments)
    codes = activation_codes(computed(found, every, form), ranges, form)
    kept: Weights = {} if weights is None else weights
    rounded = {
        call.key: _rounded(graph_module, call.layer, every[call.layer], kept)
        for call in found
        if every[call.layer] in (WEIGHTS4, *PALETTES) or packed(call, every, form)
    }
    return _interpreter(graph_module, found, rounded, codes)


def fake_weight(weight: Array, treatment: str) -> Array:
    """The float32 weight that a layer so treated computes with; rows are output channels.

    Raises:
        RequestError: a treatment that is none.
    """
    if treatment in (INT8, WEIGHTS):
        return pack(weight).unpack()
    if treatment == WEIGHTS4:
        return pack4(weight).unpack()
    if treatment in PALETTES:
        return palettize(weight, PALETTES[treatment]).unpack()
    if treatment == FLOAT:
        return weight
    raise RequestError(f"a layer is one of {', '.join(TREATMENTS)}, not {treatment!r}.")


def fake(values: Tensor, code: Affine) -> Tensor:
    """Values -> codes -> values, any shape, as scales.encode and decode have it.

    It multiplies by 1 / scale as PT2E's quantize_per_tensor does, so that ties fall alike.
    """
    made = (values * (1.0 / code.scale)).round_().add_(code.zero_point).clamp_(LOW, HIGH)
    return made.sub_(code.zero_point).mul_(code.scale)


def _complete(found: tuple[Call, ...], treatments: Mapping[str, str]) -> dict[str, str]:
    """Every layer's treatment."""
    layers = dict.fromkeys((call.layer for call in found), FLOAT)
    if strangers := sorted(set(treatments) - set(layers)):
        raise RequestError(f"the program has no layer {strangers[0]!r}; quantize again.")
    return layers | dict(treatments)


def _rounded(graph_module: GraphModule, layer: str, treatment: str, kept: Weights) -> Tensor:
    import torch

    if (layer, treatment) not in kept:
        weight = graph_module.get_parameter(f"{layer}.weight").detach().numpy()
        made = np.ascontiguousarray(fake_weight(weight, treatment), np.float32)
        kept[layer, treatment] = torch.from_numpy(made)
    made_before: Tensor = kept[layer, treatment]
    return made_before


def _interpreter(
    graph_module: GraphModule,
    found: tuple[Call, ...],
    rounded: Mapping[str, Tensor],
    codes: Mapping[str, Affine],
) -> Any:
    """The program, with the treated calls' inputs, weights and outputs rounded."""
    import torch
    from torch.fx import Interpreter

    by_node = {call.node: call.key for call in found if call.key in rounded}

    class Rounding(Interpreter):
        def __init__(self) -> None:
            super().__init__(graph_module)
            self.rounded = rounded
            self.biases: dict[str, Tensor] = {}

        @torch.no_grad()
        def __call__(self, *inputs: Tensor) -> Any:
            return self.run(*inputs)

        def call_function(self, target: Any, args: Any, kwargs: Any) -> Any:
            key = by_node.get(self.now)
            if key is None:
                return super().call_function(target, args, kwargs)
            given, made = (codes.get(f"{key}.{end}") for end in (INPUT, OUTPUT))
            values = fake(args[0], given) if given else args[0]
            bias = (self.biases[key],) if key in self.biases else args[2:3]
            value = super().call_function(target, (values, rounded[key], *bias, *args[3:]), kwargs)
            return fake(value, made) if made else value

        def run_node(self, n: Node) -> Any:
            self.now = n
            return super().run_node(n)

    return Rounding()
