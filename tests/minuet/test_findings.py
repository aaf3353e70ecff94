"""What a quantization found, in a line and a picture."""

from dataclasses import replace

from minuet.findings import (
    mixed_line,
    mixed_picture,
    palettes_line,
    palettes_picture,
    recovered_line,
)
from minuet.mixing import Mixed, Point, Wanted
from minuet.palettizing import Asked, Found
from minuet.quantize.recover import Recovered

FAST = Point(size=250, seconds=4e-3, predicted_db=41.0, measured_db=40.26)
NEAR = Point(size=300, seconds=5e-3, predicted_db=50.0, measured_db=48.0)
MIXED = Mixed(
    layers={"stem": "int8", "mlp": "int8", "out": "float"},
    tensors={},
    chosen=FAST,
    uncorrected_db=39.0,
    uniform=replace(FAST, size=240, measured_db=30.0),
    equal=NEAR,
    float_seconds=8e-3,
    float_size=1000,
    front=(NEAR, FAST),
)
WANTED = Wanted(floor_db=35.0)
PALETTES = Found(
    layers={"stem": "palette4"},
    predicted_db=44.0,
    rounded_db=41.0,
    measured_db=43.2,
    trained=150,
    uniform_db=38.0,
    uniform_bits=4,
    size=1_350_000,
    bits=4.01,
    front=((3.0, 36.0), (4.0, 42.0)),
)


def test_a_choice_is_told_beside_the_boldest_for_all() -> None:
    assert mixed_line(MIXED, WANTED) == (
        "2 int8, 1 float: 4.0 of 8.0 ms, 0.250 of the bytes, 40.3 dB (int8 for all: "
        "4.0 of 8.0 ms, 0.240 of the bytes, 30.0 dB; of those bytes the nearest: 48.0 dB)"
    )


def test_of_a_search_for_bytes_no_time_is_told_or_drawn() -> None:
    untimed = replace(MIXED, float_seconds=0.0)
    assert " ms" not in mixed_line(untimed, WANTED)
    picture = mixed_picture(untimed, WANTED)
    assert "MB of weights" in picture and "ONNX Runtime" not in picture and "exact" not in picture


def test_a_search_for_time_is_drawn_with_its_choice_and_the_original() -> None:
    picture = mixed_picture(MIXED, WANTED)
    assert "chosen: 4, 40.3 dB" in picture and "float: 8, exact" in picture
    assert "int8 for all: 4, 30.0 dB" in picture and "the nearest of its bytes: 5" in picture
    assert "asked: 35 dB" in picture and "ms of the layers" in picture


def test_palettes_are_told_with_their_training_where_there_was_one() -> None:
    words = palettes_line(PALETTES)
    assert words.startswith("4.01 bits a weight, 1.35 MB of weights, 43.2 dB from the float")
    assert "after 150 steps of training (41.0 before) (4 bits for all: 38.0 dB)" in words
    assert "training" not in palettes_line(replace(PALETTES, trained=0))


def test_palettes_are_drawn_beside_one_width_for_all() -> None:
    picture = palettes_picture(PALETTES, Asked(bits=4.5, floor_db=30.0))
    assert "4 bits for all: 4, 38.0 dB" in picture and "chosen: 4.01, 43.2 dB" in picture


def test_training_that_brought_nothing_is_told_so() -> None:
    made = Recovered(numbers={}, before_db=30.0, after_db=33.44, best=150, steps=200)
    assert recovered_line(made).startswith("150 steps of training: from 30.0 to 33.4 dB")
    assert "200 steps of training brought nothing" in recovered_line(replace(made, best=0))
