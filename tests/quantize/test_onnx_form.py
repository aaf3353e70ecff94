"""The fast and small form of an ONNX model computes what the exported one computes."""

import contextlib
import io
import warnings
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from minuet.contracts.tensors import Array
from minuet.quantize.apply import quantize_program
from minuet.quantize.calibrate import calibrate
from minuet.quantize.onnx_form import finish
from tests.quantize.tiny import captured, clips, network, recipe


@pytest.fixture(scope="module")
def exported() -> Any:
    """The tiny network as torch.onnx writes it, int8 with one layer of each treatment."""
    program, example = captured(network())
    ranges = calibrate(program.module(), clips(4))
    asked = recipe(keep_float=("out",), keep_activations=("film",))
    made = quantize_program(program, example, asked, ranges, "onnx")
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        found = torch.onnx.export(made, (), dynamo=True, opset_version=18, verbose=False)
    assert found is not None
    return found.model_proto


def finished(model: Any) -> Any:
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    return finish(copy)


def run(model: Any, image: Array) -> Array:
    options = ort.SessionOptions()
    options.log_severity_level = 3
    session = ort.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    frames: Array = session.run(None, {session.get_inputs()[0].name: image})[0]
    return frames


def types_of(model: Any, op: str) -> set[int]:
    constants = {row.name: row.data_type for row in model.graph.initializer}
    return {constants[n.input[2]] for n in model.graph.node if n.op_type == op}


def test_the_form_is_a_sound_model(exported: Any) -> None:
    onnx.checker.check_model(finished(exported), full_check=True)


def test_the_form_computes_the_same(exported: Any) -> None:
    for one in clips(3, seed=5):
        before, after = run(exported, one["image"]), run(finished(exported), one["image"])
        # a code may round the other way where kernels add up in another order
        assert np.abs(before - after).max() < 0.05 and np.abs(before - after).mean() < 1e-3


def test_activations_are_unsigned_and_weights_signed(exported: Any) -> None:
    assert types_of(finished(exported), "QuantizeLinear") == {TensorProto.UINT8}
    assert TensorProto.INT8 in types_of(finished(exported), "DequantizeLinear")


def test_only_layers_that_compute_in_int8_unpack_at_run_time(exported: Any) -> None:
    made = finished(exported)
    constants = {row.name for row in made.graph.initializer}
    unpacked = [
        n for n in made.graph.node if n.op_type == "DequantizeLinear" and n.input[0] in constants
    ]
    readers = {name: n.op_type for n in made.graph.node for name in n.input}
    assert {readers[n.output[0]] for n in unpacked} == {"Conv"}


def test_no_float_is_stored_wide_where_half_is_exact() -> None:
    rng = np.random.default_rng(0)
    exact = rng.standard_normal((64, 64)).astype(np.float16).astype(np.float32)
    wide = rng.standard_normal((64, 64)).astype(np.float32)
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["x", "a"], ["h"]),
            helper.make_node("MatMul", ["h", "b"], ["y"]),
        ],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 64])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 64])],
        [numpy_helper.from_array(exact, "a"), numpy_helper.from_array(wide, "b")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])
    model.ir_version = 9
    x = rng.standard_normal((1, 64)).astype(np.float32)
    before = run(model, x)
    kept = {row.name: row.data_type for row in finish(model).graph.initializer}
    assert kept == {"a_half": TensorProto.FLOAT16, "b": TensorProto.FLOAT}
    assert np.array_equal(before, run(model, x))


def test_nothing_unused_is_shipped(exported: Any) -> None:
    made = finished(exported)
    used = {name for node in made.graph.node for name in node.input}
    assert {row.name for row in made.graph.initializer} <= used


def test_equal_constants_are_shipped_once(exported: Any) -> None:
    made = finished(exported)
    seen = [(row.data_type, tuple(row.dims), row.raw_data) for row in made.graph.initializer]
    assert len(set(seen)) == len(seen)
