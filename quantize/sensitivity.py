"""A program and ways to treat its layers -> what each does to the program's whole output.

The error is that of the whole trajectory, all steps and the composition behind them, with one layer
treated and the rest in float: an error in a layer's own output says little of it (the same noise is
lost in one layer's texture, and in another turns a limb).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from minuet.contracts.errors import RequestError
from minuet.contracts.tensors import Arrays

if TYPE_CHECKING:
    from torch.fx import GraphModule

Floats = NDArray[np.floating[Any]]
Treat = Callable[[Floats], Floats]  # a weight -> the weight that the treated layer computes with
Error = Callable[[Sequence[NDArray[Any]], Sequence[NDArray[Any]]], float]


def sensitivities(
    graph_module: GraphModule,
    inputs: Sequence[Arrays],
    treatments: Mapping[str, Mapping[str, Treat]],
    error: Error,
    known: Mapping[str, Mapping[str, float]] | None = None,
) -> Iterator[tuple[str, dict[str, float]]]:
    """Each layer's error under each of its treatments, one layer at a time.

    Args:
        graph_module: an exported program's `.module()`: parameters by name; left as it was.
        inputs: the same for every treatment; named arrays in the program's order.
        treatments: layer -> name -> how its weight is changed.
        error: of the program's outputs, treated and not, one list entry for each input.
        known: what an interrupted run has found already; it is not measured again.

    Raises:
        RequestError: no inputs, a layer that the program has not, or outputs not finite.
    """
    if not inputs:
        raise RequestError("sensitivity is measured on clips, and there are none; give one.")
    known = known or {}
    reference: list[NDArray[Any]] = []
    for layer, ways in treatments.items():
        found = dict(known.get(layer, {}))
        missing = [name for name in ways if name not in found]
        if missing and not reference:
            reference = outputs(graph_module, inputs)
        for name in missing:
            treated = _treated(graph_module, layer, ways[name], inputs)
            found[name] = error(treated, reference)
            if not math.isfinite(found[name]):
                raise RequestError(
                    f"the program's output is not finite with {layer} as {name}; "
                    "the weights or the clips are broken."
                )
        yield layer, found


@contextmanager
def changed(graph_module: GraphModule, tensors: Arrays) -> Generator[None]:
    """Other values in some parameters, for as long as it takes; float32."""
    import torch

    parameters = {name: graph_module.get_parameter(name) for name in tensors}
    before = {name: parameter.data for name, parameter in parameters.items()}
    try:
        for name, parameter in parameters.items():
            parameter.data = torch.from_numpy(np.ascontiguousarray(tensors[name], np.float32))
        yield
    finally:
        for name, parameter in parameters.items():
            parameter.data = before[name]


def outputs(program: Callable[..., Any], inputs: Sequence[Arrays]) -> list[NDArray[Any]]:
    """The program's first output for each of some inputs."""
    import torch

    made = []
    with torch.no_grad():
        for one in inputs:
            found = program(*(torch.from_numpy(np.ascontiguousarray(v)) for v in one.values()))
            made.append((found if isinstance(found, torch.Tensor) else found[0]).numpy().copy())
    return made


def _treated(
    graph_module: GraphModule, layer: str, treat: Treat, inputs: Sequence[Arrays]
) -> list[NDArray[Any]]:
    """Outputs with one layer's weight changed for as long as it takes."""
    try:
        weight = graph_module.get_parameter(f"{layer}.weight").detach().numpy()
    except AttributeError as error:
        raise RequestError(f"the program has no layer {layer!r}.") from error
    with changed(graph_module, {f"{layer}.weight": treat(weight)}):
        return outputs(graph_module, inputs)
