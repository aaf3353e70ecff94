"""ONNX graph whose operators still say which module they came from -> a table of its layers.

The table is of the form of the stages', and in their place, so that whatever tells what stages took
tells it of layers. An operator belongs to the innermost layer around it; what rounds its input or
its output, to the one for which it rounds; and a simple activation to the layer whose answer it
reads: ONNX Runtime makes one operator of the two, and calls it by the activation.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from typing import TYPE_CHECKING

from minuet.contracts.stages import KEY, pack, plain
from minuet.export.onnx_stages import ROUNDING, modules_around

if TYPE_CHECKING:
    import onnx_ir as ir


ACTIVATIONS = frozenset({"Relu", "Sigmoid", "Tanh", "LeakyRelu", "Clip", "HardSigmoid"})


def noting_layers(layers: Collection[str]) -> Callable[[ir.Model], None]:
    """What writes the table into a model's metadata, for some layers by module path."""

    def note(model: ir.Model) -> None:
        table: dict[str, str] = {}
        for node, layer in _owners(list(model.graph), layers).items():
            names = [plain(node.name or ""), *(value.name or "" for value in node.outputs)]
            table |= dict.fromkeys(filter(None, names), layer)
        model.metadata_props[KEY] = pack(table)

    return note


def _owners(nodes: Sequence[ir.Node], layers: Collection[str]) -> dict[ir.Node, str]:
    """The layer of every operator that has one; operators in order of execution."""
    found: dict[ir.Node, str] = {}
    for node in nodes:
        around = modules_around(node) or []
        if own := next((path for path in reversed(around) if path in layers), ""):
            found[node] = own
    for node in reversed(nodes):  # what is rounded for a layer, behind which it stands
        if node.op_type in ROUNDING:
            readers = (usage.node for value in node.outputs for usage in value.uses())
            _take(found, node, readers)
    for node in nodes:
        if node.op_type in (*ROUNDING, *ACTIVATIONS) and node not in found and node.inputs[0]:
            _take(found, node, [node.inputs[0].producer()])
    return found


def _take(found: dict[ir.Node, str], node: ir.Node, others: Iterable[ir.Node | None]) -> None:
    """The layer of the first of some others that has one."""
    if layer := next((found[one] for one in others if one in found), ""):
        found[node] = layer
