"""How near frames are: by what is seen of them."""

import math

import numpy as np
import pytest

from minuet.nearness import EXACT_DB, decibels_of, error_with, frames_error
from minuet.quantize.runs import outputs
from tests.minuet.test_palettizing import clips, program


def test_the_error_is_the_mean_square_of_what_is_seen() -> None:
    one = np.zeros((2, 4, 1, 1), np.uint8)
    other = one.copy()
    other[0] = 255  # the first frame is given
    other[1, :, 0, 0] = (255, 0, 0, 0)  # invisible
    assert frames_error([one], [other]) == 0
    other[1, :, 0, 0] = (255, 0, 0, 255)
    assert frames_error([one], [other]) == pytest.approx(0.5)


def test_a_program_with_other_parameters_is_as_far_as_its_frames_are() -> None:
    graph, given = program(), clips(2)
    before = outputs(graph, given)
    flat = {"last.bias": np.full(8, 9.0, np.float32)}
    assert error_with(graph, {}, given, before) == 0
    found = error_with(graph, flat, given, before)
    white = [np.full_like(one, 255) for one in before]  # a sigmoid of 9 is white to half a step
    assert found == pytest.approx(frames_error(white, before), rel=0.05)
    assert frames_error(outputs(graph, given), before) == 0  # and is as it was


def test_decibels_are_finite_even_of_what_is_the_same() -> None:
    assert decibels_of(0.01) == pytest.approx(20)
    assert decibels_of(0.0) == decibels_of(1e-30) == EXACT_DB < math.inf
