"""Float16 models keep their edges, their finite numbers and their valid names."""

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper

from minuet.export.halve import HUGE, halve, narrow


def model(nodes: list[onnx.NodeProto], constants: dict[str, np.ndarray]) -> onnx.ModelProto:
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [2, 3])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [2, 3])
    made = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "g", [x], [y], made)
    opset = helper.make_opsetid("", 18)
    return helper.make_model(graph, opset_imports=[opset], ir_version=10)


def run(built: onnx.ModelProto, x: np.ndarray) -> np.ndarray:
    onnx.checker.check_model(built, full_check=True)
    session = ort.InferenceSession(built.SerializeToString(), providers=["CPUExecutionProvider"])
    found: np.ndarray = session.run(None, {"x": x})[0]
    return found


def shared() -> onnx.ModelProto:
    """Two kept nodes and a halved one on one halved value."""
    return model(
        [
            helper.make_node("Mul", ["x", "c"], ["a"], name="first"),
            helper.make_node("Sin", ["a"], ["b"], name="kept1"),
            helper.make_node("Cos", ["a"], ["d"], name="kept2"),
            helper.make_node("Add", ["b", "d"], ["e"], name="sum"),
            helper.make_node("Add", ["e", "c"], ["y"], name="last"),
        ],
        {"c": np.array([[0.5]], np.float32)},
    )


def test_kept_nodes_may_share_an_input() -> None:
    x = np.linspace(-2, 2, 6, dtype=np.float32).reshape(2, 3)
    found = run(halve(shared(), frozenset({"kept1", "kept2"})), x)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, np.sin(x / 2) + np.cos(x / 2) + 0.5, atol=4e-3)


def test_keeping_every_node_changes_nothing() -> None:
    x = np.linspace(-2, 2, 6, dtype=np.float32).reshape(2, 3)
    names = frozenset(node.name for node in shared().graph.node)
    np.testing.assert_array_equal(run(halve(shared(), names), x), run(shared(), x))


def test_an_output_that_is_also_read_inside_is_cast_once() -> None:
    nodes = [
        helper.make_node("Mul", ["x", "c"], ["y"], name="out"),
        helper.make_node("Add", ["y", "c"], ["unused"], name="reader"),
    ]
    built = halve(model(nodes, {"c": np.array([[2.0]], np.float32)}), frozenset())
    x = np.ones((2, 3), np.float32)
    np.testing.assert_array_equal(run(built, x), 2 * x)


def test_constants_stay_finite_and_positive() -> None:
    found = narrow(np.array([1e-12, -1e-12, 0, 3e38, -np.inf], np.float32), "half")
    assert found[0] > 0 > found[1] and found[2] == 0
    assert found[3] == HUGE and found[4] == -np.inf
