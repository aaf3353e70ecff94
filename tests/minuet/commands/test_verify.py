"""Verify puts backends side by side, and with the source at hand says where a model differs."""

import json
from dataclasses import replace
from pathlib import Path
from shutil import copytree
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from typer.testing import CliRunner

from minuet.__main__ import app
from minuet.benchmarks.parity import METRIC, difference
from minuet.benchmarks.parity_report import Column, side_by_side
from minuet.benchmarks.parity_trajectory import STEP, Finding
from minuet.benchmarks.tolerances import PSNR, SNR
from minuet.commands.verify import _inner
from minuet.contracts.artifact import Artifact, Parity
from minuet.contracts.files import sha256_of
from minuet.export.bundle import load_bundle, read_golden, seal, write_golden
from minuet.proof import recorded_db

SOURCE = "models:autoencoder/f4"


def run(*arguments: str) -> Any:
    return CliRunner().invoke(app, list(arguments))


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    bundle = tmp_path_factory.mktemp("out") / "bundle"
    done = run("export", SOURCE, "--size", "64", "--to", "onnx", "-o", str(bundle))
    assert done.exit_code == 0, done.output
    return bundle


@pytest.fixture
def broken(exported: Path, tmp_path: Path) -> Path:
    """A copy whose decoder has one layer turned round, and a manifest that says nothing of it."""
    bundle = Path(copytree(exported, tmp_path / "bundle"))
    path = bundle / "onnx-fp32/decoder/model.onnx"
    model = onnx.load(str(path))
    largest = max(model.graph.initializer, key=lambda row: int(np.prod(row.dims)))
    wrong = np.ascontiguousarray(numpy_helper.to_array(largest)[::-1])
    largest.CopyFrom(numpy_helper.from_array(wrong, largest.name))
    path.write_bytes(model.SerializeToString())
    manifest = json.loads((bundle / "manifest.json").read_text())
    (row,) = [one for one in manifest["artifacts"] if one["component"] == "decoder"]
    row["files"][0].update(bytes=path.stat().st_size, sha256=sha256_of(path))
    (bundle / "manifest.json").write_text(json.dumps(manifest))
    return bundle


def test_all_backends_stand_side_by_side(exported: Path) -> None:
    done = run("verify", str(exported))
    assert done.exit_code == 0, done.output
    lines = [line for line in done.output.splitlines() if line.startswith("final ")]
    assert [line.split()[1] for line in lines] == ["decoder", "encoder"]
    assert all("✓" in line and "≥" in line for line in lines)
    assert "onnx-fp32" in done.output and "not run: onnx-fp32 on ort-" in done.output


def test_deep_shows_components_steps_trajectory_and_end(exported: Path) -> None:
    done = run("verify", str(exported), "--source", SOURCE, "--deep", "--json")
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert told["verdict"] == "pass"
    column = "onnx-fp32 on ort"
    scopes = [row["scope"] for row in told["report"]["rows"] if row["cells"][column]["db"]]
    assert list(dict.fromkeys(scopes)) == ["component", "step", "trajectory", "final"]


def test_the_first_layer_that_differs_is_named_with_the_source_at_hand(broken: Path) -> None:
    done = run("verify", str(broken), "--source", SOURCE)
    assert done.exit_code == 1
    assert "onnx-fp32/decoder on ort. It first differs in " in done.output
    assert "✗" in done.output


def test_without_the_source_that_is_said(broken: Path) -> None:
    done = run("verify", str(broken))
    assert done.exit_code == 1 and "--source MODEL names the first layer" in done.output


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("models:autoencoder/f8", "its weights are "),
        ("nowhere", "not there. Name a student's"),
    ],
)
def test_a_source_that_is_another_model_is_refused(
    exported: Path, source: str, message: str
) -> None:
    done = run("verify", str(exported), "--source", source)
    assert done.exit_code == 2 and message in done.output.replace("\n", " "), done.output


def test_golden_cases_that_are_not_the_sources_are_damage(exported: Path, tmp_path: Path) -> None:
    """Whoever changes a file, its golden cases and their hashes is found out by the source."""
    bundle = Path(copytree(exported, tmp_path / "bundle"))
    manifest = load_bundle(bundle)
    case = read_golden(bundle, manifest, "decoder")[0]
    wrong = {name: 2 * value for name, value in case.outputs.items()}
    write_golden(bundle, [replace(case, outputs=wrong)])
    seal(
        bundle, name=manifest.name, family=manifest.family, programs=manifest.programs,
        sampler=manifest.sampler, artifacts=manifest.artifacts,
        source_sha256=manifest.source_sha256,
    )  # fmt: skip
    done = run("verify", str(bundle), "--source", SOURCE)
    assert done.exit_code == 2
    assert "golden case decoder/00: its " in done.output.replace("\n", " ")


def test_what_fails_inside_is_counted_beside_what_passes() -> None:
    good, bad = (
        Finding(scope=STEP, component="", step=at, output="", depth=8, found=found)
        for at, found in enumerate(difference(np.ones(4), np.ones(4) + e) for e in (0.0, 0.1))
    )
    column = Column(target="onnx", precision="fp32", runtime="ort")
    assert _inner(side_by_side("a", "b", {column: [good]})) == ""
    assert _inner(side_by_side("a", "b", {column: [good, bad]})) == "; 1 values inside failed"


def test_what_was_asked_at_the_export_is_asked_again_of_the_same_arithmetic() -> None:
    rows = [
        Parity(verdict="pass", backend="ort: 1.31", metric=METRIC[SNR], value=97.3, tolerance=91.3),
        Parity(verdict="pass", backend="openvino-bf16: 1", metric=METRIC[SNR], tolerance=20.0),
        Parity(verdict="fail", backend="openvino: 1", metric=METRIC[SNR], tolerance=1.0),
        Parity(verdict="not run", backend="ort-cuda", reason="not here"),
    ]
    artifact = Artifact(
        target="onnx", precision="fp32", entry="m", files=(), requires={}, parity=tuple(rows)
    )
    assert recorded_db(artifact, "ort-cuda", SNR) == 91.3
    assert recorded_db(artifact, "openvino-bf16", SNR) == 20.0
    assert recorded_db(artifact, "ort", PSNR) is None
    assert recorded_db(replace(artifact, parity=()), "ort", SNR) is None


@pytest.mark.slow
def test_an_export_with_options_is_repeated_from_the_manifest(tmp_path: Path) -> None:
    """Of a video pipeline, whose shapes follow frames and words, and whose times follow steps."""
    from tests.pipelines import build

    bundle, source = tmp_path / "bundle", str(build("wan"))
    given = [*("--components", "transformer", "--to", "onnx", "--size", "32", "--seed", "5")]
    given += ["--frames", "9", "--steps", "3", "--set", "max_sequence_length=12"]
    done = run("export", source, *given, "-o", str(bundle))
    assert done.exit_code == 0, done.output
    (program,) = load_bundle(bundle).programs.values()
    shapes = {spec.name: spec.shape for spec in program.inputs}
    assert shapes["hidden_states"][2] == 3 and shapes["encoder_hidden_states"][1] == 12
    done = run("verify", str(bundle), "--source", source, "--json")
    assert done.exit_code == 0, done.output
    told = json.loads((bundle / "manifest.json").read_text())
    assert told["sampler"]["asked"] == {
        "size": [32, 32],
        "frames": 9,
        "steps": 3,
        "components": ["transformer"],
        "seed": 5,
        "more": {"max_sequence_length": 12},
    }
    for change, said in (
        ({"frames": 5}, "gives no program 'transformer' of the shapes in the bundle"),
        ({"frames": 10**7}, "a video has 1 to 1024 frames, not 10000000"),
    ):
        asked = told["sampler"]["asked"] | change
        changed = told | {"sampler": told["sampler"] | {"asked": asked}}
        (bundle / "manifest.json").write_text(json.dumps(changed))
        done = run("verify", str(bundle), "--source", source)
        assert done.exit_code == 2 and said in " ".join(done.output.split()), done.output
