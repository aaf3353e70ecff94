"""Lowered ExecuTorch program -> who runs each operator, and what share of the work that is."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from minuet.contracts.errors import VerdictError
from minuet.export.rewrites.draft import module_of

if TYPE_CHECKING:
    from torch.fx import Node

KERNEL = "portable kernel"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One operator, as far as one backend runs it."""

    operator: str
    runs_on: str  # a backend's name, or "portable kernel"
    count: int
    work: int  # multiply-adds of products and convolutions; elements written by all others
    module: str  # where the costliest of them is
    macs: int = 0  # of products and convolutions alone
    moved_bytes: int = 0  # inputs, weights and outputs, each once


@dataclass(frozen=True, slots=True, kw_only=True)
class Delegation:
    """Every operator of a program, the costliest first."""

    rows: tuple[Row, ...]
    delegates: int  # sub-graphs handed to a backend

    @property
    def fallback(self) -> float:
        """Share of the estimated work that portable kernels do, in [0, 1]."""
        total = sum(row.work for row in self.rows)
        left = sum(row.work for row in self.rows if row.runs_on == KERNEL)
        return left / total if total else 0.0

    def to_json(self) -> dict[str, Any]:
        """A plain value."""
        return {
            "delegates": self.delegates,
            "fallback": round(self.fallback, 6),
            "operators": [asdict(row) for row in self.rows],
        }

    def lines(self) -> Iterator[str]:
        """The table as text: what fell back first."""
        total = max(1, sum(row.work for row in self.rows))
        yield f"{'operator':<40} {'runs on':<16} {'count':>5} {'work':>7}  module"
        for row in sorted(self.rows, key=lambda row: row.runs_on != KERNEL):
            share = f"{row.work / total:7.2%}"
            yield f"{row.operator:<40} {row.runs_on:<16} {row.count:>5} {share}  {row.module}"


def delegation(edge: Any) -> Delegation:
    """The table of a lowered edge program (executorch.exir.EdgeProgramManager), all methods."""
    found: dict[tuple[str, str], list[Node]] = {}
    delegates = 0
    for method in sorted(edge.methods):
        graph = edge.exported_program(method).graph_module
        for backend, node in _operators(graph):
            found.setdefault((name_of(node), backend), []).append(node)
        delegates += len(list(_lowered(graph)))
    rows = (_row(name, backend, nodes) for (name, backend), nodes in found.items())
    ordered = sorted(rows, key=lambda row: (-row.work, row.operator, row.runs_on))
    return Delegation(rows=tuple(ordered), delegates=delegates)


def insist_on_delegation(table: Delegation, max_fallback: float) -> None:
    """Refuse a program of which portable kernels do too much.

    Raises:
        VerdictError: more than `max_fallback` of the work, in [0, 1]; names the worst operators.
    """
    if table.fallback <= max_fallback:
        return
    worst = [row for row in table.rows if row.runs_on == KERNEL][:3]
    named = ", ".join(f"{row.operator} x{row.count} ({row.module or 'top'})" for row in worst)
    raise VerdictError(
        f"ExecuTorch leaves {table.fallback:.1%} of the work to portable kernels, "
        f"{max_fallback:.1%} are allowed; most of it in {named}. "
        "Allow more with --max-fallback, or write these operators otherwise."
    )


def work(node: Node) -> int:
    """Multiply-adds of a product or convolution from its shapes; of others, elements written."""
    values: Any = node.meta.get("val")
    outputs: Any = values if isinstance(values, (list, tuple)) else [values]
    written = sum(math.prod(one.shape) for one in outputs if hasattr(one, "shape"))
    return int(written) * _depth(node)


def moved_bytes(node: Node) -> int:
    """Inputs, weights and outputs of an operator, each once."""
    held: list[Any] = [node, *node.all_input_nodes]
    values = [one.meta.get("val") for one in held]
    tensors = [x for v in values for x in (v if isinstance(v, (list, tuple)) else [v])]
    return sum(math.prod(x.shape) * x.element_size() for x in tensors if hasattr(x, "element_size"))


def name_of(node: Node) -> str:
    """An operator's short name: aten.mm.default."""
    return str(getattr(node.target, "__name__", node.target))


def _depth(node: Node) -> int:
    """Multiply-adds an output element."""
    return _contracted(node) or 1


def _contracted(node: Node) -> int:
    """How many products are summed in an output element; 0 where that is not what it does."""
    operator = name_of(node).removeprefix("aten.").partition(".")[0]
    given = [getattr(one, "meta", {}).get("val") for one in node.args]
    shapes = [tuple(getattr(one, "shape", ())) for one in given]
    if operator == "scaled_dot_product_attention":
        return 2 * int(shapes[1][-2])  # keys: scores, then values
    if operator in ("linear", "mm", "bmm", "matmul"):
        return int(shapes[0][-1])
    if operator == "addmm":
        return int(shapes[1][-1])
    if operator in ("convolution", "conv2d", "conv3d", "conv1d"):
        return math.prod(shapes[1][1:])
    return 0


def _row(name: str, backend: str, nodes: list[Node]) -> Row:
    costs = [work(node) for node in nodes]
    costliest = nodes[costs.index(max(costs))]
    return Row(
        operator=name,
        runs_on=backend,
        count=len(nodes),
        work=sum(costs),
        module=module_of(costliest),
        macs=sum(work(node) for node in nodes if _contracted(node)),
        moved_bytes=sum(moved_bytes(node) for node in nodes),
    )


def _lowered(graph: Any) -> Iterator[Any]:
    for node in graph.graph.nodes:
        if node.op == "call_function" and name_of(node) == "executorch_call_delegate":
            yield getattr(graph, node.args[0].target)


def _operators(graph: Any) -> Iterator[tuple[str, Node]]:
    """Every operator with its backend, inside the delegates too."""
    for lowered in _lowered(graph):
        for node in lowered.original_module.graph.nodes:
            if node.op == "call_function" and name_of(node) != "getitem":
                yield lowered.backend_id, node
    for node in graph.graph.nodes:
        if node.op == "call_function" and name_of(node) not in (
            "executorch_call_delegate",
            "getitem",
        ):
            yield KERNEL, node
