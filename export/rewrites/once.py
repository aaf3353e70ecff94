"""The same work in two places -> in one."""

from __future__ import annotations

import operator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from minuet.contracts.errors import Refusal
from minuet.export.rewrites.draft import Draft
from minuet.export.rewrites.engine import Rule

if TYPE_CHECKING:
    from torch.fx import Node


@dataclass(frozen=True, slots=True, kw_only=True)
class Repeated:
    """A node that computes what an earlier one has computed."""

    node: Node
    first: Node


class ComputedOnce(Rule):
    """An operator that another was given the same arguments is that one's value.

    In an unrolled sampler every step projects the caption to the same keys and values; ONNX's
    tools find that, ExecuTorch's do not.

    Equal because an operator without randomness gives the same for the same inputs, and in a
    functional graph nobody writes into what it gave. Refused: random operators, operators of
    other libraries, and neighbours of int8: where an int8 answer is read twice, executorch 1.4
    mistakes its layout.
    """

    name = "computed once"

    def __init__(self) -> None:
        self._seen: dict[str, Node] = {}

    def pattern(self, node: Node, draft: Draft) -> Repeated | None:
        # As text: to Python, the arguments 1, 1.0 and True are equal.
        given = f"{node.target} {node.args!r} {node.kwargs!r}"
        first = self._seen.setdefault(given, node)
        return Repeated(node=node, first=first) if first is not node else None

    def check(self, match: Repeated, draft: Draft) -> Refusal | None:
        import torch

        node, target = match.node, match.node.target
        if any(_codes(one) for at in (node, match.first) for one in _neighbours(at)):
            return Refusal(f"{node.name}: an answer in int8 has one reader")
        if target is operator.getitem:
            return None
        if not isinstance(target, torch._ops.OpOverload) or target.namespace != "aten":
            return Refusal(f"{node.name}: whether {target} always gives the same is not known")
        if torch.Tag.nondeterministic_seeded in target.tags:
            return Refusal(f"{node.name}: {target} may draw numbers")
        return None

    def rewrite(self, match: Repeated, draft: Draft) -> Node:
        return match.first


def _neighbours(node: Node) -> tuple[Node, ...]:
    return (*node.all_input_nodes, node, *node.users)


def _codes(node: Node) -> bool:
    """Whether a node quantizes or dequantizes."""
    return getattr(node.target, "namespace", "") == "quantized_decomposed"
