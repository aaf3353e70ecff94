"""Training of a network in miniature: it gains, goes on, and refuses what is broken."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from minuet.contracts.errors import RequestError
from minuet.contracts.tensors import Arrays
from minuet.quantize.calibrate import calibrate
from minuet.quantize.palettes import palettize
from minuet.quantize.recover import Course, Recovered, frames_error, recover
from minuet.quantize.trainees import Trainee, floating, of_int8, of_palettes
from tests.quantize.tiny import LAYERS, captured, clips, network, recipe

PROGRAM = captured(network())[0].module()
TEACHER = floating(PROGRAM)
HELD = list(clips(4, seed=1))
COURSE = Course(steps=100, rate=1e-2, every=20)


def drawn(at: int) -> Arrays:
    return next(clips(1, seed=100 + at))


def mean_square(made: Tensor, wanted: Tensor) -> Tensor:
    return (made - wanted).square().mean()


def trainee(bits: int = 2) -> Trainee:
    weights = {name: PROGRAM.get_parameter(f"{name}.weight").numpy() for name in LAYERS}
    return of_palettes(PROGRAM, {name: palettize(one, bits) for name, one in weights.items()})


def trained(notes: Path, **more: Any) -> Recovered:
    told: dict[str, Any] = {
        "trainee": trainee(),
        "clip": drawn,
        "held": HELD,
        "course": COURSE,
    } | more
    return recover(teacher=TEACHER, notes=notes, error=mean_square, **told)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Recovered:
    return trained(tmp_path_factory.mktemp("whole") / "notes")


def same(one: Recovered, other: Recovered) -> bool:
    bytes_ = [{name: v.tobytes() for name, v in run.numbers.items()} for run in (one, other)]
    return bytes_[0] == bytes_[1]


def test_clips_that_were_not_trained_on_gain(whole: Recovered) -> None:
    assert whole.after_db > whole.before_db + 3
    assert 0 < whole.best <= whole.steps <= COURSE.steps


def test_what_it_says_is_what_the_numbers_do(whole: Recovered) -> None:
    taught = trainee()
    for numbers, said in ((taught.numbers, whole.before_db), (whole.numbers, whole.after_db)):
        tensors = {name: torch.from_numpy(value) for name, value in numbers.items()}
        images = [torch.from_numpy(one["image"]) for one in HELD]
        errors = [float(mean_square(taught(tensors, (x,)), TEACHER(x))) for x in images]
        assert -10 * np.log10(np.mean(errors)) == pytest.approx(said, abs=1e-3)


def test_an_interrupted_training_goes_on_to_the_same_bytes(
    tmp_path: Path, whole: Recovered
) -> None:
    seen: list[int] = []

    def stopping(at: int) -> Arrays:
        if at == 45:
            raise KeyboardInterrupt
        return drawn(at)

    def watched(at: int) -> Arrays:
        seen.append(at)
        return drawn(at)

    notes = tmp_path / "notes"
    with pytest.raises(KeyboardInterrupt):
        trained(notes, clip=stopping)
    again = trained(notes, clip=watched)
    assert seen[0] == 40 and same(again, whole)
    assert replace(again, numbers={}) == replace(whole, numbers={})
    seen.clear()
    assert same(trained(notes, clip=watched), whole) and not seen  # it was at its end


def test_notes_of_another_training_are_passed_over(tmp_path: Path, whole: Recovered) -> None:
    notes = tmp_path / "notes"
    trained(notes, course=replace(COURSE, rate=1e-3))
    assert same(trained(notes), whole)


def test_int8_gains_too(tmp_path: Path) -> None:
    ranges = calibrate(PROGRAM, HELD)
    taught = of_int8(PROGRAM, recipe(), ranges, "onnx")
    made = trained(tmp_path / "notes", trainee=taught, course=replace(COURSE, rate=1e-3))
    assert made.after_db > made.before_db + 0.3


def test_notes_of_other_ranges_are_passed_over(tmp_path: Path) -> None:
    ranges = calibrate(PROGRAM, HELD)
    wide = {key: (2 * low, 2 * high) for key, (low, high) in ranges.items()}
    course, notes = Course(steps=4, rate=1e-3, every=2), tmp_path / "notes"
    trained(notes, trainee=of_int8(PROGRAM, recipe(), ranges, "onnx"), course=course)
    one, other = (
        trained(place, trainee=of_int8(PROGRAM, recipe(), wide, "onnx"), course=course)
        for place in (notes, tmp_path / "none")
    )
    assert same(one, other)


def test_notes_of_other_rounding_are_passed_over(tmp_path: Path) -> None:
    layers = {**dict.fromkeys(LAYERS, "float"), "stem": "weights4"}
    course, notes = Course(steps=4, rate=1e-3, every=2), tmp_path / "notes"
    more, less = (
        of_int8(PROGRAM, replace(recipe(), layers={**layers, "mlp": word}), {}, "onnx")
        for word in ("weights4", "float")
    )
    trained(notes, trainee=more, course=course)
    one, other = (
        trained(place, trainee=less, course=course) for place in (notes, tmp_path / "none")
    )
    assert same(one, other)


def test_what_makes_it_worse_is_not_kept(tmp_path: Path) -> None:
    course = Course(steps=200, rate=0.9, every=2, patience=3)
    made = trained(tmp_path / "notes", trainee=trainee(8), course=course)
    assert made.after_db >= made.before_db and made.steps < 200
    assert made.best <= made.steps - 2 * 3


def test_a_clip_that_is_not_finite_is_refused(tmp_path: Path) -> None:
    def broken(at: int) -> Arrays:
        image = drawn(at)["image"]
        return {"image": image * np.float32(np.nan) if at == 3 else image}

    with pytest.raises(RequestError, match=r"finite numbers at step 3: .* Nothing was written"):
        trained(tmp_path / "notes", clip=broken)
    assert not (tmp_path / "notes").exists()
    with pytest.raises(RequestError, match="finite numbers at step 0"):
        trained(tmp_path / "notes", held=[broken(3)])
    with pytest.raises(RequestError, match="there are none"):
        trained(tmp_path / "notes", held=[])


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"steps": 0}, "1 to 100000 steps, not 0"),
        ({"steps": 10**6}, "1 to 100000 steps"),
        ({"steps": 5, "rate": 1.5}, r"rate is in \(0, 1\)"),
        ({"steps": 5, "rate": float("nan")}, r"rate is in \(0, 1\)"),
        ({"steps": 5, "patience": 0}, "patience above 0"),
    ],
)
def test_a_course_that_leads_nowhere_is_refused(asked: dict[str, Any], words: str) -> None:
    with pytest.raises(RequestError, match=words):
        Course(**asked)


def test_the_rate_rises_and_falls_to_nothing() -> None:
    course = Course(steps=100, rate=1.0 - 1e-9)
    rates = [course.rate_at(step) for step in range(101)]
    assert rates.index(max(rates)) == 9 and max(rates) > 0.97
    assert rates[50] == pytest.approx(0.5) and rates[100] == pytest.approx(0)


def test_frames_differ_by_what_is_seen_of_them() -> None:
    one, other = torch.zeros(2, 4, 1, 1), torch.zeros(2, 4, 1, 1)
    other[0] = 255  # the first frame is given
    other[1, :, 0, 0] = torch.tensor([255.0, 0, 0, 0])  # invisible
    assert float(frames_error(one, other)) == 0
    other[1, 3] = 255
    assert float(frames_error(one, other)) == pytest.approx(0.5)
