"""Seeded inputs through a captured program -> the energy of what every weight multiplies.

A layer's answer is a sum of weights times inputs; a weight that is off by e puts e^2 times the mean
square of its input into the answer. That mean square is known for each input channel and each tap
of a kernel; a weight of a zero in the padding multiplies nothing there.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from minuet.contracts.errors import RequestError
from minuet.contracts.tensors import Arrays
from minuet.quantize.layers import Call
from minuet.quantize.runs import watched

if TYPE_CHECKING:
    from torch import Tensor
    from torch.fx import GraphModule

Energies = Mapping[str, NDArray[np.float64]]  # by layer; each broadcasts to its weight's shape


def energies(graph_module: GraphModule, inputs: Iterable[Arrays]) -> Energies:
    """Run the program on every input; the mean square of what each weight multiplies.

    Args:
        graph_module: an exported program's `.module()`: parameters by name.
        inputs: named arrays, in the program's order.

    Returns:
        For a linear layer (1, inputs); for a convolution (outputs, channels a group, rows,
        columns), or 1 output where there is one group. The mean is over positions, calls and clips.

    Raises:
        RequestError: no inputs, inputs of another shape than the program's, or activations that
            are not finite.
    """
    seen: dict[str, list[NDArray[np.float64]]] = defaultdict(list)

    def see(call: Call, given: Tensor, _: Tensor) -> None:
        seen[call.layer].append(_energy(call, given, graph_module).numpy())

    for _ in watched(graph_module, inputs, see):
        pass
    if not seen:
        raise RequestError("energies are measured on clips, and there are none; give one.")
    found = {layer: np.mean(rows, axis=0) for layer, rows in seen.items()}
    if broken := [layer for layer, energy in found.items() if not np.isfinite(energy).all()]:
        raise RequestError(f"the input of {broken[0]} is not finite; weights or clips are broken.")
    return found


def _energy(call: Call, given: Tensor, graph_module: GraphModule) -> Tensor:
    """Of what one call's weight multiplies."""
    if call.kind == "linear":
        return given.double().square().reshape(-1, given.shape[-1]).mean(0, keepdim=True)
    return _of_taps(call, given, graph_module.get_parameter(f"{call.layer}.weight"))


def _of_taps(call: Call, given: Tensor, weight: Tensor) -> Tensor:
    """Each channel is unfolded as a picture of its own: a row a tap, and of it the mean."""
    from torch.nn import functional as F

    usual = (None, 1, 0, 1, 1)  # bias, stride, padding, dilation, groups
    told: tuple[Any, ...] = call.node.args[2:]
    stride, padding, dilation, groups = (*told, *usual[len(told) :])[1:]
    squares = given.double().square().mean(0).unsqueeze(1)
    taps = F.unfold(squares, weight.shape[2:], dilation, padding, stride).mean(-1)
    copies = 1 if groups == 1 else len(weight) // groups
    return taps.reshape(groups, *weight.shape[1:]).repeat_interleave(copies, 0)
