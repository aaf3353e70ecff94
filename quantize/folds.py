"""A captured graph -> where channels may be rescaled without a change: who makes, who reads them.

A maker is a norm with an affine part, or a layer. Its channels' numbers are sent along the graph
in place of its activations: what only moves activations (reshape, permute, chunk) moves the numbers
likewise, a ReLU and a product with a number pass them, and a sum over tokens (attention's, of
values) keeps those that are the same for every token. A channel whose number arrives anywhere else
(a sum, a concatenation, a SiLU, a reader that takes it twice in unlike ways) stays as it is.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor
    from torch.fx import GraphModule, Node

# Shapes: C channels of a maker, I inputs of a reader.

Numbers = NDArray[np.int64]
LAYERS = {"conv2d": 1, "linear": -1}  # operator -> axis of its channels
NORMS = {"layer_norm": 2, "group_norm": 2, "batch_norm": 1}  # operator -> where its weight stands
MOVES = frozenset(
    {"reshape", "view", "permute", "transpose", "flatten", "unflatten", "squeeze", "unsqueeze"}
    | {"chunk", "split", "split_with_sizes", "unbind", "select", "slice", "expand", "repeat"}
    | {"contiguous", "clone", "detach", "to", "pixel_shuffle", "pixel_unshuffle"}
)
PASSES = frozenset({"relu", "relu_", "leaky_relu", "leaky_relu_"})
SCALES = frozenset({"mul", "div"})
NOTHING = np.empty(0, np.int64)
PRODUCTS = {"bmm": 1, "matmul": 1, "scaled_dot_product_attention": 2}  # where the values stand


@dataclass(frozen=True, slots=True, kw_only=True)
class Fold:
    """One maker, and the layers that read nothing of it but whole channels."""

    weight: str  # the maker's parameters
    bias: str  # "" without one
    readers: dict[str, Numbers]  # a layer's weight -> the channel that each of its inputs is, (I,)
    free_C: NDArray[np.bool_]  # channels that may be rescaled


@dataclass(slots=True, kw_only=True)
class _Trail:
    """Where a maker's channels have been seen."""

    free_C: NDArray[np.bool_]
    reads: dict[Node, Numbers] = field(default_factory=dict)

    def block(self, numbers: Any) -> None:
        self.free_C[np.unique(np.asarray(numbers, np.int64))] = False


def folds(graph_module: GraphModule) -> tuple[Fold, ...]:
    """Every maker of which at least one channel may be rescaled, in the program's order."""
    makers: dict[str, list[Node]] = defaultdict(list)
    for node in graph_module.graph.nodes:
        if name := _weight(node):
            makers[name].append(node)
    users = _users(graph_module)
    found = (_fold(graph_module, name, nodes, users) for name, nodes in makers.items())
    return tuple(fold for fold in found if fold is not None)


def _fold(
    graph_module: GraphModule, name: str, makers: list[Node], users: Mapping[str, set[Node]]
) -> Fold | None:
    """What may be done behind one maker, which several steps may call."""
    count = len(graph_module.get_parameter(name))
    trail = _Trail(free_C=np.ones(count, np.bool_))
    bias = _bias(makers[0])
    alone = all(users[one] == set(makers) for one in (name, bias) if one)
    if not alone or any(_bias(node) != bias for node in makers):
        return None
    for maker in makers:
        _follow(maker, _numbers(maker, count), trail)
    readers = _agreed(trail, users)
    if not trail.free_C.any() or not readers:
        return None
    return Fold(
        weight=name,
        bias=bias,
        readers=readers,
        free_C=trail.free_C,
    )


def _agreed(trail: _Trail, users: Mapping[str, set[Node]]) -> dict[str, Numbers]:
    """Readers all of whose calls read the same channels in the same order."""
    found: dict[str, Numbers] = {}
    for node, columns_I in trail.reads.items():
        name = _weight(node)
        calls = users[name]
        if any(not np.array_equal(trail.reads.get(one, NOTHING), columns_I) for one in calls):
            trail.block(columns_I)
        elif trail.free_C[columns_I].any():
            found[name] = columns_I
    return {name: columns_I for name, columns_I in found.items() if trail.free_C[columns_I].any()}


def _follow(node: Node, numbers: Any, trail: _Trail) -> None:
    """Send channel numbers from a node to all who read it."""
    for user in node.users:
        operator = _operator(user)
        if operator == "_assert_tensor_metadata":
            continue
        if user.op == "call_function" and user.target.__name__ == "getitem":  # type: ignore[union-attr]
            _follow(user, numbers[user.args[1]], trail)
        elif _reads(node, user):
            _read(user, numbers, trail)
        elif (moved := _moved(node, user, numbers)) is not None:
            _follow(user, moved, trail)
        else:
            for one in numbers if isinstance(numbers, list | tuple) else [numbers]:
                trail.block(one)


def _reads(node: Node, user: Node) -> bool:
    """Whether a layer with a weight of its own takes a node as its activations alone."""
    whole = _operator(user) != "conv2d" or len(user.args) < 7 or user.args[6] == 1  # groups
    return (
        _operator(user) in LAYERS
        and bool(_weight(user))
        and user.all_input_nodes.count(node) == 1
        and bool(user.args[0] is node and whole)
    )


def _read(user: Node, numbers: Tensor, trail: _Trail) -> None:
    """Note what a layer's inputs are, if each is one channel wherever it stands."""
    rows_PI = numbers.movedim(LAYERS[_operator(user)], -1).flatten(0, -2)
    if (rows_PI == rows_PI[:1]).all():
        trail.reads[user] = rows_PI[0].numpy()
    else:
        trail.block(numbers)


def _moved(node: Node, user: Node, numbers: Any) -> Any:
    """Where the numbers are behind an operator; None where it is none that lets them through."""
    operator, others = _operator(user), user.all_input_nodes
    alone = others == [node] and user.args[0] is node and not isinstance(numbers, list | tuple)
    if operator in PASSES and alone:
        return numbers
    if operator in SCALES and alone and isinstance(user.args[1], int | float) and not user.kwargs:
        return numbers
    if operator in MOVES and alone:
        if operator == "to":
            return numbers
        return user.target(numbers, *user.args[1:], **user.kwargs)  # type: ignore[operator]
    if operator in PRODUCTS:
        return _summed(node, user, numbers)
    return None


def _summed(node: Node, user: Node, numbers: Tensor) -> Tensor | None:
    """Behind a weighted sum over tokens: the same numbers, if all tokens have the same."""
    at = PRODUCTS[_operator(user)]
    first = numbers[..., :1, :]
    if [one is node for one in user.args].count(True) != 1 or user.args[at] is not node:
        return None
    if not bool((numbers == first).all()):
        return None
    return first.expand(user.meta["val"].shape)


def _numbers(maker: Node, count: int) -> Tensor:
    """Of each channel, all over what a maker makes."""
    import torch

    shape = maker.meta["val"].shape
    axis = LAYERS.get(_operator(maker), -1 if _operator(maker) == "layer_norm" else 1)
    numbers = torch.arange(count).reshape([-1] + [1] * (-1 - axis if axis < 0 else len(shape) - 2))
    return numbers.expand(shape)


def _operator(node: Node) -> str:
    """aten's name of what a node calls, less the overload."""
    schema = getattr(node.target, "_schema", None)
    return str(schema.name).removeprefix("aten::") if schema else ""


def _weight(node: Node) -> str:
    """The parameter that scales a maker's channels; "" of any other node."""
    operator = _operator(node)
    if operator == "layer_norm" and len(node.args[1]) != 1:  # type: ignore[arg-type]
        return ""
    at = 1 if operator in LAYERS else NORMS.get(operator)
    return _parameter(node, at) if at is not None else ""


def _bias(node: Node) -> str:
    return _parameter(node, 2 if _operator(node) in LAYERS else NORMS[_operator(node)] + 1)


def _parameter(node: Node, at: int) -> str:
    given = node.args[at] if len(node.args) > at else None
    return str(given.target) if getattr(given, "op", "") == "get_attr" else ""  # type: ignore[union-attr]


def _users(graph_module: GraphModule) -> dict[str, set[Node]]:
    """Who reads each parameter, whatever node fetches it."""
    found: dict[str, set[Node]] = defaultdict(set)
    for node in graph_module.graph.nodes:
        if node.op == "get_attr":
            found[str(node.target)] |= set(node.users)
    return found
