"""A training's notes on disk and back, and everything that can be wrong with them."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from minuet.contracts.tensors import Arrays
from minuet.quantize.training import Training, read_training, write_training

NUMBERS: Arrays = {
    "layer.weight": np.arange(6, dtype=np.float32).reshape(2, 3),
    "scale": np.array([2.0], np.float32),
}
KINDS = ("numbers", "means", "squares", "best")


def under_way() -> Training:
    """After 4 steps, and two looks of which the first was better."""
    training = Training.fresh(NUMBERS)
    training.look(0.25)
    for at, kind in enumerate(KINDS[:3]):
        for tensor in getattr(training, kind).values():
            tensor += at + 1
    training.step = 4
    training.look(0.5)
    return training


def equal(one: Training, other: Training) -> bool:
    told = [(run.step, run.best_step, run.looks) for run in (one, other)]
    pairs = [(getattr(one, kind), getattr(other, kind)) for kind in KINDS]
    return told[0] == told[1] and all(
        a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a) for a, b in pairs
    )


def test_the_best_look_is_kept() -> None:
    training = under_way()
    assert (training.best_step, training.stale) == (0, 1)
    assert torch.equal(training.best["scale"], torch.tensor([2.0]))
    training.look(0.125)
    assert (training.best_step, training.stale) == (4, 0)
    assert torch.equal(training.best["scale"], torch.tensor([3.0]))


def test_notes_come_back(tmp_path: Path) -> None:
    write_training(tmp_path / "notes", "key", under_way())
    assert equal(read_training(tmp_path / "notes", "key", NUMBERS), under_way())
    assert [path.name for path in tmp_path.iterdir()] == ["notes"]


def test_a_fresh_training_does_not_touch_what_it_begins_with(tmp_path: Path) -> None:
    training = read_training(tmp_path / "none", "key", NUMBERS)
    training.numbers["scale"].zero_()
    assert NUMBERS["scale"][0] == 2.0 and training.step == 0 and not training.looks


def spoilt(told: bytes, by: bytes) -> Callable[[bytes], bytes]:
    return lambda data: data.replace(told, by.ljust(len(told)))


@pytest.mark.parametrize(
    "spoil",
    [
        lambda data: b"",
        lambda data: data[: len(data) // 2],
        lambda data: b"\xff" * 8 + data[8:],
        lambda data: data[:-4] + b"\xff\xff\xff\xff",  # a NaN
        lambda data: data + b"\0" * (17 << 20),
        spoilt(b'"F32"', b'"I32"'),
        spoilt(b"[2,3]", b"[3,2]"),
        spoilt(b"means/scale", b"means/stale"),
        spoilt(b"training", b"draining"),
        spoilt(b'step\\": 4', b'step\\":-4'),
        spoilt(b'step\\": 4', b'step\\":""'),
        spoilt(b'best\\": 0', b'best\\": 9'),
        spoilt(b"[0.25, 0.5]", b"[NaN, 0.5]"),
        spoilt(b"[0.25, 0.5]", b"[]"),
        spoilt(b"[0.25, 0.5]", b"7"),
        spoilt(b'{\\"key', b'[\\"key'),
    ],
)
def test_notes_that_are_spoilt_are_passed_over(
    tmp_path: Path, spoil: Callable[[bytes], bytes]
) -> None:
    notes = tmp_path / "notes"
    write_training(notes, "key", under_way())
    data = notes.read_bytes()
    assert spoil(data) != data
    notes.write_bytes(spoil(data))
    assert equal(read_training(notes, "key", NUMBERS), Training.fresh(NUMBERS))


def test_notes_of_another_training_or_other_numbers_are_passed_over(tmp_path: Path) -> None:
    notes = tmp_path / "notes"
    write_training(notes, "key", under_way())
    assert equal(read_training(notes, "other", NUMBERS), Training.fresh(NUMBERS))
    fewer: Arrays = {"layer.weight": np.zeros((3, 2), np.float32)}
    assert equal(read_training(notes, "key", fewer), Training.fresh(fewer))
