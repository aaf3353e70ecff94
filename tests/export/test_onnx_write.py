"""Weights reach the disk whole, in one file or in two, and the same ones as the same bytes."""

from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime as ort
import pytest

from minuet.export import onnx_write
from minuet.export.onnx_write import ALIGN_BYTES, SMALL_BYTES, write_onnx
from tests.export.onnx_files import SIZE, WEIGHT, adder


def run(path: Path) -> np.ndarray:
    onnx.checker.check_model(str(path), full_check=True)
    session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    found: np.ndarray = session.run(None, {"x": np.ones(SIZE, np.float32)})[0]
    return found


@pytest.mark.parametrize("inline_bytes", [10_000, SMALL_BYTES])
def test_a_model_reads_the_weights_that_were_written(tmp_path: Path, inline_bytes: int) -> None:
    path = tmp_path / "model.onnx"
    write_onnx(ir.from_proto(adder()), path, inline_bytes=inline_bytes)
    np.testing.assert_array_equal(run(path), 1 + WEIGHT)


def test_weights_above_the_limit_lie_beside_the_model(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    write_onnx(ir.from_proto(adder()), path, inline_bytes=4 * SIZE)
    assert [file.name for file in tmp_path.iterdir()] == ["model.onnx"]
    write_onnx(ir.from_proto(adder()), path, inline_bytes=4 * SIZE - 1)
    assert {file.name for file in tmp_path.iterdir()} == {"model.onnx", "model.onnx.data"}
    assert (tmp_path / "model.onnx.data").read_bytes() == WEIGHT.tobytes()
    assert path.stat().st_size < SMALL_BYTES


def test_a_file_written_in_pieces_is_what_protobuf_itself_reads(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    write_onnx(ir.from_proto(adder()), path)
    found = onnx.load(str(path)).graph.initializer[0]
    assert found == adder().graph.initializer[0]


@pytest.mark.parametrize("inline_bytes", [10_000, SMALL_BYTES])
def test_the_same_graph_gives_the_same_bytes(tmp_path: Path, inline_bytes: int) -> None:
    for name in ("a", "b"):
        write_onnx(ir.from_proto(adder()), tmp_path / name / "m.onnx", inline_bytes=inline_bytes)
    one, other = (sorted((tmp_path / name).iterdir()) for name in ("a", "b"))
    assert [file.read_bytes() for file in one] == [file.read_bytes() for file in other]


def test_weights_begin_on_pages(tmp_path: Path) -> None:
    made = adder()
    second = made.graph.initializer.add()
    second.CopyFrom(made.graph.initializer[0])
    second.name = "v"
    made.graph.node.add(op_type="Add", input=["y", "v"], output=["z"], name="more")
    made.graph.output[0].name = "z"
    write_onnx(ir.from_proto(made), tmp_path / "m.onnx", inline_bytes=0)
    rows = onnx.load(str(tmp_path / "m.onnx"), load_external_data=False).graph.initializer
    offsets = [int({e.key: e.value for e in row.external_data}["offset"]) for row in rows]
    assert offsets == [0, ALIGN_BYTES]
    np.testing.assert_array_equal(run(tmp_path / "m.onnx"), 1 + WEIGHT + WEIGHT)


@pytest.mark.parametrize("inline_bytes", [10_000, SMALL_BYTES])
def test_a_failed_write_leaves_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, inline_bytes: int
) -> None:
    (tmp_path / "m.onnx").write_bytes(b"before")

    def full(tensor: object, stream: object) -> None:
        raise OSError(28, "no space")

    monkeypatch.setattr(onnx_write, "_pour", full)
    with pytest.raises(Exception, match="the disk is full"):
        write_onnx(ir.from_proto(adder()), tmp_path / "m.onnx", inline_bytes=inline_bytes)
    assert [file.read_bytes() for file in tmp_path.iterdir()] == [b"before"]


@pytest.mark.parametrize("size", [0, 127, 128, 300, (1 << 31) - 1])
def test_sizes_are_spelled_as_protobuf_spells_them(size: int) -> None:
    from google.protobuf.internal.encoder import _VarintBytes  # type: ignore[import-untyped]

    assert onnx_write._varint(size) == _VarintBytes(size)
