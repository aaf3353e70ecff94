"""Quantize writes a student with a recipe that fits it and pays, whole or not at all."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from minuet.__main__ import app
from minuet.models.student import Sampler, Student, load_student, save_student
from minuet.quantize.recipe import read_recipe
from minuet.stickers import captions
from minuet.stickers.motions import MOTIONS
from tests.models.tiny import denoiser


def run(*arguments: str) -> Any:
    return CliRunner().invoke(app, ["quantize", *arguments])


@pytest.fixture(scope="module")
def student(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The smallest student there is, with every kind of module that students have."""
    folder = tmp_path_factory.mktemp("made") / "student"
    words = captions.tokenizer_json()
    made = Student(
        network=denoiser(vocabulary=128),
        sampler=Sampler(levels=(1.0, 0.5, 0.0)),
        tokenizer=words,
        card="# Tiny\n",
    )
    save_student(made, folder)
    return folder


BY_HAND = ("--clips", "1", "--keep-float", "*.out", "--keep-activations", "network.words")


@pytest.fixture(scope="module")
def quantized(student: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("out") / "q"
    done = run(str(student), "-o", str(out), *BY_HAND, "--no-weigh")
    assert done.exit_code == 0, done.output
    return out


def test_patterns_say_what_becomes_of_layers(student: Path, quantized: Path) -> None:
    whole = load_student(quantized)
    assert whole.sha256 == load_student(student).sha256
    stored = read_recipe(quantized, whole.sha256)
    recipe, ranges = stored.recipe, stored.ranges
    assert recipe.layers["network.out"] == recipe.layers["network.finder.out"] == "float"
    assert recipe.layers["network.words"] == "weights"
    assert recipe.layers["network.stem"] == "int8"
    assert {"network.stem@0.in", "network.stem@1.in"} <= set(ranges)  # one of each step


def test_asking_again_replaces_it_with_the_same_bytes(student: Path, quantized: Path) -> None:
    names = ("recipe.json", "ranges.safetensors", "weights.safetensors")
    before = {name: (quantized / name).read_bytes() for name in names}
    done = run(str(student), "-o", str(quantized), *BY_HAND, "--no-weigh", "--json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["scheme"] == "int8"
    assert before == {name: (quantized / name).read_bytes() for name in names}
    # One clip shows one motion: that must not be missed.
    assert f"warning: 1 clips show 1 of {len(MOTIONS)} motions, not " in done.stderr
    assert f"--clips {len(MOTIONS)} would show all" in done.stderr


@pytest.mark.slow
def test_what_does_not_pay_is_refused_with_a_table_and_kept_on_request(
    student: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "q"
    monkeypatch.setattr("minuet.paying.SAMPLES", 6)  # enough for a table; a verdict is not asked
    # No student is 99 dB from itself with rounded weights, whatever the machine does.
    scheme = ("--scheme", "int8-weights", "--keep-float", "*.out", "--floor", "99", "--size", "64")
    asked = (str(student), "-o", str(out), *scheme)
    done = run(*asked)
    assert done.exit_code == 1, done.output
    assert "int8-weights does not pay: onnx: " in done.output and "below 99" in done.output
    assert "ort" in done.output and list(tmp_path.iterdir()) == []
    done = run(*asked, "--keep", "--json")
    assert done.exit_code == 0, done.output
    rows = json.loads(done.stdout)["weighed"]
    assert rows == json.loads((out / "weighed.json").read_text())["weighed"]
    assert rows[0]["runtime"] == "ort" and rows[0]["answers"] and rows[0]["broken"]
    for row in rows:  # one for each runtime that opens the file
        value, low, high = row["ratio"]
        assert low <= value and (high is None or value <= high)
        assert row["ms"] > 0 and row["parent_ms"] > 0
        assert row["bytes"] < row["parent_bytes"] and len(row["decibels"]) == 8 and row["version"]
    bundle = tmp_path / "bundle"
    export = ["export", str(out), "-o", str(bundle), "--to", "onnx", "--size", "64"]
    assert CliRunner().invoke(app, export).exit_code == 0
    told = json.loads((bundle / "manifest.json").read_text())["quantization"]
    assert (
        told["scheme"] == "int8-weights" and told["weighed"] == rows
    )  # the manifest carries the figures


@pytest.mark.slow
def test_a_search_finds_by_itself_what_to_leave_in_float(
    student: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "q"
    monkeypatch.setattr("minuet.layer_times.ROUNDS", 2)  # which layer is quicker is not asked
    asked = ("--clips", "2", "--floor", "40", "--most-bytes", "0.5", "--no-weigh", "--json")
    done = run(str(student), "-o", str(out), *asked)
    assert done.exit_code == 0, done.output
    search = json.loads((out / "search.json").read_text())
    assert search["chosen"]["measured_db"] >= 40
    assert search["chosen"]["seconds"] <= search["float_seconds"]
    assert search["layers"] == json.loads(done.stdout)["layers"]
    assert (out / "search.svg").read_text().startswith("<svg")
    assert {path.name for path in tmp_path.iterdir()} == {"q"}  # notes are gone


@pytest.mark.slow
def test_weights_alone_shrink_as_far_as_the_floor_allows(student: Path, tmp_path: Path) -> None:
    out = tmp_path / "q"
    done = run(str(student), "-o", str(out), "--scheme", "int4-weights", "--no-weigh", "--json")
    assert done.exit_code == 0, done.output
    search = json.loads((out / "search.json").read_text())
    assert set(search["layers"].values()) <= {"weights", "weights4", "float"}
    assert search["chosen"]["measured_db"] >= 30
    assert search["chosen"]["size"] < 0.3 * search["float_size"]


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        (("--scheme", "int2"), "the scheme 'int2' is not known; choose from int8"),
        (("--method", "guess"), "the method is one of min-max, percentile"),
        (("--clips", "0"), "calibration needs clips, and 0 are asked for"),
        (("--to", "tensorflow"), "int8 is not made for tensorflow"),
        (("--scheme", "fp8", "--to", "onnx"), "fp8 is not made for onnx; it is for tensorrt"),
        (("--most-bytes", "2"), "above 0 and at most 1, not 2"),
        (("--keep-float", "network.nose"), "'network.nose' matches no layer; there are"),
        (("--keep-float", "*"), "nothing is quantized"),
        (("--bits", "3"), "--bits says nothing to int8; leave it out"),
        (("--scheme", "palettes", "--share", "0.9"), "--share says nothing to palettes"),
        (("--scheme", "palettes", "--bits", "1"), "--bits is from 2 to 8 a weight, not 1"),
        (("--scheme", "palettes", "--clips", "-1"), "a search needs clips, and -1"),
    ],
)
def test_what_cannot_be_done_is_said_and_nothing_is_written(
    student: Path, tmp_path: Path, asked: tuple[str, ...], words: str
) -> None:
    done = run(str(student), "-o", str(tmp_path / "q"), *asked)
    assert (done.exit_code, words in done.output) == (2, True), done.output
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_palettes_are_searched_written_and_exported(student: Path, tmp_path: Path) -> None:
    out, bundle = tmp_path / "q", tmp_path / "bundle"
    asked = ["--scheme", "palettes", "--clips", "1", "--bits", "6", "--no-weigh", "--json"]
    done = run(str(student), "-o", str(out), *asked)
    assert done.exit_code == 0, done.output
    said = json.loads(done.stdout)
    whole = load_student(out)
    assert whole.sha256 == load_student(student).sha256  # weights stay: the recipe is replayed
    stored = read_recipe(out, whole.sha256)
    recipe, ranges = stored.recipe, stored.ranges
    search = json.loads((out / "search.json").read_text())
    assert recipe.layers == said["layers"] and not ranges
    assert search["bits"] <= 6 and search["measured_db"] >= 30
    assert {path.name for path in tmp_path.iterdir()} == {"q"}  # the search's notes are gone
    asked = ["export", str(out), "-o", str(bundle), "--to", "coreml", "--size", "64"]
    done = CliRunner().invoke(app, asked)
    assert done.exit_code == 0, done.output
    manifest = json.loads((bundle / "manifest.json").read_text())
    (artifact,) = manifest["artifacts"]
    assert artifact["precision"] == "palettes"
    assert any(row["verdict"] == "pass" for row in artifact["parity"])


def test_another_folder_is_not_replaced(student: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    done = run(str(student), "-o", str(tmp_path))
    assert done.exit_code == 2 and "is not a quantized student" in done.output
    assert (tmp_path / "thesis.txt").exists()
