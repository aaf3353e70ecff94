"""Program and names of its nodes -> the smaller program that ends there."""

from __future__ import annotations

import string
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from minuet.contracts.errors import RequestError
from minuet.contracts.tensors import Signature, TensorSpec
from minuet.export.capture import Program
from minuet.export.quiet import quiet

if TYPE_CHECKING:
    from torch import Tensor


def cut(
    program: Program, names: Sequence[str], given: Mapping[str, Tensor] | None = None
) -> Program:
    """The same inputs; one output a node, called cut_0, cut_1, ... in the order of names.

    Args:
        given: nodes whose readers are handed this value instead, as one more input each: given_0,
            given_1, ... in order. The node itself is still computed where it is an output.

    Raises:
        RequestError: the program has no node of such a name.
    """
    import torch
    from torch import fx

    module: Any = program.exported.module(check_guards=False)
    known = {node.name: node for node in module.graph.nodes}
    if strange := [name for name in names if name not in known]:
        raise RequestError(f"the program has no node {strange[0]!r}.")
    ends = [known[name] for name in names]
    given = given or {}
    for at, name in enumerate(given):
        _replaced(module.graph, known[name], f"given_{at}")
    # A copy each: two outputs that share memory are one buffer to some runtimes.
    module.graph.output_node().args = (tuple(_copied(module.graph, end) for end in ends),)
    module.graph.set_codegen(fx.graph.CodeGen())  # flat tensors in, a flat tuple out
    module._forward_pre_hooks.clear()  # they ask for the inputs that it was captured with
    _drop_checks(module.graph)
    module.graph.eliminate_dead_code()
    module.recompile()
    with quiet(), torch.no_grad():
        inputs = (*program.inputs, *given.values())
        exported = torch.export.export(module, inputs, strict=False)
    outputs = tuple(_spec(f"cut_{i}", end.meta["val"]) for i, end in enumerate(ends))
    more = tuple(_spec(f"given_{i}", value) for i, value in enumerate(given.values()))
    signature = Signature(inputs=(*program.signature.inputs, *more), outputs=outputs)
    return Program(exported=exported, signature=signature, inputs=inputs)


def _replaced(graph: Any, node: Any, name: str) -> None:
    """Hand a node's readers a new input instead."""
    last = [one for one in graph.nodes if one.op == "placeholder"][-1]
    with graph.inserting_after(last):
        placeholder = graph.placeholder(name)
    placeholder.meta["val"] = node.meta["val"]
    node.replace_all_uses_with(placeholder)


def _copied(graph: Any, node: Any) -> Any:
    import torch

    with graph.inserting_before(graph.output_node()):
        return graph.call_function(torch.ops.aten.clone.default, (node,))


def _drop_checks(graph: Any) -> None:
    """Assertions have an effect, and would keep alive all that they look at."""
    for node in list(graph.nodes):
        if node.op == "call_function" and "_assert" in str(node.target):
            graph.erase_node(node)


def _spec(name: str, value: Tensor) -> TensorSpec:
    axes = string.ascii_uppercase[: value.dim()]
    dtype = str(value.dtype).removeprefix("torch.")
    return TensorSpec(name=name, axes=axes, shape=tuple(value.shape), dtype=dtype)
