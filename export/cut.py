"""Program and names of its nodes -> the smaller program that ends there."""

from __future__ import annotations

import string
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from minuet.contracts.errors import RequestError
from minuet.contracts.tensors import Signature, TensorSpec
from minuet.export.capture import Program
from minuet.export.quiet import quiet

if TYPE_CHECKING:
    from torch import Tensor


def cut(program: Program, names: Sequence[str]) -> Program:
    """The same inputs; one output a node, called cut_0, cut_1, ... in the order of names.

    Raises:
        RequestError: the program has no node of such a name.
    """
    import torch

    module: Any = program.exported.module(check_guards=False)
    known = {node.name: node for node in module.graph.nodes}
    if strange := [name for name in names if name not in known]:
        raise RequestError(f"the program has no node {strange[0]!r}.")
    ends = [known[name] for name in names]
    # A copy each: two outputs that share memory are one buffer to some runtimes.
    module.graph.output_node().args = (tuple(_copied(module.graph, end) for end in ends),)
    info = module.graph._codegen.pytree_info
    module.graph._codegen.pytree_info = info._replace(out_spec=None)
    _drop_checks(module.graph)
    module.graph.eliminate_dead_code()
    module.recompile()
    with quiet(), torch.no_grad():
        exported = torch.export.export(module, program.inputs, strict=False)
    outputs = tuple(_spec(f"cut_{i}", end.meta["val"]) for i, end in enumerate(ends))
    signature = Signature(inputs=program.signature.inputs, outputs=outputs)
    return Program(exported=exported, signature=signature, inputs=program.inputs)


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
