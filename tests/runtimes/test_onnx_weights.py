from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from minuet.contracts.errors import DamagedError
from minuet.runtimes.onnx_weights import weights

W = np.zeros((6, 4, 3, 3), np.float32)


def saved(path: Path, nodes: list[onnx.NodeProto], **constants: np.ndarray) -> Path:
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 4, 8, 8])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    rows = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    onnx.save(helper.make_model(helper.make_graph(nodes, "g", [x], [y], rows)), str(path))
    return path


def test_a_weight_is_found_by_every_name_its_operator_goes_by(tmp_path: Path) -> None:
    conv = helper.make_node("Conv", ["x", "w"], ["y"], name="node_conv2d")
    found = weights(saved(tmp_path / "m.onnx", [conv], w=W))
    assert found == dict.fromkeys(("node_conv2d", "conv2d", "y"), W.shape)


def test_a_weight_is_found_behind_its_codes(tmp_path: Path) -> None:
    """As quantization writes it: codes, widened, times a scale; or dequantized."""
    nodes = [
        helper.make_node("Cast", ["codes"], ["wide"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["wide", "scale"], ["w"]),
        helper.make_node("Conv", ["x", "w"], ["a"], name="one"),
        helper.make_node("DequantizeLinear", ["codes", "step"], ["v"]),
        helper.make_node("Conv", ["a", "v"], ["b"], name="two"),
        helper.make_node("Mul", ["b", "b"], ["y"], name="none"),
    ]
    constants: dict[str, np.ndarray] = {
        "codes": W.astype(np.int8),
        "scale": np.ones((6, 1, 1, 1), np.float32),
        "step": np.array(1, np.float32),
    }
    found = weights(saved(tmp_path / "m.onnx", nodes, **constants))
    assert found["one"] == found["two"] == W.shape and "none" not in found


def test_a_constant_that_is_a_node_is_a_weight(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Constant", [], ["w"], value=numpy_helper.from_array(W)),
        helper.make_node("Conv", ["x", "w"], ["y"], name="conv"),
    ]
    assert weights(saved(tmp_path / "m.onnx", nodes))["conv"] == W.shape


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    conv = helper.make_node("Conv", ["x", "w"], ["y"], name="conv")
    path = saved(tmp_path / "m.onnx", [conv], w=W)
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(DamagedError, match=r"m\.onnx: damaged ONNX file"):
        weights(path)
