"""A simulated program: the numbers of the quantized one, without making it."""

from dataclasses import replace
from functools import lru_cache

import numpy as np
import pytest
import torch

from minuet.contracts.errors import RequestError
from minuet.quantize.apply import FORMS, quantize_program, rounded_program
from minuet.quantize.calibrate import calibrate
from minuet.quantize.groups import pack4
from minuet.quantize.runs import outputs
from minuet.quantize.scales import Affine, affine, decode, encode, pack
from minuet.quantize.simulate import fake, fake_weight, simulated
from tests.quantize.tiny import LAYERS, captured, clips, db, network, recipe

PROGRAM, EXAMPLE = captured(network())
GRAPH = PROGRAM.module()
RANGES = calibrate(GRAPH, clips(4))
CLIPS = list(clips(3, seed=9))


@lru_cache
def float_outputs() -> list[np.ndarray]:
    return outputs(GRAPH, CLIPS)


@pytest.mark.parametrize("target", FORMS)
@pytest.mark.parametrize("halves", [(), ("mlp", "stem")])
def test_the_numbers_are_those_of_the_quantized_program(
    target: str, halves: tuple[str, ...]
) -> None:
    asked = recipe(keep_float=("film",), keep_activations=halves)
    made = quantize_program(PROGRAM, EXAMPLE, asked, RANGES, target).module()
    ours = outputs(simulated(GRAPH, asked.layers, RANGES, FORMS[target]), CLIPS)
    for one, two in zip(ours, outputs(made, CLIPS), strict=True):
        np.testing.assert_array_equal(one, two)


def test_without_zero_points_the_numbers_differ_and_stay_near() -> None:
    form = replace(FORMS["onnx"], zero_points=False)
    asked = recipe().layers
    one = outputs(simulated(GRAPH, asked, RANGES, form), CLIPS)[0]
    two = outputs(simulated(GRAPH, asked, RANGES, FORMS["onnx"]), CLIPS)[0]
    assert not np.array_equal(one, two)
    assert db(float_outputs()[0], one) > 20


def test_no_treatment_changes_nothing_and_leaves_the_program_alone() -> None:
    before = {name: value.clone() for name, value in GRAPH.named_parameters()}
    simulated(GRAPH, dict.fromkeys(LAYERS, "int8"), RANGES, FORMS["executorch"])(*EXAMPLE)
    found = outputs(simulated(GRAPH, {}, {}, FORMS["onnx"]), CLIPS)
    assert all(np.array_equal(a, b) for a, b in zip(found, float_outputs(), strict=True))
    assert all(torch.equal(value, before[name]) for name, value in GRAPH.named_parameters())


def test_palettes_are_those_of_the_rounded_program() -> None:
    layers = {"stem": "palette2", "mlp": "palette4", "film": "float", "out": "palette8"}
    made = rounded_program(PROGRAM, replace(recipe(), scheme="palettes", layers=layers))
    for form in FORMS.values():
        one = outputs(simulated(GRAPH, layers, {}, form), CLIPS)
        np.testing.assert_array_equal(one, outputs(made.module(), CLIPS))


def test_a_weight_is_rounded_once_for_many_trials() -> None:
    kept: dict[tuple[str, str], torch.Tensor] = {}
    simulated(GRAPH, {"stem": "palette4"}, {}, FORMS["onnx"], kept)
    first = kept["stem", "palette4"]
    simulated(GRAPH, {"stem": "palette4", "mlp": "weights"}, {}, FORMS["onnx"], kept)
    assert kept["stem", "palette4"] is first
    assert set(kept) == {("stem", "palette4"), ("mlp", "weights")}


@pytest.mark.parametrize("code", [affine(-1.7, 3.1), affine(0, 2), Affine(scale=0.5, zero_point=0)])
def test_rounded_activations_are_those_of_the_pure_arithmetic(code: Affine) -> None:
    values = np.random.default_rng(0).standard_normal((2, 3, 40), np.float32) * 3
    found = fake(torch.from_numpy(values), code).numpy()
    assert np.abs(found - decode(encode(values, code), code)).max() < 1e-6


def test_four_bits_are_those_of_the_groups() -> None:
    weight = np.random.default_rng(0).standard_normal((4, 64), np.float32)
    np.testing.assert_array_equal(fake_weight(weight, "weights4"), pack4(weight).unpack())


def test_int8_weights_have_a_scale_for_every_channel() -> None:
    weight = np.random.default_rng(0).standard_normal((4, 6), np.float32)
    np.testing.assert_array_equal(fake_weight(weight, "int8"), pack(weight).unpack())


def test_what_the_program_or_the_table_has_not_is_refused() -> None:
    form = FORMS["executorch"]
    with pytest.raises(RequestError, match="no layer 'nose'"):
        simulated(GRAPH, {"nose": "int8"}, RANGES, form)
    with pytest.raises(RequestError, match="not 'int5'"):
        simulated(GRAPH, {"stem": "int5"}, RANGES, FORMS["onnx"])
    with pytest.raises(RequestError, match=r"nothing of mlp@0\.in"):
        simulated(GRAPH, {"mlp": "int8"}, {}, form)
