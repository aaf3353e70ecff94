"""A captured graph -> the calls that a quantizer may touch, by the names of their layers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from minuet.contracts.errors import RequestError

if TYPE_CHECKING:
    from torch.fx import GraphModule, Node


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One use of a convolution or linear layer; a layer is called once or more a step."""

    layer: str  # the name of its weight, less ".weight"
    index: int  # the layer's calls are counted from 0, in the program's order
    kind: str  # conv2d or linear
    node: Node

    @property
    def key(self) -> str:
        """What its ranges are stored under."""
        return f"{self.layer}@{self.index}"


def calls(graph_module: GraphModule) -> tuple[Call, ...]:
    """Every convolution and linear call of an unlifted program, in order.

    Only calls whose weight is a parameter of its own: a product of two activations has no name.
    """
    import torch

    kinds = {torch.ops.aten.conv2d.default: "conv2d", torch.ops.aten.linear.default: "linear"}
    seen: Counter[str] = Counter()
    found: list[Call] = []
    for node in graph_module.graph.nodes:
        if node.op != "call_function" or node.target not in kinds:
            continue
        weight = node.args[1]
        if weight.op != "get_attr":
            continue
        layer = str(weight.target).removesuffix(".weight")
        found.append(Call(layer=layer, index=seen[layer], kind=kinds[node.target], node=node))
        seen[layer] += 1
    return tuple(found)


def constant(graph_module: GraphModule) -> frozenset[str]:
    """Layers that no input of the program reaches, as those of the noise level: always the same."""
    reached: set[Node] = set()
    for node in graph_module.graph.nodes:
        if node.op == "placeholder" or reached.intersection(node.all_input_nodes):
            reached.add(node)
    found = calls(graph_module)
    fed = {call.layer for call in found if call.node.args[0] in reached}
    return frozenset(call.layer for call in found) - fed


def matching(layers: Sequence[str], patterns: Sequence[str]) -> tuple[str, ...]:
    """The layers that any pattern names (shell-style: *, ?, [ab]), in order.

    Raises:
        RequestError: a pattern names none of them.
    """
    for pattern in patterns:
        if not any(fnmatchcase(layer, pattern) for layer in layers):
            raise RequestError(
                f"the pattern {pattern!r} matches no layer; there are {', '.join(layers)}."
            )
    return tuple(
        layer for layer in layers if any(fnmatchcase(layer, pattern) for pattern in patterns)
    )
