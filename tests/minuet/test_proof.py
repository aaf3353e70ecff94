"""A file that cannot be run as it should be is a failure; only what is unknown is not run."""

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from typer.testing import CliRunner

from minuet.__main__ import app
from minuet.contracts.artifact import Artifact, Parity
from minuet.contracts.errors import DamagedError
from minuet.contracts.tensors import Arrays, Signature, TensorSpec
from minuet.export.bundle import Golden, seal, write_golden
from minuet.export.files import describe
from minuet.proof import Proof, _recorded, prove
from tests.mlpackage import Op, Tensor, constant, message, write

X = TensorSpec(name="x", axes="C", shape=(2,), dtype="float32")
Y = replace(X, name="y")
PAIR = Signature(inputs=(X,), outputs=(Y,))
GIVEN: Arrays = {"x": np.array([3.0, 4.0], np.float32)}
CASE = Golden(name="00", inputs=GIVEN, outputs={"y": GIVEN["x"] ** 2})
GIVEN_ML, MADE_ML = Tensor(name="x", shape=(2,)), Tensor(name="y", shape=(2,))


def package(folder: Path, kind: str = "mul", made: Tensor = MADE_ML) -> Path:
    ops = [Op(kind=kind, outputs=[made], inputs={"x": "x", "y": "x"})]
    return write(folder / "coreml-fp32", [GIVEN_ML], ops, ["y"])


def artifact(folder: Path, target: str, entry: Path) -> Artifact:
    return describe(folder, target=target, precision="fp32", entry=entry, requires={}, seconds=0)


def proved(folder: Path, target: str, entry: Path, case: Golden = CASE) -> dict[str, Proof]:
    row = artifact(folder, target, entry)
    return {proof.runtime: proof for proof in prove(folder, row, PAIR, [case])}


def truncate(package: Path) -> None:
    (model,) = package.rglob("model.mlmodel")
    model.write_bytes(model.read_bytes()[:-20])


def lose_index(package: Path) -> None:
    (package / "Manifest.json").write_text("{}")


pytest.importorskip("coremltools")


def test_a_whole_package_passes(tmp_path: Path) -> None:
    found = proved(tmp_path, "coreml", package(tmp_path))
    assert found["mil"].parity.verdict == "pass"


@pytest.mark.parametrize("damage", [truncate, lose_index])
def test_a_damaged_package_fails(tmp_path: Path, damage: Callable[[Path], None]) -> None:
    one = package(tmp_path)
    damage(one)
    found = proved(tmp_path, "coreml", one)["mil"]
    assert found.failed and "export again" in found.parity.reason


def test_a_package_with_damaged_weights_fails(tmp_path: Path) -> None:
    one = package(tmp_path)
    (path,) = one.rglob("model.mlmodel")
    model: Any = message()
    model.ParseFromString(path.read_bytes())
    block = model.mlProgram.functions["main"].block_specializations["CoreML8"]
    value = block.operations[0].inputs["y"].arguments[0]
    constant(value.value, np.ones(2, np.float32))
    value.value.ClearField("immediateValue")
    value.value.blobFileValue.fileName = "@model_path/weights/weight.bin"
    value.value.blobFileValue.offset = 64
    path.write_bytes(model.SerializeToString())
    (path.parent / "weights/weight.bin").write_bytes(bytes(256))
    found = proved(tmp_path, "coreml", one)["mil"]
    assert found.failed and "damaged weights" in found.parity.reason


def test_a_package_that_computes_another_shape_than_it_declares_fails(tmp_path: Path) -> None:
    one = package(tmp_path, made=Tensor(name="y", shape=(3,)))
    found = proved(tmp_path, "coreml", one)["mil"]
    assert found.failed and "declared is (3,)" in found.parity.reason


@pytest.mark.parametrize("kind", ["random_normal", "an_operation_of_ios_30"])
def test_an_operation_that_is_not_known_is_not_run(tmp_path: Path, kind: str) -> None:
    found = proved(tmp_path, "coreml", package(tmp_path, kind))["mil"]
    assert found.parity.verdict == "not run" and kind in found.parity.reason


def gathering(folder: Path) -> Path:
    """An ONNX file that fails while it runs: an index beyond the end."""
    path = folder / "onnx-fp32/model.onnx"
    path.parent.mkdir()
    far = helper.make_tensor("far", TensorProto.FLOAT, [1], [1.0])
    graph = helper.make_graph(
        [
            helper.make_node("Cast", ["x"], ["at"], to=TensorProto.INT64),
            helper.make_node("Gather", ["far", "at"], ["y"]),
        ],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [2])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [2])],
        [far],
    )
    opset = [helper.make_opsetid("", 18)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=9), str(path))
    return path


def test_a_library_that_fails_while_it_runs_is_a_failure(tmp_path: Path) -> None:
    found = proved(tmp_path, "onnx", gathering(tmp_path))["ort"]
    assert found.failed and "out of data bounds" in found.parity.reason
    assert found.parity.backend.startswith("ort: onnxruntime ")


def test_a_link_that_nobody_vouches_for_is_damage_and_no_verdict(tmp_path: Path) -> None:
    path = gathering(tmp_path)
    row = artifact(tmp_path, "onnx", path)
    (tmp_path / "secret").write_bytes(b"x")
    os.link(tmp_path / "secret", path.with_name("weights"))
    with pytest.raises(DamagedError, match="a link beside a model"):
        list(prove(tmp_path, row, PAIR, [CASE]))


def sealed(folder: Path, entry: Path) -> Path:
    write_golden(folder, [CASE])
    rows = [artifact(folder, "coreml", entry)]
    seal(
        folder, name="b", family="f", programs={"main": PAIR}, sampler={}, artifacts=rows,
        source_sha256="0" * 64,
    )  # fmt: skip
    return folder


def test_verify_of_a_bundle_resealed_around_a_broken_package_fails(tmp_path: Path) -> None:
    one = package(tmp_path / "bundle")
    truncate(one)
    done = CliRunner().invoke(app, ["verify", str(sealed(tmp_path / "bundle", one))])
    assert done.exit_code == 1, done.output
    assert "fail: coreml-fp32 on mil" in done.output


def test_the_record_asks_of_every_output_no_more_than_the_export_did() -> None:
    noisy = Parity(verdict="pass", metric="snr", value=97.0, tolerance=91.0)
    near = Parity(verdict="pass", metric="snr", value=102.0, tolerance=101.5)
    other = Parity(verdict="pass", metric="psnr", value=80.0, tolerance=75.2)
    assert _recorded([noisy, near, other]) == replace(near, tolerance=91.0)
    failed = replace(near, verdict="fail")
    assert _recorded([noisy, failed]) == failed
