"""ONNX file -> the shape of each operator's weight, also where it is quantized.

ONNX Runtime packs weights anew and then tells their shapes no more; OpenVINO and it both fuse, and
keep the names. The onnx package is not needed: a base install can bench.
"""

import math
from dataclasses import dataclass
from pathlib import Path

from minuet.contracts.errors import DamagedError
from minuet.contracts.stages import plain
from minuet.contracts.wire import fields, numbers
from minuet.runtimes.work import Shape

MOST_BYTES = 2 << 30  # no protocol buffer is larger

# Field numbers of onnx.proto.
MODEL_GRAPH, GRAPH_NODE, GRAPH_INITIALIZER = 7, 1, 5
NODE_INPUT, NODE_OUTPUT, NODE_NAME, NODE_KIND, NODE_ATTRIBUTE = 1, 2, 3, 4, 5
TEXTS = (NODE_INPUT, NODE_OUTPUT, NODE_NAME, NODE_KIND)
TENSOR_DIMS, TENSOR_NAME, ATTRIBUTE_TENSOR = 1, 8, 5

# What comes out of these has as many numbers as the largest that goes in.
KEEPS = {
    *("DequantizeLinear", "QuantizeLinear", "Cast", "Identity", "Transpose"),
    *("Mul", "Div", "Add", "Sub"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Node:
    name: str
    kind: str
    inputs: list[str]
    outputs: list[str]
    constant: Shape | None  # of a node that is one


def weights(path: Path) -> dict[str, Shape]:
    """An operator's name, with and without what is written around it, or its value's -> shape.

    Raises:
        DamagedError: it is no ONNX file.
    """
    if path.stat().st_size > MOST_BYTES:
        raise DamagedError(f"{path}: larger than an ONNX file can be; export it again.")
    try:
        return _read(memoryview(path.read_bytes()))
    except (ValueError, UnicodeDecodeError) as error:
        raise DamagedError(f"{path}: damaged ONNX file ({error}); export it again.") from error


def position(kind: str) -> int:
    """Which input is the weight."""
    return 3 if kind.startswith("QLinear") or kind == "QGemm" else 1


def _read(model: memoryview) -> dict[str, Shape]:
    shapes: dict[str, Shape] = {}
    nodes: list[_Node] = []
    for number, graph in _inner(model):
        if number != MODEL_GRAPH:
            continue
        for kind, part in _inner(graph):
            if kind == GRAPH_INITIALIZER:
                name, shape = _tensor(part)
                shapes[name] = shape
            elif kind == GRAPH_NODE:
                nodes.append(_node(part))
    return _table(nodes, shapes)


def _table(nodes: list[_Node], shapes: dict[str, Shape]) -> dict[str, Shape]:
    found: dict[str, Shape] = {}
    for node in nodes:  # in order: who reads comes behind who writes
        read = [shapes[name] for name in node.inputs if name in shapes]
        at = position(node.kind)
        if node.constant is not None:
            shapes |= dict.fromkeys(node.outputs, node.constant)
        elif node.kind in KEEPS and read and len(read) == len(node.inputs):
            shapes |= dict.fromkeys(node.outputs, max(read, key=math.prod))
        elif len(node.inputs) > at and node.inputs[at] in shapes:
            names = (node.name, plain(node.name), *node.outputs)
            found |= dict.fromkeys(names, shapes[node.inputs[at]])
    return found


def _node(message: memoryview) -> _Node:
    rows: dict[int, list[memoryview]] = {}
    for number, value in _inner(message):
        rows.setdefault(number, []).append(value)
    text = {number: [bytes(value).decode() for value in rows.get(number, ())] for number in TEXTS}
    kind = "".join(text[NODE_KIND])
    inside = [row for held in rows.get(NODE_ATTRIBUTE, ()) for row in _inner(held)]
    tensors = [value for number, value in inside if number == ATTRIBUTE_TENSOR]
    return _Node(
        name="".join(text[NODE_NAME]),
        kind=kind,
        inputs=text[NODE_INPUT],
        outputs=text[NODE_OUTPUT],
        constant=_tensor(tensors[0])[1] if tensors and kind == "Constant" else None,
    )


def _tensor(message: memoryview) -> tuple[str, Shape]:
    name = ""
    shape: list[int] = []
    for number, value in fields(message):
        if number == TENSOR_DIMS:
            shape += numbers(value)
        elif number == TENSOR_NAME and not isinstance(value, int):
            name = bytes(value).decode()
    return name, tuple(shape)


def _inner(message: memoryview) -> list[tuple[int, memoryview]]:
    """The fields that are bytes."""
    return [(number, value) for number, value in fields(message) if not isinstance(value, int)]
