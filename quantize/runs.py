"""A captured program and clips -> what it answers, and what its layers are given on the way."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from minuet.contracts.errors import RequestError
from minuet.contracts.tensors import Arrays
from minuet.quantize.layers import Call, calls

if TYPE_CHECKING:
    from torch import Tensor
    from torch.fx import GraphModule, Node

See = Callable[[Call, "Tensor", "Tensor"], None]  # a call, its activations, its answer


def outputs(program: Callable[..., Any], inputs: Iterable[Arrays]) -> list[NDArray[Any]]:
    """The program's first output for each of some clips."""
    import torch

    made = []
    with torch.no_grad():
        for one in inputs:
            found = program(*tensors_of(one))
            made.append((found if isinstance(found, torch.Tensor) else found[0]).numpy().copy())
    return made


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


def watched(
    graph_module: GraphModule, inputs: Iterable[Arrays], see: See, first: int = 0
) -> Iterator[Arrays]:
    """Run the program on each clip, and give the clip back once its calls have been seen.

    Args:
        graph_module: an exported program's `.module()`: parameters by name.
        inputs: named arrays, in the program's order; made one at a time.
        see: is shown every call of a layer.
        first: the number of the first clip, where others were seen before.

    Raises:
        RequestError: a clip that the program does not take.
    """
    import torch
    from torch.fx import Interpreter

    by_node = {call.node: call for call in calls(graph_module)}

    class Watch(Interpreter):
        def run_node(self, n: Node) -> Any:
            value = super().run_node(n)
            if call := by_node.get(n):
                see(call, self.env[n.args[0]], value)  # type: ignore[index]
            return value

    watch = Watch(graph_module)
    for at, one in enumerate(inputs, first):
        with torch.no_grad(), strangers_refused(one, at):
            watch.run(*tensors_of(one))
        yield one


def tensors_of(one: Arrays) -> tuple[Tensor, ...]:
    """A clip as a program takes it."""
    import torch

    return tuple(torch.from_numpy(np.ascontiguousarray(value)) for value in one.values())


@contextmanager
def strangers_refused(one: Arrays, clip: int) -> Generator[None]:
    """A clip that the program does not take is refused with its shapes."""
    try:
        yield
    except (RuntimeError, TypeError, AssertionError) as error:
        shapes = {name: value.shape for name, value in one.items()}
        raise RequestError(
            f"the program does not run on calibration input {clip} of shapes {shapes}: "
            f"{str(error).splitlines()[0][:200]}."
        ) from error
