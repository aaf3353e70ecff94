"""An ONNX file from elsewhere becomes a bundle, proved against itself as it came."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper
from typer.testing import CliRunner

from minuet.__main__ import app
from minuet.contracts.files import sha256_of
from minuet.export.bundle import load_bundle, read_golden


def run(*arguments: object) -> tuple[int, str]:
    done = CliRunner().invoke(app, [str(one) for one in arguments])
    return done.exit_code, " ".join(done.output.split())


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two convolutions, by torch's older exporter."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("elsewhere") / "net.onnx"
    net = torch.nn.Sequential(
        torch.nn.Conv2d(3, 8, 3, padding=1), torch.nn.SiLU(), torch.nn.Conv2d(8, 3, 3, padding=1)
    )
    given: dict[str, Any] = {"dynamo": False, "opset_version": 17, "input_names": ["x"]}
    with pytest.warns(DeprecationWarning):
        torch.onnx.export(net.eval(), (torch.ones(1, 3, 16, 16),), str(path), **given)
    return path


@pytest.fixture(scope="module")
def exported(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("out") / "bundle"
    code, said = run("export", model, "--to", "onnx", "--precision", "fp32,fp16", "-o", out)
    assert code == 0, said
    return out


def test_it_is_written_anew_in_its_own_precision_and_in_half(model: Path, exported: Path) -> None:
    manifest = load_bundle(exported)
    assert [row.name for row in manifest.artifacts] == ["onnx-fp16", "onnx-fp32"]
    assert all(row.parity[0].verdict == "pass" for row in manifest.artifacts)
    assert manifest.name == "net" and len(read_golden(exported, manifest)) == 2
    written = onnx.load(str(exported / "onnx-fp32/model.onnx"))
    assert written.producer_name == "minuet" and written.opset_import[0].version == 17
    code, said = run("verify", exported, "--source", model)
    assert code == 0 and "0 failed" in said, said


def test_an_engine_is_built_from_it(model: Path, tmp_path: Path) -> None:
    pytest.importorskip("tensorrt_rtx_bindings")
    code, said = run("export", model, "--to", "onnx,tensorrt", "-o", tmp_path / "bundle")
    assert code == 0, said
    names = [row.name for row in load_bundle(tmp_path / "bundle").artifacts]
    assert names == ["onnx-fp32", "tensorrt-fp16"]
    assert (tmp_path / "bundle/tensorrt-fp16/model.engine").stat().st_size > 10_000


def test_a_changed_golden_case_is_not_what_the_file_makes(
    model: Path, exported: Path, tmp_path: Path
) -> None:
    """Both hashes are mended, and the file in the bundle is changed in the same way."""
    changed = tmp_path / "net.onnx"
    proto = onnx.load(str(model))
    row = proto.graph.initializer[0]
    row.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(row) * np.float32(1.5), row.name))
    onnx.save(proto, str(changed))
    other = tmp_path / "bundle"
    assert run("export", changed, "--to", "onnx", "-o", other)[0] == 0
    code, said = run("verify", other, "--source", model)
    assert code == 2 and "its weights are" in said
    text = (other / "manifest.json").read_text()
    ours, theirs = (load_bundle(one).source_sha256 for one in (exported, other))
    (other / "manifest.json").write_text(text.replace(theirs, ours))
    code, said = run("verify", other, "--source", model)
    assert code == 2 and "is not what the source makes of its inputs" in said


def test_a_file_that_lost_a_weight_on_the_way_is_refused(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from minuet.export import to_onnx
    from minuet.export.onnx_write import write_onnx

    def lossy(graph: Any, path: Path, **more: Any) -> None:
        write_onnx(graph, path, **more)
        proto = onnx.load(str(path))
        row = proto.graph.initializer[0]
        array = numpy_helper.to_array(row).copy()
        array.flat[0] += 0.5
        row.CopyFrom(numpy_helper.from_array(array, row.name))
        path.write_bytes(proto.SerializeToString())

    monkeypatch.setattr(to_onnx, "write_onnx", lossy)
    code, said = run("export", model, "--to", "onnx", "-o", tmp_path / "bundle")
    assert code == 1 and "onnx-fp32 on ort" in said and "Nothing was written" in said
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ((), "executorch and coreml cannot be made of an ONNX file: the source model is needed"),
        (("--to", "onnx", "--precision", "bf16"), "can be written in fp32, fp16, not bf16"),
        (("--to", "onnx", "--precision", "int8"), "int8 needs a student quantized for it"),
        (("--to", "onnx", "--size", "64"), "leave --size out"),
        (("--to", "onnx", "--steps", "3"), "--steps is for pipelines"),
        (("--to", "onnx", "--consumer", "tensorrt"), "keeps its own operator set"),
    ],
)
def test_what_a_file_cannot_be_is_said(
    model: Path, tmp_path: Path, options: tuple[str, ...], message: str
) -> None:
    code, said = run("export", model, *options, "-o", tmp_path / "bundle")
    assert code == 2 and message in said, said
    assert not (tmp_path / "bundle").exists()


def test_a_file_that_lies_is_refused(model: Path, tmp_path: Path) -> None:
    path = Path(shutil.copy(model, tmp_path / "net.onnx"))
    proto = onnx.load(str(path))
    proto.graph.output[0].type.tensor_type.shape.dim[1].dim_value = 7
    path.write_bytes(proto.SerializeToString())
    before = sha256_of(path)
    code, said = run("export", path, "--to", "onnx", "-o", tmp_path / "bundle")
    assert code == 2 and "not a sound ONNX model" in said and sha256_of(path) == before
