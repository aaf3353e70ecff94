"""Small ONNX models by hand, written as a stranger might."""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from minuet.contracts.tensors import Array

SIZE = 600
WEIGHT = np.linspace(-2, 2, SIZE, dtype=np.float32)


def model(
    nodes: list[onnx.NodeProto],
    constants: dict[str, Array],
    *,
    shape: tuple[int, ...] = (2, 3),
    opset: int = 18,
) -> onnx.ModelProto:
    """Nodes from x to y, both float32 of one shape."""
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)
    made = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "g", [x], [y], made)
    imports = [helper.make_opsetid("", opset)]
    return helper.make_model(graph, opset_imports=imports, ir_version=10)


def adder() -> onnx.ModelProto:
    """y = x + WEIGHT."""
    node = helper.make_node("Add", ["x", "w"], ["y"], name="add")
    return model([node], {"w": WEIGHT}, shape=(SIZE,))


def beside(folder: Path, location: str, *, offset: str = "0", length: str = "2400") -> Path:
    """The adder, its weight said to lie elsewhere."""
    made = adder()
    row = made.graph.initializer[0]
    row.ClearField("raw_data")
    row.data_location = TensorProto.EXTERNAL
    for key, value in (("location", location), ("offset", offset), ("length", length)):
        row.external_data.add(key=key, value=value)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "model.onnx"
    path.write_bytes(made.SerializeToString())
    return path
