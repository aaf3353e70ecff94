"""A captured program and its quantization -> a program that can be differentiated by its numbers.

What rounding throws away has no gradient; it is passed straight through (Bengio et al. 2013, arXiv
1308.3432, sec. 4; of int8 Jacob et al. 2018, arXiv 1712.05877, sec. 3; of a palette's colours
Han et al. 2016, arXiv 1510.00149, sec. 3).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from minuet.contracts.tensors import Array, Arrays
from minuet.quantize.apply import (
    activation_codes,
    annotator,
    computed,
    form_of,
    packed,
    weight_spec,
)
from minuet.quantize.calibrate import Ranges
from minuet.quantize.groups import pack4
from minuet.quantize.layers import calls
from minuet.quantize.palettes import TABLE, Palette, nearest
from minuet.quantize.recipe import WEIGHTS4, Recipe
from minuet.quantize.scales import SMALLEST

if TYPE_CHECKING:
    from torch import Tensor
    from torch.fx import GraphModule

Tensors = Mapping[str, "Tensor"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Trainee:
    """A program, and the numbers in it that are trained."""

    module: GraphModule  # its output is float: see floating
    numbers: Arrays  # as they are, by name; float32
    parameters: Callable[[Tensors], dict[str, Tensor]]  # numbers -> the module's parameters

    def __call__(self, numbers: Tensors, inputs: tuple[Tensor, ...]) -> Tensor:
        """The program's output with these numbers."""
        from torch.func import functional_call

        made: Tensor = functional_call(self.module, self.parameters(numbers), inputs)
        return made


def floating(graph_module: GraphModule) -> GraphModule:
    """A program of tensors to one tensor: the first output, before it was rounded to bytes.

    It shares the parameters of the program that is given.
    """
    import torch
    from torch.fx import Graph, GraphModule, Node

    graph, copies = Graph(), dict[Node, Node]()
    graph.graph_copy(graph_module.graph, copies)
    made: Any = graph_module.graph.output_node().args[0]
    value = made[0] if isinstance(made, tuple | list) else made
    if value.target == torch.ops.aten.to.dtype and value.args[1] == torch.uint8:
        value = value.args[0]
    graph.output(copies[value])
    floats = GraphModule(graph_module, graph)
    floats.graph.eliminate_dead_code()
    floats.recompile()
    return floats


def of_palettes(graph_module: GraphModule, palettes: Mapping[str, Palette]) -> Trainee:
    """Trained are the tables, and all parameters of the program as well.

    A weight takes the nearest colour of its table, and gives its gradient to both: the table is
    moved, and the weight may come to another colour. (Tables alone gave back half as much.)

    Args:
        palettes: by layer.
    """
    tables = {f"{layer}.weight{TABLE}": one.values_K for layer, one in palettes.items()}

    def parameters(numbers: Tensors) -> dict[str, Tensor]:
        made = {name: one for name, one in numbers.items() if name not in tables}
        for name in tables:
            weight = name.removesuffix(TABLE)
            made[weight] = _coloured(numbers[weight], numbers[name])
        return made

    numbers = _parameters(graph_module) | tables
    return Trainee(module=floating(graph_module), numbers=numbers, parameters=parameters)


def _coloured(weight: Tensor, table_K: Tensor) -> Tensor:
    """palettes.nearest, straight through."""
    import torch

    rising_K = table_K.sort().values
    exact_K = rising_K.detach().double()
    borders = (exact_K[1:] + exact_K[:-1]) / 2
    codes = torch.bucketize(weight.detach().double(), borders)
    return rising_K.gather(0, codes.reshape(-1)).view_as(weight) + (weight - weight.detach())


def trained_palettes(
    numbers: Arrays, layers: Iterable[str]
) -> tuple[dict[str, Palette], dict[str, Array]]:
    """What of_palettes came to: palettes by layer, and the other parameters by name."""
    names = {layer: f"{layer}.weight" for layer in layers}
    made = {layer: nearest(numbers[one], numbers[one + TABLE]) for layer, one in names.items()}
    palettes = {name + end for name in names.values() for end in ("", TABLE)}
    return made, {name: one for name, one in numbers.items() if name not in palettes}


def of_int8(graph_module: GraphModule, recipe: Recipe, ranges: Ranges, target: str) -> Trainee:
    """Trained are all parameters; torchao's fake quantizers stand where a target will round int8.

    Activations keep the recipe's ranges. A weight's scale is that of the weight as it is now, and
    so are the int4 groups of a layer of weights4.
    """
    from torchao.quantization.pt2e.quantize_pt2e import prepare_qat_pt2e

    form, module = form_of(recipe.scheme, target), floating(graph_module)
    found = calls(module)
    codes = activation_codes(computed(found, recipe.layers, form), ranges, form)
    coded = frozenset(call.key for call in found if packed(call, recipe.layers, form))
    prepared = prepare_qat_pt2e(module, annotator(codes, coded, _latest_spec()))
    grouped = [f"{layer}.weight" for layer, word in recipe.layers.items() if word == WEIGHTS4]

    def parameters(numbers: Tensors) -> dict[str, Tensor]:
        return {**numbers, **{name: _in_groups(numbers[name]) for name in grouped}}

    return Trainee(module=prepared, numbers=_parameters(graph_module), parameters=parameters)


def _in_groups(weight: Tensor) -> Tensor:
    """groups.pack4, straight through."""
    import torch

    made = torch.from_numpy(pack4(weight.detach().numpy()).unpack())
    return made + (weight - weight.detach())


def _latest_spec() -> Any:
    """weight_spec, by a fake quantizer: torchao's remembers the widest range of all training.

    Who exports the weight knows the last one alone, and computes its scale from it.
    """
    from torchao.quantization.pt2e.fake_quantize import FakeQuantize
    from torchao.quantization.pt2e.observer import PerChannelMinMaxObserver

    class Latest(FakeQuantize):  # type: ignore[misc]
        def forward(self, X: Tensor) -> Any:
            self.activation_post_process.reset_min_max_vals()
            return super().forward(X)

    make = Latest.with_args(observer=PerChannelMinMaxObserver, ch_axis=0, eps=SMALLEST)
    return replace(weight_spec(), observer_or_fake_quant_ctr=make)


def _parameters(graph_module: GraphModule) -> dict[str, Array]:
    named = graph_module.named_parameters()
    return {name: np.array(one.detach().numpy(), np.float32) for name, one in named}
