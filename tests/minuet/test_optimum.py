"""What optimum is not told, or cannot take, is refused before anything is written."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from typer.testing import CliRunner

from minuet.__main__ import app
from minuet.commands.common import Out
from minuet.contracts.errors import RequestError
from minuet.export import optimum_layout
from minuet.export.onnx_write import write_onnx
from minuet.export.optimum_faces import Face, text_face, vae_faces
from minuet.optimum import for_optimum
from tests import pipelines


def run(*arguments: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, ["export", *arguments])
    return done.exit_code, " ".join(done.output.split())


@pytest.mark.parametrize(
    "option",
    [
        "--to coreml", "--size 64", "--components unet", "--fused", "--steps 3", "--frames 2",
        "--guidance 1", "--set a=1", "--local-code", "--gpu SM89", "--max-fallback 0.5", "--ios 16",
        "--also 64", "--also-as shapes", "--units cpuOnly", "--seed 1", "--threads 2",
        "--consumer openvino", "--strip-weights",
    ],
)  # fmt: skip
def test_an_option_that_says_nothing_to_it_is_refused(tmp_path: Path, option: str) -> None:
    code, said = run(str(tmp_path), "--optimum", *option.split(), "-o", str(tmp_path / "out"))
    assert code == 2 and f"{option.split()[0]} says nothing to --optimum" in said


@pytest.mark.parametrize("precision", ["int8", "fp99"])
def test_only_widths_of_floats_are_precisions(tmp_path: Path, precision: str) -> None:
    out = tmp_path / "out"
    code, said = run(str(tmp_path), "--optimum", "--precision", precision, "-o", str(out))
    assert code == 2 and f"optimum's files are fp32, fp16, bf16, not {precision}." in said
    assert not out.exists()


def test_what_is_no_pipeline_is_told_apart(tmp_path: Path) -> None:
    (tmp_path / "model.json").write_text("{}")
    with pytest.raises(RequestError, match="a student; --optimum is for pipelines"):
        for_optimum(str(tmp_path), tmp_path / "out", [], [], Out())
    with pytest.raises(RequestError, match="nowhere: not there; --optimum takes a diffusers"):
        for_optimum(str(tmp_path / "nowhere"), tmp_path / "out", [], [], Out())


@pytest.fixture
def two(monkeypatch: pytest.MonkeyPatch) -> str:
    """A pipeline of which only two networks are looked at, for quickness."""

    def faces(pipeline: Any) -> Iterator[Face]:
        yield text_face("text_encoder", pipeline.text_encoder)
        yield list(vae_faces(pipeline.vae, 16))[1]

    monkeypatch.setattr(optimum_layout, "faces_of", faces)
    return str(pipelines.build("sd"))


@pytest.mark.slow
def test_each_network_is_proved_and_its_figures_said(tmp_path: Path, two: str) -> None:
    out = tmp_path / "out"
    code, said = run(two, "--optimum", "-o", str(out))
    assert code == 0, said
    for name, sizes in {
        "text_encoder": "1 and 3",
        "vae_decoder": "1 of 16x16 and 3 of 12x10",
    }.items():
        assert re.search(rf"{name} [\d.]+ MiB proved at {sizes}: ort 1[1-4]\d\.\d dB", said), said
        assert (out / name / "model.onnx").is_file()


@pytest.mark.slow
def test_halves_are_judged_as_halves(tmp_path: Path, two: str) -> None:
    code, said = run(two, "--optimum", "--precision", "fp16", "-o", str(tmp_path / "out"))
    assert code == 0 and said.count("rounded") == 2, said


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["weight", "size"])
def test_a_network_that_is_another_stops_all(
    tmp_path: Path, two: str, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    """A weight that was lost shows at once; sides that were fixed, at the other size."""

    def faulty(model: Any, path: Path, **more: Any) -> None:
        write_onnx(model, path, **more)
        if path.parent.name != "vae_decoder":
            return
        proto = onnx.load(str(path))
        if fault == "weight":
            row = max(proto.graph.initializer, key=lambda one: int(np.prod(one.dims)))
            row.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(row) * 0, row.name))
        else:
            for axis, side in enumerate((1, 4, 16, 16)):
                dim = proto.graph.input[0].type.tensor_type.shape.dim[axis]
                dim.Clear()
                dim.dim_value = side
        path.write_bytes(proto.SerializeToString())

    monkeypatch.setattr(optimum_layout, "write_onnx", faulty)
    code, said = run(two, "--optimum", "-o", str(tmp_path / "out"))
    assert code == 1 and "Nothing was written" in said, said
    assert "onnx-fp32/vae_decoder on ort" in said
    assert list(tmp_path.iterdir()) == []
