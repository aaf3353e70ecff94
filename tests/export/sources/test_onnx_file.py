"""A file of ONNX says itself what it takes, gives, and is."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from minuet.contracts.errors import RequestError
from minuet.export.sources.onnx_file import onnx_part

FLOAT, INT64 = TensorProto.FLOAT, TensorProto.INT64


def saved(
    path: Path, nodes: list[onnx.NodeProto], kind: int, shape: list[int | str], rank: int = 2
) -> Path:
    """x -> nodes -> y, with a table of 20 words of 4 numbers."""
    table = numpy_helper.from_array(np.arange(80, dtype=np.float32).reshape(20, 4), "table")
    x = helper.make_tensor_value_info("x", kind, shape)
    y = helper.make_tensor_value_info("y", FLOAT, [None] * rank)
    graph = helper.make_graph(nodes, "g", [x], [y], [table])
    opsets = [helper.make_opsetid("", 18)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=9), str(path))
    return path


@pytest.fixture
def looked_up(tmp_path: Path) -> Path:
    node = helper.make_node("Gather", ["table", "x"], ["y"])
    return saved(tmp_path / "words.onnx", [node], INT64, [1, 3], rank=3)


def test_golden_cases_are_what_the_file_makes_of_what_a_seed_draws(looked_up: Path) -> None:
    first, again, other = (onnx_part(looked_up, seed) for seed in (0, 0, 1))
    table = np.arange(80, dtype=np.float32).reshape(20, 4)
    for case in (*first.cases, *other.cases):
        np.testing.assert_array_equal(case.outputs["y"], table[case.inputs["x"]])
    drawn = [[case.inputs["x"].tolist() for case in part.cases] for part in (first, again, other)]
    assert drawn[0] == drawn[1] != drawn[2]
    assert first.cases[0].inputs["x"].max() > 1  # as large as the table allows, in steps


def test_shapes_of_outputs_are_what_comes_out(looked_up: Path) -> None:
    told = onnx_part(looked_up).signature
    assert [(row.name, row.shape, row.dtype) for row in (*told.inputs, *told.outputs)] == [
        ("x", (1, 3), "int64"),
        ("y", (1, 3, 4), "float32"),
    ]


@pytest.mark.parametrize(
    ("kind", "own"),
    [(TensorProto.FLOAT, "fp32"), (TensorProto.FLOAT16, "fp16"), (TensorProto.INT8, "int8")],
)
def test_a_files_precision_is_its_weights(tmp_path: Path, kind: int, own: str) -> None:
    """What most bytes are of decides, a single scale in another type does not."""
    weights = [numpy_helper.from_array(np.ones((4, 4), helper.tensor_dtype_to_np_dtype(kind)), "w")]
    first = helper.make_node("Cast", ["w"], ["wide"], to=FLOAT)
    if own == "int8":
        weights.append(numpy_helper.from_array(np.array(0.1, np.float32), "scale"))
        first = helper.make_node("DequantizeLinear", ["w", "scale"], ["wide"])
    nodes = [first, helper.make_node("MatMul", ["x", "wide"], ["y"])]
    edges = [helper.make_tensor_value_info(name, FLOAT, [1, 4]) for name in "xy"]
    graph = helper.make_graph(nodes, "g", edges[:1], edges[1:], weights)
    opsets = [helper.make_opsetid("", 18)]
    path = tmp_path / "m.onnx"
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=9), str(path))
    assert onnx_part(path).program().precision == own


def test_open_axes_and_what_no_case_holds_are_refused(tmp_path: Path) -> None:
    node = helper.make_node("Relu", ["x"], ["y"])
    path = saved(tmp_path / "open.onnx", [node], FLOAT, ["batch", 4])
    with pytest.raises(RequestError, match=r"input x has the shape \(batch, 4\).*dynamic_shape_f"):
        onnx_part(path)
    wide = [helper.make_node("Cast", ["x"], ["y"], to=FLOAT)]
    path = saved(tmp_path / "wide.onnx", wide, TensorProto.DOUBLE, [1, 4])
    with pytest.raises(RequestError, match="takes x in float64; golden cases hold float32"):
        onnx_part(path)


def test_what_onnx_runtime_cannot_run_has_nothing_to_be_compared_with(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Cast", ["x"], ["narrow"], to=TensorProto.BFLOAT16),
        helper.make_node("Softmax", ["narrow"], ["soft"]),
        helper.make_node("Cast", ["soft"], ["y"], to=FLOAT),
    ]
    path = saved(tmp_path / "bf16.onnx", nodes, FLOAT, [1, 4])
    with pytest.raises(RequestError, match="ONNX Runtime cannot run it as it is"):
        onnx_part(path)


def test_the_hash_is_of_the_weights_beside_it_too(tmp_path: Path) -> None:
    hashes = []
    for factor in (1, 2):
        table = np.ones((40, 40), np.float32) * factor
        weight = numpy_helper.from_array(table, "table")
        edges = [helper.make_tensor_value_info(name, FLOAT, [40, 40]) for name in "xy"]
        node = helper.make_node("MatMul", ["x", "table"], ["y"])
        graph = helper.make_graph([node], "g", edges[:1], edges[1:], [weight])
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
        home = tmp_path / str(factor)
        home.mkdir()
        path = home / "m.onnx"
        onnx.save(model, str(path), save_as_external_data=True, location="w", size_threshold=0)
        hashes.append((path.read_bytes(), onnx_part(path).program().sha256))
    assert hashes[0][0] == hashes[1][0] and hashes[0][1] != hashes[1][1]
