"""A student folder: there and back, and every way of breaking it is one clear message."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load, save

from minuet.contracts.errors import DamagedError, RequestError
from minuet.models.student import Sampler, Student, load_student, save_student
from tests.models.tiny import LEVELS, denoiser

HALF = 2**-10  # relative step of half precision


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    student = Student(
        network=denoiser(), sampler=Sampler(levels=LEVELS), tokenizer="{}", card="# A card\n"
    )
    save_student(student, tmp_path / "student")
    return tmp_path / "student"


def edit(folder: Path, **changes: object) -> None:
    path = folder / "model.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_a_student_survives_the_disk_within_half_precision(folder: Path) -> None:
    student, network = load_student(folder), denoiser()
    for name, kept in student.network.state_dict().items():
        given = network.state_dict()[name]
        assert (kept - given).abs().max() <= HALF * given.abs().max(), name
    assert student.network.config == network.config
    assert student.sampler == Sampler(levels=LEVELS)
    assert (student.tokenizer, student.card) == ("{}", "# A card\n")
    data = (folder / "weights.safetensors").read_bytes()
    assert student.sha256 == hashlib.sha256(data).hexdigest()
    assert not any(parameter.requires_grad for parameter in student.network.parameters())


def test_the_same_student_gives_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    save_student(load_student(folder), tmp_path / "again")
    for name in ("model.json", "weights.safetensors", "tokenizer.json", "card.md"):
        assert (folder / name).read_bytes() == (tmp_path / "again" / name).read_bytes()


@torch.no_grad()
def test_a_loaded_student_animates_at_any_size(folder: Path) -> None:
    for side in (64, 128):
        animator = load_student(folder).animator(side)
        assert animator(*animator.example()).shape == (4, 4, side, side)


def truncate(folder: Path) -> None:
    path = folder / "weights.safetensors"
    path.write_bytes(path.read_bytes()[:-9])


def flip(folder: Path) -> None:
    path = folder / "weights.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


def rehash(folder: Path, data: bytes) -> None:
    (folder / "weights.safetensors").write_bytes(data)
    edit(folder, weights_sha256=hashlib.sha256(data).hexdigest())


def forge(folder: Path) -> None:
    rehash(folder, b"\xff" * 64)


def poison(folder: Path) -> None:
    tensors = load((folder / "weights.safetensors").read_bytes())
    tensors["frame"].fill_(float("nan"))
    rehash(folder, save(tensors))


def misshape(folder: Path) -> None:
    tensors = load((folder / "weights.safetensors").read_bytes())
    rehash(folder, save(tensors | {"frame": torch.zeros(2, 2)}))


def widen(folder: Path) -> None:
    config = json.loads((folder / "model.json").read_text())["config"]
    edit(folder, config=config | {"fine": 10**9})


HURTS: dict[str, tuple[Callable[[Path], object], str]] = {
    "truncated weights": (truncate, "hash is not the one"),
    "a flipped bit": (flip, "hash is not the one"),
    "no safetensors": (forge, "damaged"),
    "not a number": (poison, "not finite"),
    "another shape": (misshape, "disagree"),
    "an enormous network": (widen, "must be whole numbers"),
    "a newer schema": (lambda f: edit(f, schema=99), "newer minuet .schema 99"),
    "no schema": (lambda f: edit(f, schema=None), "no schema number"),
    "another family": (lambda f: edit(f, family="cat"), "does not describe"),
    "an unknown field": (lambda f: edit(f, config={"wheels": 4}), r"unknown fields \['wheels'\]"),
    "levels that rise": (lambda f: edit(f, sampler={"levels": [0, 1]}), "fall from 1 to 0"),
    "levels that are words": (lambda f: edit(f, sampler={"levels": ["a", "b"]}), "disagree"),
    "a list for a config": (lambda f: edit(f, config=[1]), "disagree"),
    "no weights": (lambda f: (f / "weights.safetensors").unlink(), "missing"),
    "no card": (lambda f: (f / "card.md").unlink(), "card.md: missing"),
    "no model.json": (lambda f: (f / "model.json").unlink(), "missing"),
    "half a model.json": (lambda f: (f / "model.json").write_text('{"sch'), "not readable as JSON"),
    "a list for a model": (lambda f: (f / "model.json").write_text("[]"), "does not describe"),
    "bytes for a card": (lambda f: (f / "card.md").write_bytes(b"\xff\xfe"), "not UTF-8"),
}


@pytest.mark.parametrize("hurt", HURTS)
def test_a_damaged_student_is_refused_with_the_reason(folder: Path, hurt: str) -> None:
    damage, message = HURTS[hurt]
    damage(folder)
    with pytest.raises(DamagedError, match=message):
        load_student(folder)


def test_a_missing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DamagedError, match="no student here"):
        load_student(tmp_path / "nowhere")


def test_weights_that_half_precision_cannot_hold_are_not_saved(tmp_path: Path) -> None:
    network = denoiser()
    with torch.no_grad():
        network.frame.fill_(1e6)
    student = Student(network=network, sampler=Sampler(levels=LEVELS), tokenizer="", card="")
    with pytest.raises(RequestError, match="frame: not finite"):
        save_student(student, tmp_path / "student")
    assert not list(tmp_path.iterdir())


def test_evaluations_count_guidance_passes() -> None:
    assert Sampler(levels=LEVELS).evaluations == 2
    assert Sampler(levels=LEVELS, guidance=2.0).evaluations == 4


@pytest.mark.parametrize("levels", [(1.0,), (1.0, 0.5), (0.9, 0.0), (1.0, 1.0, 0.0)])
def test_levels_fall_from_one_to_zero(levels: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="fall from 1 to 0"):
        Sampler(levels=levels)


def test_scales_survive_the_disk_and_may_be_others_at_export(tmp_path: Path) -> None:
    sampler = Sampler(levels=LEVELS, scales=(1.5, 3.0))
    student = Student(network=denoiser(scales=2), sampler=sampler, tokenizer="", card="")
    save_student(student, tmp_path / "student")
    loaded = load_student(tmp_path / "student")
    assert loaded.sampler == sampler
    for asked, found in ((None, [1.5, 3.0]), ((2.0, 4.0), [2.0, 4.0])):
        scales = loaded.animator(64, scales=asked).scales
        assert scales is not None and scales.tolist() == [found]


def test_a_folder_from_before_there_were_scales_has_none(folder: Path) -> None:
    about = json.loads((folder / "model.json").read_text())
    del about["sampler"]["scales"], about["config"]["scales"]
    (folder / "model.json").write_text(json.dumps(about))
    assert load_student(folder).sampler == Sampler(levels=LEVELS)
