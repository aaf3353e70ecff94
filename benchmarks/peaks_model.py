"""One product of matrices -> the bytes of an ONNX model, without the onnx package."""

import numpy as np

from minuet.contracts.wire import field

FLOAT, UINT8, INT8, INT32 = 1, 2, 3, 6  # onnx.TensorProto.DataType
IR_VERSION, OPSET = 8, 17
NUMPY = {FLOAT: np.float32, INT8: np.int8}


def product(operator: str, side: int, kinds: tuple[int, int, int]) -> bytes:
    """y = a @ b of side x side matrices, b a constant of ones: runtimes pack those beforehand.

    Args:
        operator: MatMul or MatMulInteger.
        kinds: of a, b and y.
    """
    a, b, y = kinds
    node = field(1, "a") + field(1, "b") + field(2, "y") + field(4, operator)
    ones = np.ones((side, side), NUMPY[b]).tobytes()
    weight = field(1, side) + field(1, side) + field(2, b) + field(8, "b") + field(9, ones)
    graph = (
        field(1, node)
        + field(2, "product")
        + field(5, weight)
        + field(11, _value("a", a, side))
        + field(12, _value("y", y, side))
    )
    return field(1, IR_VERSION) + field(7, graph) + field(8, field(2, OPSET))


def _value(name: str, kind: int, side: int) -> bytes:
    """A ValueInfoProto of a square matrix."""
    dimension = field(1, field(1, side))
    tensor = field(1, kind) + field(2, dimension + dimension)
    return field(1, name) + field(2, field(1, tensor))
