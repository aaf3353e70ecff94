"""A foreign ONNX file is believed in nothing."""

import os
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from minuet.contracts.errors import DamagedError, RequestError
from minuet.contracts.tensors import Signature, TensorSpec
from minuet.export.onnx_read import read_onnx
from minuet.export.to_onnx import adopt_onnx
from tests.export.onnx_files import SIZE, WEIGHT, adder, beside, model


def saved(folder: Path, made: onnx.ModelProto) -> Path:
    path = folder / "model.onnx"
    path.write_bytes(made.SerializeToString())
    return path


def test_weights_beside_a_file_are_taken_along(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in/w.bin").write_bytes(b"padding!" + WEIGHT.tobytes())
    path = beside(tmp_path / "in", "w.bin", offset="8")
    artifact = adopt_onnx(path, tmp_path / "out", "fp32", inline_bytes=0)
    assert [file.path for file in artifact.files] == [
        "onnx-fp32/model.onnx",
        "onnx-fp32/model.onnx.data",
    ]
    assert (tmp_path / "out/onnx-fp32/model.onnx.data").read_bytes() == WEIGHT.tobytes()


@pytest.mark.parametrize("location", ["../secret.bin", "sub/../../secret.bin", "", "C:\\secret"])
def test_weights_outside_the_folder_are_refused(tmp_path: Path, location: str) -> None:
    (tmp_path / "secret.bin").write_bytes(WEIGHT.tobytes())
    with pytest.raises(DamagedError, match="points outside its folder"):
        read_onnx(beside(tmp_path / "in", location))


def test_an_absolute_path_is_refused(tmp_path: Path) -> None:
    (tmp_path / "secret.bin").write_bytes(WEIGHT.tobytes())
    with pytest.raises(DamagedError, match="points outside"):
        read_onnx(beside(tmp_path / "in", str(tmp_path / "secret.bin")))


def test_weights_behind_a_symbolic_link_are_refused(tmp_path: Path) -> None:
    (tmp_path / "secret.bin").write_bytes(WEIGHT.tobytes())
    path = beside(tmp_path / "in", "w.bin")
    (tmp_path / "in/w.bin").symlink_to(tmp_path / "secret.bin")
    with pytest.raises(DamagedError, match="by a link"):
        read_onnx(path)
    (tmp_path / "in/w.bin").unlink()
    (tmp_path / "in/own.bin").write_bytes(WEIGHT.tobytes())
    (tmp_path / "in/w.bin").symlink_to("own.bin")
    with pytest.raises(DamagedError, match="or a link"):
        read_onnx(path)


def test_weights_behind_a_hard_link_are_refused(tmp_path: Path) -> None:
    (tmp_path / "secret.bin").write_bytes(WEIGHT.tobytes())
    path = beside(tmp_path / "in", "w.bin")
    os.link(tmp_path / "secret.bin", tmp_path / "in/w.bin")
    with pytest.raises(DamagedError, match="missing, or a link"):
        read_onnx(path)


@pytest.mark.parametrize(
    ("offset", "length"), [("0", "2396"), ("4", "2400"), ("-4", "2400"), ("0", "9" * 30)]
)
def test_weights_of_another_size_than_their_shape_are_refused(
    tmp_path: Path, offset: str, length: str
) -> None:
    path = beside(tmp_path, "w.bin", offset=offset, length=length)
    (tmp_path / "w.bin").write_bytes(WEIGHT.tobytes())
    with pytest.raises(DamagedError, match="takes 2400 bytes by its shape"):
        read_onnx(path)


def test_a_place_that_is_no_number_is_refused(tmp_path: Path) -> None:
    path = beside(tmp_path, "w.bin", offset="0x0")
    (tmp_path / "w.bin").write_bytes(WEIGHT.tobytes())
    with pytest.raises(DamagedError, match="of where it lies"):
        read_onnx(path)


@pytest.mark.parametrize("dims", [[SIZE + 1], [1 << 20, 1 << 20], [-600]])
def test_a_weight_that_does_not_fill_its_shape_is_refused(tmp_path: Path, dims: list[int]) -> None:
    made = adder()
    made.graph.initializer[0].dims[:] = dims
    with pytest.raises(DamagedError, match=r"impossible shape|does not fill its shape"):
        read_onnx(saved(tmp_path, made))


def test_an_output_that_lies_about_its_shape_is_refused(tmp_path: Path) -> None:
    made = adder()
    made.graph.output[0].type.tensor_type.shape.dim[0].dim_value = SIZE - 1
    with pytest.raises(DamagedError, match="what it says of itself does not hold"):
        read_onnx(saved(tmp_path, made))


def test_a_value_inside_that_lies_about_its_type_is_refused(tmp_path: Path) -> None:
    made = model([helper.make_node("Neg", ["x"], ["h"]), helper.make_node("Neg", ["h"], ["y"])], {})
    made.graph.value_info.append(helper.make_tensor_value_info("h", TensorProto.FLOAT, (3, 3)))
    with pytest.raises(DamagedError, match="does not hold"):
        read_onnx(saved(tmp_path, made))


def test_custom_operators_are_refused_by_name(tmp_path: Path) -> None:
    made = adder()
    made.graph.node[0].domain, made.graph.node[0].op_type = "com.evil", "RunShell"
    with pytest.raises(RequestError, match=r"com\.evil\.RunShell .node 'add'. is no operator"):
        read_onnx(saved(tmp_path, made))


def test_custom_operators_inside_functions_are_refused_too(tmp_path: Path) -> None:
    made = adder()
    inner = helper.make_node("RunShell", ["a"], ["b"], domain="com.evil")
    imports = [helper.make_opsetid("", 18), helper.make_opsetid("com.evil", 1)]
    made.functions.append(helper.make_function("ours", "F", ["a"], ["b"], [inner], imports))
    with pytest.raises(RequestError, match=r"com\.evil\.RunShell"):
        read_onnx(saved(tmp_path, made))


def test_another_signature_is_refused(tmp_path: Path) -> None:
    path = saved(tmp_path, adder())
    x = TensorSpec(name="x", axes="N", shape=(SIZE,), dtype="float32")
    y = TensorSpec(name="y", axes="N", shape=(SIZE,), dtype="float32")
    read_onnx(path, Signature(inputs=(x,), outputs=(y,)))
    wrong = TensorSpec(name="x", axes="N", shape=(SIZE,), dtype="int32")
    with pytest.raises(RequestError, match=r"needs .'x', 'int32'.* the model has"):
        read_onnx(path, Signature(inputs=(wrong,), outputs=(y,)))
    with pytest.raises(RequestError, match="more than the signature knows"):
        read_onnx(path, Signature(inputs=(), outputs=(y,)))


def test_what_is_no_model_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    for data in (b"", b"\x08\x07junk", np.zeros(100, np.uint8).tobytes()):
        path.write_bytes(data)
        with pytest.raises(RequestError, match="not a sound ONNX model"):
            read_onnx(path)
    with pytest.raises(RequestError, match="no file"):
        read_onnx(tmp_path / "none.onnx")
