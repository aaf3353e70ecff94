"""Sub-graphs of constants -> their values; operators that do nothing -> nothing."""

from __future__ import annotations

import math
import operator
from typing import TYPE_CHECKING, Any

from minuet.contracts.errors import Refusal
from minuet.export.rewrites.draft import Draft, shape_of
from minuet.export.rewrites.engine import Rule

if TYPE_CHECKING:
    from torch.fx import Node

LARGEST = 1 << 20  # elements: a folded constant above this must replace what is larger


class FoldConstants(Rule):
    """What depends on constants alone is computed once, here.

    In a fused sampler the noise levels are constants, and so is all that the network makes of
    them: frequencies, embeddings, the scale and shift of every block in every step. It also means
    that no target evaluates `exp(arange)` in its own way (a difference of 5e-5 that is measured).

    Equal because an operator without randomness gives the same for the same inputs. Refused:
    random operators, and results larger than 2^20 elements that would outweigh what they are made
    of. Quantize and dequantize are left as they are: folded, a weight would be float again.
    """

    name = "constants folded"

    def __init__(self) -> None:
        self._known: dict[Node, bool] = {}

    def pattern(self, node: Node, draft: Draft) -> Node | None:
        if not self._constant(node, draft):
            return None
        used = any(not self._constant(user, draft) for user in node.users)
        return node if used and not _only_views_weights(node) else None

    def _constant(self, node: Node, draft: Draft) -> bool:
        """Whether a node depends on nothing that is given at run time."""
        if node not in self._known:
            self._known[node] = _may_fold(node, draft) and all(
                self._constant(source, draft) for source in _read(node)
            )
        return self._known[node]

    def check(self, match: Node, draft: Draft) -> Refusal | None:
        sources = _sources(match, draft)
        size = math.prod(shape_of(match))
        if size > max(LARGEST, sum(math.prod(shape_of(source)) for source in sources)):
            return Refusal(f"{match.name} would be a constant of {size} elements")
        return None

    def rewrite(self, match: Node, draft: Draft) -> Node:
        return draft.constant(_evaluate(match, draft, {}))


class RemoveNothing(Rule):
    """Operators that hand on what they are given are removed.

    Equal because the dtype and shape of `to`, `alias`, `detach`, `clone`, `contiguous`, `expand`,
    `copy`, `slice`, `squeeze` and `reshape` are those of their input, or because a dropout does
    not train.
    Refused: a dropout that trains.
    """

    name = "nothing removed"

    def pattern(self, node: Node, draft: Draft) -> Node | None:
        if str(node.target) not in NOTHING or not hasattr(_handed_on(node), "meta"):
            return None
        source = _handed_on(node)
        mine, given = node.meta["val"], source.meta["val"]
        same = mine.dtype == given.dtype and mine.shape == given.shape
        return node if same and mine.device == given.device else None

    def check(self, match: Node, draft: Draft) -> Refusal | None:
        if str(match.target) == "aten.dropout.default" and match.args[2]:
            return Refusal(f"{match.name}: this dropout trains")
        return None

    def rewrite(self, match: Node, draft: Draft) -> Node:
        source: Node = _handed_on(match)
        return source


def _handed_on(node: Node) -> Any:
    """What an operator gives if it does nothing: of `copy`, what is copied."""
    at = 1 if str(node.target) == "aten.copy.default" else 0
    return node.args[at] if len(node.args) > at else None


NOTHING = frozenset(
    f"aten.{name}"
    for name in (
        *("alias.default", "detach.default", "detach_.default", "lift_fresh_copy.default"),
        *("clone.default", "contiguous.default", "expand.default", "reshape.default"),
        *("view.default", "to.dtype", "to.device", "to.dtype_layout", "_to_copy.default"),
        *(
            "copy.default",
            "dropout.default",
            "view_as.default",
            "expand_as.default",
            "type_as.default",
        ),
        # ONNX forbids a squeeze of an axis that is not 1, which torch lets pass.
        *("squeeze.dim", "squeeze.dims", "squeeze.default", "slice.Tensor"),
    )
)
SHAPED = frozenset(
    f"aten.{name}.default"
    for name in ("ones_like", "zeros_like", "full_like", "new_zeros", "new_ones", "new_full")
)
VIEWS = frozenset(
    f"aten.{name}"
    for name in (
        *("reshape.default", "view.default", "permute.default", "transpose.int", "t.default"),
        *("unsqueeze.default", "squeeze.dim", "squeeze.dims", "slice.Tensor", "select.int"),
        *("alias.default", "detach.default", "split_with_sizes.default", "chunk.default"),
    )
)


def _may_fold(node: Node, draft: Draft) -> bool:
    import torch

    if node.op == "placeholder":
        return draft.value(node) is not None
    target: Any = node.target
    if isinstance(target, torch._ops.OpOverload):
        return target.namespace == "aten" and torch.Tag.nondeterministic_seeded not in target.tags
    return target is operator.getitem


def _read(node: Node) -> list[Node]:
    """The nodes whose values an operator reads; of some inputs it reads the shape alone."""
    return [] if str(node.target) in SHAPED else node.all_input_nodes


def _only_views_weights(node: Node) -> bool:
    """A weight seen otherwise costs nothing at run time; a copy of it would cost its size."""
    while str(node.target) in VIEWS:
        node = node.args[0]  # type: ignore[assignment]
    return node.op == "placeholder" and math.prod(shape_of(node)) > 4096


def _sources(node: Node, draft: Draft) -> set[Node]:
    found, waiting = set(), [node]
    while waiting:
        one = waiting.pop()
        if one.op == "placeholder":
            found.add(one)
        else:
            waiting += _read(one)
    return found


def _evaluate(node: Node, draft: Draft, known: dict[Node, Any]) -> Any:
    import torch
    from torch.fx.node import map_arg

    if node not in known:
        if node.op == "placeholder":
            known[node] = draft.value(node)
            return known[node]
        read = {*_read(node)}

        def value(n: Node) -> Any:
            return (
                _evaluate(n, draft, known)
                if n in read
                else torch.empty(shape_of(n), dtype=n.meta["val"].dtype)
            )

        args, kwargs = map_arg((node.args, node.kwargs), value)
        with torch.no_grad():
            known[node] = node.target(*args, **kwargs)  # type: ignore[operator]
    return known[node]
