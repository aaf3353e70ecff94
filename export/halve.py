"""ONNX model in float32 -> the same model in float16, inputs and outputs unchanged.

onnxruntime's own converter names the casts around a kept node by that node's input alone, so two
kept nodes that share an input give an invalid model (1.31.1). This one writes a cast once a value.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

# What must see float32 whatever surrounds it: (operator, input number).
FLOAT_INPUTS = frozenset({("Resize", 1), ("Resize", 2)})
TINY, HUGE = 6e-8, 65504.0  # the least and the greatest float16 above zero


@dataclass(slots=True)
class Halving:
    """The state of one conversion: which float values exist in which width."""

    kept: frozenset[str]  # names of nodes that stay float32
    single: set[str]  # float32 values of the original graph
    constants: dict[str, Any]  # its float32 initializers
    natural: dict[str, str] = field(default_factory=dict)  # value -> "half" or "float"
    made: dict[tuple[str, str], str] = field(default_factory=dict)  # (value, width) -> name
    nodes: list[Any] = field(default_factory=list)
    initializers: list[Any] = field(default_factory=list)

    def wanted(self, value: str, width: str) -> str:
        """The name under which a value can be had in a width; makes it where it does not exist."""
        if value not in self.single or self.natural.get(value) == width:
            return value
        if (value, width) not in self.made:
            self.made[value, width] = f"{value}.{width}"
            self._make(value, width)
        return self.made[value, width]

    def _make(self, value: str, width: str) -> None:
        from onnx import TensorProto, helper, numpy_helper

        name = self.made[value, width]
        if value in self.constants:
            array = numpy_helper.to_array(self.constants[value])
            self.initializers.append(numpy_helper.from_array(narrow(array, width), name))
            return
        to = TensorProto.FLOAT16 if width == "half" else TensorProto.FLOAT
        self.nodes.append(helper.make_node("Cast", [value], [name], name=f"cast.{name}", to=to))

    def convert(self, node: Any) -> None:
        """Append one node in its width."""
        width = "float" if node.name in self.kept or node.op_type == "GridSample" else "half"
        for i, value in enumerate(node.input):
            always = (node.op_type, i) in FLOAT_INPUTS
            node.input[i] = self.wanted(value, "float" if always else width)
        outputs = [value for value in node.output if value in self.single]
        self.natural.update(dict.fromkeys(outputs, width))
        if outputs and width == "half":
            _halve_attributes(node)
        self.nodes.append(node)


def halve(model: Any, kept: frozenset[str]) -> Any:
    """A float16 copy of a model; the nodes named in `kept`, and GridSample, stay float32.

    Constants below float16's range become its least value, above it its greatest.
    """
    import onnx
    from onnx import TensorProto

    copy = onnx.shape_inference.infer_shapes(model, strict_mode=True)
    graph = copy.graph
    state = Halving(
        kept=kept,
        single=set(_single(graph)),
        constants={c.name: c for c in graph.initializer if c.data_type == TensorProto.FLOAT},
    )
    state.natural.update({value.name: "float" for value in graph.input})
    state.initializers += [c for c in graph.initializer if c.data_type != TensorProto.FLOAT]
    for node in list(graph.node):
        if any(attribute.HasField("g") for attribute in node.attribute):
            raise ValueError(f"{node.op_type} holds a graph of its own; loops are not halved")
        state.convert(node)
    _restore_outputs(graph, state)
    del graph.node[:], graph.initializer[:], graph.value_info[:]
    graph.node.extend(state.nodes)
    graph.initializer.extend(state.initializers)
    return copy


def narrow(array: Any, width: str) -> Any:
    """A float32 constant in a width; finite values stay finite, positive ones positive."""
    if width == "float":
        return array
    small = (array != 0) & (np.abs(array) < TINY)
    kept = np.where(small, np.copysign(TINY, array), array)
    finite = np.where(np.isfinite(kept), np.clip(kept, -HUGE, HUGE), kept)
    return finite.astype(np.float16)


def _single(graph: Any) -> Iterator[str]:
    from onnx import TensorProto

    for value in (*graph.input, *graph.output, *graph.value_info):
        if value.type.tensor_type.elem_type == TensorProto.FLOAT:
            yield value.name
    for constant in graph.initializer:
        if constant.data_type == TensorProto.FLOAT:
            yield constant.name


def _halve_attributes(node: Any) -> None:
    from onnx import TensorProto, numpy_helper

    for attribute in node.attribute:
        if node.op_type == "Cast" and attribute.name == "to" and attribute.i == TensorProto.FLOAT:
            attribute.i = TensorProto.FLOAT16
        if attribute.HasField("t") and attribute.t.data_type == TensorProto.FLOAT:
            array = numpy_helper.to_array(attribute.t)
            attribute.t.CopyFrom(numpy_helper.from_array(narrow(array, "half")))


def _restore_outputs(graph: Any, state: Halving) -> None:
    """Outputs keep name and dtype: a halved one is renamed inside and cast on its way out."""
    from onnx import TensorProto, helper

    for output in graph.output:
        name = output.name
        if state.natural.get(name) != "half":
            continue
        inner = f"{name}.half"
        for node in state.nodes:
            node.input[:] = [inner if value == name else value for value in node.input]
            node.output[:] = [inner if value == name else value for value in node.output]
        cast = helper.make_node(
            "Cast", [inner], [name], name=f"cast.{name}.out", to=TensorProto.FLOAT
        )
        state.nodes.append(cast)
