"""Export writes what it proved, whole or not at all; verify believes nobody."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper
from typer.testing import CliRunner

from minuet.__main__ import app
from minuet.commands.common import Out
from minuet.commands.export import Job, plan_jobs, words
from minuet.contracts.errors import RequestError
from minuet.contracts.files import sha256_of
from minuet.export.bundle import load_bundle
from minuet.models.denoiser import DenoiserConfig
from minuet.models.student import Sampler, Student, save_student
from minuet.stickers import captions


def run(*arguments: str) -> Any:
    return CliRunner().invoke(app, list(arguments))


@pytest.fixture(scope="module")
def student(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The smallest student there is, with weights that do something."""
    from minuet.models.denoiser import Denoiser

    torch.manual_seed(0)
    config = DenoiserConfig(fine=8, coarse=16, depth=1, encoder=8, text=16, film=16, shuffle=8)
    network = Denoiser(config)
    with torch.no_grad():
        for parameter in network.parameters():
            if not parameter.abs().max():
                parameter.normal_(0, 0.05)
    folder = tmp_path_factory.mktemp("made") / "student"
    levels = Sampler(levels=(1.0, 0.0))
    whole = Student(
        network=network, sampler=levels, tokenizer=captions.tokenizer_json(), card="# Tiny\n"
    )
    save_student(whole, folder)
    return folder


@pytest.fixture(scope="module")
def exported(student: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    bundle = tmp_path_factory.mktemp("out") / "bundle"
    done = run("export", str(student), "--to", "onnx", "--size", "64", "-o", str(bundle))
    assert done.exit_code == 0, done.output
    return bundle


@pytest.fixture
def bundle(exported: Path, tmp_path: Path) -> Path:
    """A copy that may be damaged."""
    import shutil

    return Path(shutil.copytree(exported, tmp_path / "bundle"))


def test_an_exported_bundle_is_whole_and_its_parity_is_written_down(exported: Path) -> None:
    manifest = load_bundle(exported)
    (artifact,) = manifest.artifacts
    assert artifact.name == "onnx-fp32" and manifest.sampler["steps"] == 1
    verdicts = {parity.backend.split(":")[0]: parity.verdict for parity in artifact.parity}
    assert verdicts["ort"] == "pass"
    names = {file.path for file in manifest.files}
    assert {"tokenizer.json", "card.md", "golden/00.safetensors"} <= names


def test_the_same_student_and_seed_give_the_same_bytes(
    student: Path, exported: Path, tmp_path: Path
) -> None:
    again = tmp_path / "again"
    done = run("export", str(student), "--to", "onnx", "--size", "64", "-o", str(again))
    assert done.exit_code == 0, done.output
    found, expected = (
        {p.relative_to(root): sha256_of(p) for p in root.rglob("*") if p.is_file()}
        for root in (again, exported)
    )
    assert found == expected


def test_verify_passes_what_was_exported_and_says_what_was_not_run(bundle: Path) -> None:
    done = run("verify", str(bundle), "--json")
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert told["verdict"] == "pass" and told["cases"] == 2


def weaken(bundle: Path) -> None:
    """Change one weight in the ONNX file, and mend every hash: a fault that only frames show."""
    path = bundle / "onnx-fp32/model.onnx"
    model = onnx.load(str(path))
    weights = [c for c in model.graph.initializer if c.name.endswith("weight") and len(c.dims) == 4]
    last = weights[-1]
    array = numpy_helper.to_array(last).copy()
    array.flat[0] += 0.5
    last.CopyFrom(numpy_helper.from_array(array, last.name))
    path.write_bytes(model.SerializeToString())
    manifest = json.loads((bundle / "manifest.json").read_text())
    row = manifest["artifacts"][0]["files"][0]
    row.update(bytes=path.stat().st_size, sha256=sha256_of(path))
    (bundle / "manifest.json").write_text(json.dumps(manifest))


def test_one_changed_weight_behind_a_mended_hash_is_caught(bundle: Path) -> None:
    weaken(bundle)
    load_bundle(bundle)
    done = run("verify", str(bundle))
    assert done.exit_code == 1
    assert "not the model that was exported: onnx-fp32 on ort" in done.output


def test_a_truncated_bundle_is_exit_code_2(bundle: Path) -> None:
    path = bundle / "onnx-fp32/model.onnx"
    path.write_bytes(path.read_bytes()[:-100])
    done = run("verify", str(bundle))
    assert done.exit_code == 2 and "truncated" in done.output


def test_a_bundle_that_nothing_here_opens_is_exit_code_4(
    bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("minuet.proof.runtimes_for", lambda target: ())
    assert run("verify", str(bundle)).exit_code == 4


@pytest.fixture
def faulty(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An exporter that loses a weight."""
    from minuet.export import to_onnx

    honest = to_onnx.onnx_model

    def lose(program: Any) -> Any:
        model = honest(program)
        largest = max(model.graph.initializer, key=lambda c: int(np.prod(c.dims)))
        zeros = np.zeros_like(numpy_helper.to_array(largest))
        largest.CopyFrom(numpy_helper.from_array(zeros, largest.name))
        return model

    monkeypatch.setattr(to_onnx, "onnx_model", lose)
    yield


@pytest.mark.usefixtures("faulty")
def test_a_failed_parity_fails_the_export_and_writes_nothing(student: Path, tmp_path: Path) -> None:
    out = tmp_path / "bundle"
    done = run("export", str(student), "--to", "onnx", "--size", "64", "-o", str(out))
    assert done.exit_code == 1 and "dB against eager" in done.output
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_no_bundle_is_not_replaced(student: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    done = run("export", str(student), "--to", "onnx", "--size", "64", "-o", str(tmp_path))
    assert done.exit_code == 2 and "is not a bundle" in done.output
    assert (tmp_path / "thesis.txt").exists()


def test_jobs_are_targets_times_precisions_and_omissions_are_said(
    capsys: pytest.CaptureFixture[str],
) -> None:
    jobs = plan_jobs(words("onnx, executorch,onnx"), ["fp32", "fp16"], Out())
    names = [(job.target, job.precision) for job in jobs]
    assert names == [("onnx", "fp32"), ("onnx", "fp16"), ("executorch", "fp32")]
    assert "executorch is not written in fp16; left out" in capsys.readouterr().err


def test_a_quantized_student_is_int8_where_that_is_written() -> None:
    jobs = plan_jobs(["onnx", "coreml"], [], Out(), quantized=True)
    assert jobs == [
        Job(target="onnx", precision="int8"),
        Job(target="coreml", precision="fp16"),
    ]


@pytest.mark.parametrize(
    ("targets", "precisions", "message"),
    [
        (["tflite"], [], "'tflite' is not known"),
        (["onnx"], ["fp12"], "'fp12' is not known"),
        (["executorch"], ["fp16"], "executorch is written in fp32, int8 only"),
        (["onnx"], ["int8"], "needs a calibrated student"),
        ([], [], "no target was asked for"),
    ],
)
def test_what_cannot_be_written_is_refused(
    targets: list[str], precisions: list[str], message: str
) -> None:
    with pytest.raises(RequestError, match=message):
        plan_jobs(targets, precisions, Out())
