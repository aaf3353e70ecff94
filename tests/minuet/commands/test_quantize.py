"""Quantize writes a student with a recipe that fits it, whole or not at all."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

from minuet.__main__ import app
from minuet.commands.quantize import KEEP_ACTIVATIONS, KEEP_FLOAT, _patterns
from minuet.models.denoiser import SIZES, Denoiser
from minuet.models.student import Sampler, Student, load_student, save_student
from minuet.quantize.recipe import read_recipe, treatments
from minuet.stickers import captions
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


@pytest.fixture(scope="module")
def quantized(student: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("out") / "q"
    done = run(str(student), "-o", str(out), "--clips", "1")
    assert done.exit_code == 0, done.output
    return out


def test_the_result_is_the_student_with_a_recipe_that_fits(student: Path, quantized: Path) -> None:
    whole = load_student(quantized)
    assert whole.sha256 == load_student(student).sha256
    recipe, ranges = read_recipe(quantized, whole.sha256)
    assert recipe.layers["network.out"] == recipe.layers["network.finder.out"] == "float"
    assert recipe.layers["network.words"] == "weights"
    assert recipe.layers["network.stem"] == "int8"
    assert {"network.stem@0.in", "network.stem@1.in"} <= set(ranges)  # one of each step


def test_asking_again_replaces_it_with_the_same_bytes(student: Path, quantized: Path) -> None:
    names = ("recipe.json", "ranges.safetensors", "weights.safetensors")
    before = {name: (quantized / name).read_bytes() for name in names}
    done = run(str(student), "-o", str(quantized), "--clips", "1", "--json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["scheme"] == "int8"
    assert before == {name: (quantized / name).read_bytes() for name in names}


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        (("--scheme", "int2"), "the scheme 'int2' is not known; choose from int8"),
        (("--method", "guess"), "the method is one of min-max, percentile"),
        (("--clips", "0"), "there are no calibration clips"),
        (("--keep-float", "network.nose"), "'network.nose' matches no layer; there are"),
        (("--keep-float", "*"), "nothing is quantized"),
        (("--bits", "3"), "--bits says nothing to int8; leave it out"),
        (("--scheme", "palettes", "--share", "0.9"), "--share says nothing to palettes"),
        (("--scheme", "palettes", "--bits", "1"), "--bits is from 2 to 8 a weight, not 1"),
        (("--scheme", "palettes", "--clips", "0"), "measured on clips, and there are none"),
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
    asked = ["--scheme", "palettes", "--clips", "1", "--bits", "6", "--json"]
    done = run(str(student), "-o", str(out), *asked)
    assert done.exit_code == 0, done.output
    said = json.loads(done.stdout)
    whole = load_student(out)
    assert whole.sha256 == load_student(student).sha256  # weights stay: the recipe is replayed
    recipe, ranges = read_recipe(out, whole.sha256)
    assert recipe.layers == said["layers"] and not ranges
    assert said["bits"] <= 6 and said["measured_db"] >= 30
    assert {path.name for path in tmp_path.iterdir()} == {"q"}  # the search's notes are gone
    asked = ["export", str(out), "-o", str(bundle), "--to", "coreml", "--size", "64"]
    done = CliRunner().invoke(app, asked)
    assert done.exit_code == 0, done.output
    manifest = json.loads((bundle / "manifest.json").read_text())
    (artifact,) = manifest["artifacts"]
    assert artifact["precision"] == "palette"
    assert any(row["verdict"] == "pass" for row in artifact["parity"])


@pytest.mark.parametrize("size", SIZES)
def test_our_own_patterns_fit_every_kind_of_student(size: str) -> None:
    with torch.device("meta"):
        network = Denoiser(SIZES[size])
    kinds = (torch.nn.Conv2d, torch.nn.Linear)
    layers = [f"network.{name}" for name, one in network.named_modules() if isinstance(one, kinds)]
    floats = _patterns(None, KEEP_FLOAT, layers)
    found = treatments(layers, floats, _patterns(None, KEEP_ACTIVATIONS, layers))
    assert set(found.values()) == {"int8", "weights", "float"}
    masks = {"network.out", *(name for name in layers if name.endswith("finder.out"))}
    assert {found[name] for name in masks} == {"float"}
    assert ("network.finder.out" in masks) == SIZES[size].puppet


def test_another_folder_is_not_replaced(student: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    done = run(str(student), "-o", str(tmp_path))
    assert done.exit_code == 2 and "is not a quantized student" in done.output
    assert (tmp_path / "thesis.txt").exists()
