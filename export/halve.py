"""ONNX graph in float32 -> the same graph in float16 or bfloat16, inputs and outputs unchanged.

onnxruntime's own converter names the casts around a kept node by that node's input alone, so two
kept nodes that share an input give an invalid model (1.31.1). This one writes a cast once a value,
and narrows a weight when it is written: never is there a second copy of all of them.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from minuet.contracts.errors import RequestError

if TYPE_CHECKING:
    import onnx_ir as ir

WIDTHS = {"fp16": "FLOAT16", "bf16": "BFLOAT16"}
SUFFIXES = {"FLOAT": "float", "FLOAT16": "half", "BFLOAT16": "bf16"}
# Where a walk back from coordinates and phases stops: what comes earlier is the network itself.
NETWORK = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})
WAVES = frozenset({"Sin", "Cos"})
# What must see float32 whatever its definition allows: (operator, input number).
FLOAT_INPUTS = frozenset({("Resize", 1), ("Resize", 2)})
TYPED = ("to", "dtype")  # attributes that name an element type


def halve(model: ir.Model, precision: str, kept: frozenset[str] | None = None) -> ir.Model:
    """Narrow a graph in place; operators that are not defined in that width stay float32.

    Constants beyond the width's range become its greatest value, those too small its least one.

    Args:
        kept: names of nodes that stay float32; the delicate ones, unless told.

    Raises:
        RequestError: a node holds a graph of its own.
    """
    import onnx_ir as ir

    _complete_types(model)
    state = Narrowing(
        model=model,
        width=ir.DataType[WIDTHS[precision]],
        kept=delicate_nodes(model, precision) if kept is None else kept,
    )
    for node in list(model.graph):
        state.convert(node)
    state.restore_outputs()
    state.drop_unread()
    return model


def delicate_nodes(model: ir.Model, precision: str) -> frozenset[str]:
    """Names of the nodes between the network and what takes more digits than the width has.

    Coordinates of GridSample: next to 1 a float16 step is 2^-11, an eighth of a pixel on a side
    of 512. Phases of sinusoids: next to 999 a step is a half. In bfloat16 also what becomes
    integers: 255.5 is 256 there, and as a byte 0.
    """
    import onnx_ir as ir

    waiting = [node.inputs[1] for node in model.graph if node.op_type == "GridSample"]
    waves = [node for node in model.graph if node.op_type in WAVES]
    waiting += [node.inputs[0] for node in waves]
    found = {str(node.name) for node in waves}
    if precision == "bf16":
        casts = (node for node in model.graph if node.op_type == "Cast")
        to = {cast: ir.DataType(cast.attributes["to"].as_int()) for cast in casts}
        rounding = [cast for cast, kind in to.items() if kind.is_integer()]
        waiting += [cast.inputs[0] for cast in rounding]
        found |= {str(cast.name) for cast in rounding}
    while waiting:
        value = waiting.pop()
        node = value.producer() if value is not None else None
        if node is None or node.op_type in NETWORK or node.name in found:
            continue
        found.add(str(node.name))
        waiting.extend(node.inputs)
    return frozenset(found)


@dataclass(slots=True)
class Narrowing:
    """The state of one conversion: which float values exist in which width."""

    model: ir.Model
    width: ir.DataType
    kept: frozenset[str]  # names of nodes that stay float32
    made: dict[tuple[int, Any], ir.Value] = field(default_factory=dict)
    floats: set[int] = field(default_factory=set)  # values that were float32 at first, by id

    def __post_init__(self) -> None:
        graph = self.model.graph
        made = [value for node in graph for value in node.outputs]
        every = (*graph.inputs, *graph.initializers.values(), *made)
        self.floats = {id(value) for value in every if value.dtype == _float()}

    def convert(self, node: ir.Node) -> None:
        """Bring one node's inputs, attributes and outputs to its width."""
        import onnx_ir as ir

        kinds = {attribute.type for attribute in node.attributes.values()}
        if ir.AttributeType.GRAPH in kinds or ir.AttributeType.GRAPHS in kinds:
            raise RequestError(f"{node.op_type} holds a graph of its own; loops are not narrowed.")
        whole = node.name in self.kept or not self._narrows(node)
        width = _float() if whole else self.width
        for at, value in enumerate(node.inputs):
            if value is not None and id(value) in self.floats:
                always = (node.op_type, at) in FLOAT_INPUTS
                node.replace_input_with(at, self.wanted(value, _float() if always else width, node))
        outputs = [value for value in node.outputs if id(value) in self.floats]
        for value in outputs:
            value.type = ir.TensorType(width)
        if outputs and not whole:
            self._narrow_attributes(node)

    def wanted(self, value: ir.Value, width: Any, reader: ir.Node | None) -> ir.Value:
        """A value in a width; made, before its first reader, where it does not exist."""
        if value.dtype == width:
            return value
        key = (id(value), width)
        if key not in self.made:
            self.made[key] = (
                self._constant(value, width)
                if value.const_value is not None
                else self._cast(value, width, reader)
            )
        return self.made[key]

    def restore_outputs(self) -> None:
        """Outputs keep name and dtype: a narrowed one is renamed inside and cast on its way out."""
        for at, value in enumerate(self.model.graph.outputs):
            if id(value) in self.floats and value.dtype != _float():
                name = value.name
                value.name = f"{name}.{SUFFIXES[self.width.name]}"
                cast = self.wanted(value, _float(), None)
                cast.name = name
                self.model.graph.outputs[at] = cast

    def drop_unread(self) -> None:
        """Forget the constants of which only another width is read."""
        graph = self.model.graph
        for name, value in list(graph.initializers.items()):
            if not value.uses() and not value.is_graph_output():
                del graph.initializers[name]

    def _constant(self, value: ir.Value, width: Any) -> ir.Value:
        import onnx_ir as ir

        name = f"{value.name}.{SUFFIXES[width.name]}"
        made = ir.Value(
            name=name,
            shape=value.shape,
            type=ir.TensorType(width),
            const_value=narrowed(value.const_value, width, name),
        )
        self.model.graph.initializers.add(made)
        return made

    def _cast(self, value: ir.Value, width: Any, reader: ir.Node | None) -> ir.Value:
        import onnx_ir as ir

        name = f"{value.name}.{SUFFIXES[width.name]}"
        made = ir.Value(name=name, shape=value.shape, type=ir.TensorType(width))
        attributes = [ir.AttrInt64("to", int(width))]
        cast = ir.Node("", "Cast", [value], attributes, outputs=[made], name=f"cast.{name}")
        graph = self.model.graph
        graph.append(cast) if reader is None else graph.insert_before(reader, cast)
        return made

    def _narrows(self, node: ir.Node) -> bool:
        """Whether the operator is defined for the width, for each float that it reads or gives."""
        if node.op_type == "GridSample":
            return False
        allowed = _allowed(node.op_type, node.domain, self.model.opset_imports[node.domain])
        return all(
            self.width.name.lower() in allowed(side, at)
            for side, values in (("inputs", node.inputs), ("outputs", node.outputs))
            for at, value in enumerate(values)
            if value is not None
            and id(value) in self.floats
            and (side == "outputs" or (node.op_type, at) not in FLOAT_INPUTS)
        )

    def _narrow_attributes(self, node: ir.Node) -> None:
        import onnx_ir as ir

        for name, attribute in list(node.attributes.items()):
            if name in TYPED and attribute.value == int(_float()):
                node.attributes[name] = ir.AttrInt64(name, int(self.width))
            if attribute.type == ir.AttributeType.TENSOR and attribute.value.dtype == _float():
                tensor = narrowed(attribute.value, self.width, attribute.value.name)
                node.attributes[name] = ir.AttrTensor(name, tensor)


def narrowed(tensor: Any, width: ir.DataType, name: str | None) -> Any:
    """A tensor that is narrowed when it is read, and forgotten afterwards."""
    import onnx_ir as ir

    def read() -> Any:
        return ir.Tensor(narrow(tensor.numpy(), width.numpy()), dtype=width)

    return ir.LazyTensor(read, dtype=width, shape=tensor.shape, name=name)


def narrow(array: Any, dtype: Any) -> Any:
    """Float32 numbers in a narrower dtype; finite ones stay finite, those above 0 above 0."""
    import ml_dtypes

    limits = ml_dtypes.finfo(dtype)  # type: ignore[no-untyped-call]
    tiny, huge = float(limits.smallest_subnormal), float(limits.max)
    with np.errstate(over="ignore"):  # compared below
        small = (array != 0) & (np.abs(array) < tiny)
        kept = np.where(small, np.copysign(np.float32(tiny), array), array)
        finite = np.where(np.isfinite(kept), np.clip(kept, -huge, huge), kept)
        return finite.astype(dtype)


@functools.lru_cache(maxsize=1024)
def _allowed(op_type: str, domain: str, opset: int) -> Any:
    """(side, number) -> element types that an operator's definition allows there."""
    import onnx

    schema = onnx.defs.get_schema(op_type, opset, domain)
    rows = {row.type_param_str: frozenset(row.allowed_type_strs) for row in schema.type_constraints}

    def types(side: str, at: int) -> frozenset[str]:
        formal = getattr(schema, side)
        spelled = formal[min(at, len(formal) - 1)].type_str
        return frozenset(t.removeprefix("tensor(")[:-1] for t in rows.get(spelled, {spelled}))

    return types


def _complete_types(model: ir.Model) -> None:
    """Infer what element types are not known yet."""
    from onnx_ir.passes.common import ShapeInferencePass

    if any(value.dtype is None for node in model.graph for value in node.outputs):
        ShapeInferencePass()(model)


def _float() -> Any:
    import onnx_ir as ir

    return ir.DataType.FLOAT
