"""An ONNX model -> the same with its graph rewritten in place, by name."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from typing import Any

from numpy.typing import NDArray

WORTH_NODES = 1024  # elements; below, nodes cost what smaller numbers save
ARITHMETIC = frozenset({"Conv", "Gemm", "MatMul"})
QDQ = frozenset({"QuantizeLinear", "DequantizeLinear"})


def rewritten(model: Any, *rewrites: Callable[[Graph], None]) -> Any:
    """An onnx.ModelProto after some rewrites, in place."""
    graph = Graph(model.graph)
    for rewrite in rewrites:
        rewrite(graph)
    graph.tidy()
    return model


class Graph:
    """An onnx.GraphProto with its constants, and who makes and reads what, by name."""

    def __init__(self, proto: Any) -> None:
        self.proto = proto
        self.constants = {row.name: row for row in proto.initializer}
        self.readers: dict[str, list[Any]] = defaultdict(list)
        for node in proto.node:
            for name in node.input:
                self.readers[name].append(node)
        self.makers = {name: node for node in proto.node for name in node.output}
        self.first: list[Any] = []  # nodes to come before all others

    def array(self, name: str) -> NDArray[Any]:
        """A constant's values."""
        from onnx import numpy_helper

        values: NDArray[Any] = numpy_helper.to_array(self.constants[name])
        return values

    def computes_in_codes(self, node: Any) -> bool:
        """Whether a node multiplies activations that were codes."""
        if node.op_type not in ARITHMETIC:
            return False
        maker = self.makers.get(node.input[0])
        return maker is not None and maker.op_type == "DequantizeLinear"

    def add(self, name: str, values: NDArray[Any]) -> str:
        """A constant of this name, made once."""
        from onnx import numpy_helper

        if name not in self.constants:
            self.proto.initializer.append(numpy_helper.from_array(values, name))
            self.constants[name] = self.proto.initializer[-1]
        return name

    def make(self, op: str, inputs: list[str], output: str, **more: Any) -> str:
        """A node that comes before the exported ones, and after those made so far."""
        from onnx import helper

        self.first.append(helper.make_node(op, inputs, [output], **more))
        return output

    def drop(self, name: str) -> None:
        """Forget a constant."""
        self.proto.initializer.remove(self.constants.pop(name))

    def tidy(self) -> None:
        """Put the new nodes first, and drop constants that nothing reads any more."""
        nodes = [*self.first, *self.proto.node]
        del self.proto.node[:]
        self.proto.node.extend(nodes)
        used = {name for node in nodes for name in node.input}
        used |= {row.name for row in self.proto.output}
        kept = [row for row in self.proto.initializer if row.name in used]
        del self.proto.initializer[:]
        self.proto.initializer.extend(kept)
        del self.proto.value_info[:]  # the types that were inferred are no longer true
