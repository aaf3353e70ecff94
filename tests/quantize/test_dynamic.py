"""Linear layers in int8 by the range of the moment: near float in both runtimes."""

from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

from minuet.contracts.tensors import Array
from minuet.quantize import dynamic
from minuet.quantize.dynamic import finish
from minuet.quantize.groups import pack8
from tests.quantize.tiny import db, recipe

RNG = np.random.default_rng(0)
WEIGHTS = {name: RNG.standard_normal((64, 64)).astype(np.float32) for name in ("q", "k", "o")}
BIAS = RNG.standard_normal(64).astype(np.float32)
GIVEN = RNG.standard_normal((10, 64)).astype(np.float32)
DYNAMIC = replace(
    recipe(),
    scheme="int8-dynamic",
    layers={"stem": "weights", "mlp": "int8", "film": "float", "out": "float"},
)


def model(rounded: bool = True) -> Any:
    """Two layers of one input, the second a Gemm with a bias; a third that stays float."""
    made = {name: pack8(value).unpack() if rounded else value for name, value in WEIGHTS.items()}
    made["o"] = WEIGHTS["o"]
    made = {"q": made["q"].T.copy(), "k": made["k"], "o": made["o"], "bias": BIAS}
    nodes = [
        helper.make_node("MatMul", ["x", "q"], ["a"]),
        helper.make_node("Gemm", ["x", "k", "bias"], ["b"], transB=1),
        helper.make_node("Add", ["a", "b"], ["c"]),
        helper.make_node("MatMul", ["c", "o"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, GIVEN.shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, GIVEN.shape)],
        [numpy_helper.from_array(value, name) for name, value in made.items()],
    )
    found = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])
    found.ir_version = 9
    return found


def run(proto: Any) -> Array:
    options = ort.SessionOptions()
    options.log_severity_level = 3
    providers = ["CPUExecutionProvider"]
    session = ort.InferenceSession(proto.SerializeToString(), options, providers=providers)
    found: Array = session.run(None, {"x": GIVEN})[0]
    return found


def by_hand(x: Array, weight_OI: Array) -> Array:
    """uint8 codes of x over its range with zero, int8 codes of the weight, summed in integers."""
    low, high = min(x.min(), 0), max(x.max(), 0)
    scale = (high - low) / 255
    zero = np.rint(-low / scale)
    codes = np.clip(np.rint(x / scale) + zero, 0, 255).astype(np.int64) - int(zero)
    steps = np.abs(weight_OI).max(1) / 127
    sums = codes @ np.rint(weight_OI / steps[:, None]).astype(np.int64).T
    return np.asarray(sums * scale * steps, np.float32)


def test_it_is_the_arithmetic_of_int8_codes() -> None:
    q, k = (pack8(WEIGHTS[name]).unpack() for name in "qk")
    expected = (by_hand(GIVEN, q) + by_hand(GIVEN, k) + BIAS) @ WEIGHTS["o"]
    assert db(expected, run(finish(model()))) > 90
    assert 30 < db(run(model()), run(finish(model()))) < 60


def test_an_input_of_several_layers_is_coded_once_and_others_stay_float() -> None:
    kinds = Counter(node.op_type for node in finish(model()).graph.node)
    assert kinds["DynamicQuantizeLinear"] == 1 and kinds["MatMulInteger"] == 2
    assert kinds["MatMul"] == 1 and kinds["Gemm"] == 0
    assert Counter(node.op_type for node in finish(model(rounded=False)).graph.node)["MatMul"] == 2


def test_columns_scaled_by_anothers_scale_would_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = dynamic.codes_of

    def wrong(*given: Any) -> Any:
        found = whole(*given)
        return found and replace(found, scales=np.roll(found.scales, 1, -1))

    monkeypatch.setattr(dynamic, "codes_of", wrong)
    assert db(run(model()), run(finish(model()))) < 20
