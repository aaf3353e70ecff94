"""Narrow models keep their edges, their finite numbers and their valid names."""

import ml_dtypes
import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper

from minuet.contracts.errors import RequestError
from minuet.export.halve import delicate_nodes, halve, narrow
from tests.export.onnx_files import model

HUGE = 65504.0


def halved(
    made: onnx.ModelProto, kept: frozenset[str] | None = None, precision: str = "fp16"
) -> onnx.ModelProto:
    built: onnx.ModelProto = ir.to_proto(halve(ir.from_proto(made), precision, kept))
    onnx.checker.check_model(built, full_check=True)
    return built


def run(built: onnx.ModelProto, x: np.ndarray) -> np.ndarray:
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


def kinds(built: onnx.ModelProto) -> dict[str, int]:
    inferred = onnx.shape_inference.infer_shapes(built)
    return {v.name: v.type.tensor_type.elem_type for v in inferred.graph.value_info}


def test_kept_nodes_may_share_an_input() -> None:
    x = np.linspace(-2, 2, 6, dtype=np.float32).reshape(2, 3)
    found = run(halved(shared(), frozenset({"kept1", "kept2"})), x)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, np.sin(x / 2) + np.cos(x / 2) + 0.5, atol=4e-3)


def test_keeping_every_node_changes_nothing() -> None:
    x = np.linspace(-2, 2, 6, dtype=np.float32).reshape(2, 3)
    names = frozenset(node.name for node in shared().graph.node)
    np.testing.assert_array_equal(run(halved(shared(), names), x), run(shared(), x))


def test_an_output_that_is_also_read_inside_is_cast_once() -> None:
    nodes = [
        helper.make_node("Mul", ["x", "c"], ["y"], name="out"),
        helper.make_node("Add", ["y", "c"], ["unused"], name="reader"),
    ]
    built = halved(model(nodes, {"c": np.array([[2.0]], np.float32)}), frozenset())
    x = np.ones((2, 3), np.float32)
    np.testing.assert_array_equal(run(built, x), 2 * x)
    assert [node.op_type for node in built.graph.node].count("Cast") == 2


def test_only_the_narrow_copy_of_a_weight_is_kept() -> None:
    built = halved(shared(), frozenset())
    assert [row.data_type for row in built.graph.initializer] == [TensorProto.FLOAT16]


def test_bfloat16_takes_the_numbers_of_bfloat16() -> None:
    built = halved(shared(), frozenset({"kept1", "kept2"}), "bf16")
    row = built.graph.initializer[0]
    assert row.data_type == TensorProto.BFLOAT16
    assert onnx.numpy_helper.to_array(row).astype(np.float32) == 0.5
    assert kinds(built)["a"] == TensorProto.BFLOAT16


@pytest.mark.parametrize(("opset", "kind"), [(21, TensorProto.FLOAT), (22, TensorProto.BFLOAT16)])
def test_an_operator_that_lacks_a_width_stays_single(opset: int, kind: int) -> None:
    """Softplus is defined for bfloat16 from operator set 22 on."""
    nodes = [
        helper.make_node("Softplus", ["x"], ["a"], name="softplus"),
        helper.make_node("Neg", ["a"], ["y"], name="neg"),
    ]
    assert kinds(halved(model(nodes, {}, opset=opset), precision="bf16"))["a"] == kind


def test_what_becomes_a_byte_stays_single_in_bfloat16() -> None:
    """255.5 is 256 in bfloat16, and 0 as a byte."""
    nodes = [
        helper.make_node("Mul", ["x", "c"], ["a"], name="scale"),
        helper.make_node("Cast", ["a"], ["b"], name="byte", to=TensorProto.UINT8),
        helper.make_node("Cast", ["b"], ["y"], name="back", to=TensorProto.FLOAT),
    ]
    made = model(nodes, {"c": np.array([[255.5]], np.float32)}, opset=22)
    assert delicate_nodes(ir.from_proto(made), "bf16") == {"scale", "byte"}
    assert kinds(halved(made, precision="bf16"))["a"] == TensorProto.FLOAT
    assert kinds(halved(made))["a"] == TensorProto.FLOAT16
    for precision in ("fp16", "bf16"):
        built = halved(made, precision=precision)
        np.testing.assert_array_equal(run(built, np.ones((2, 3), np.float32)), 255)


def test_a_node_with_a_graph_of_its_own_is_refused() -> None:
    body = model([helper.make_node("Neg", ["x"], ["y"])], {}).graph
    del body.input[:]
    loop = helper.make_node("If", ["c"], ["y"], then_branch=body, else_branch=body)
    with pytest.raises(RequestError, match="If holds a graph of its own"):
        halve(ir.from_proto(model([loop], {"c": np.array(True)})), "fp16")


def test_constants_stay_finite_and_positive() -> None:
    found = narrow(np.array([1e-12, -1e-12, 0, 3e38, -np.inf], np.float32), np.dtype(np.float16))
    assert found[0] > 0 > found[1] and found[2] == 0
    assert found[3] == HUGE and found[4] == -np.inf
    large = np.array([np.finfo(np.float32).max, 1e-45], np.float32)
    assert np.isfinite(narrow(large, np.dtype(ml_dtypes.bfloat16)).astype(np.float32)).all()
