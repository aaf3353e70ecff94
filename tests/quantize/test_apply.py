"""A quantized program: near the float one, int8 where asked, each weight once."""

from dataclasses import replace
from functools import lru_cache

import numpy as np
import pytest
import torch

from minuet.contracts.errors import RequestError
from minuet.quantize.apply import (
    FORMS,
    activation_codes,
    computed,
    quantize_program,
    rounded_program,
)
from minuet.quantize.calibrate import Method, calibrate
from minuet.quantize.layers import calls
from minuet.quantize.recipe import Recipe
from minuet.quantize.scales import pack
from tests.quantize.tiny import captured, clips, db, network, recipe

PROGRAM, EXAMPLE = captured(network())
RANGES = calibrate(PROGRAM.module(), clips(4))


@lru_cache
def quantized(target: str, **asked: tuple[str, ...]) -> torch.export.ExportedProgram:
    return quantize_program(PROGRAM, EXAMPLE, recipe(**asked), RANGES, target)


def weights_in_int8(program: torch.export.ExportedProgram) -> list[torch.Tensor]:
    return [value for value in program.state_dict.values() if value.dtype == torch.int8] + [
        value for value in program.constants.values() if getattr(value, "dtype", 0) == torch.int8
    ]


@pytest.mark.parametrize("target", FORMS)
def test_the_quantized_program_stays_near_the_float_one(target: str) -> None:
    module, made = network(), quantized(target).module()
    for one in clips(3, seed=9):
        image = torch.from_numpy(one["image"])
        assert 20 < db(module(image).numpy(), made(image).numpy()) < 60  # changed, and not much


def test_a_weight_that_two_steps_share_is_stored_once() -> None:
    assert len(weights_in_int8(quantized("executorch"))) == 4


def test_the_stored_codes_are_those_of_the_pure_arithmetic() -> None:
    found = weights_in_int8(quantized("executorch"))
    expected = pack(network().stem.weight.numpy()).codes
    assert any(np.array_equal(one.numpy(), expected) for one in found)


def test_kept_layers_keep_their_weights_or_their_activations() -> None:
    exact = quantized("onnx", keep_float=("stem", "mlp", "out"), keep_activations=("film",))
    assert [tuple(one.shape) for one in weights_in_int8(exact)] == [(16, 1)]
    calls_made = [str(node.target) for node in exact.graph.nodes]
    assert not any("quantize_per_tensor" in name for name in calls_made)


def test_a_target_without_int8_weights_beside_float_keeps_them_float() -> None:
    made = quantized("executorch", keep_float=("out",), keep_activations=("film",))
    assert len(weights_in_int8(made)) == 2


def test_linear_layers_compute_in_int8_only_where_that_gains() -> None:
    found = calls(PROGRAM.module())
    kinds = {t: {c.kind for c in computed(found, recipe().layers, FORMS[t])} for t in FORMS}
    both = {"conv2d", "linear"}
    assert kinds == {"onnx": {"conv2d"}, "executorch": both, "coreml": both, "tensorrt": both}


def test_a_form_without_zero_points_has_none() -> None:
    form = replace(FORMS["executorch"], zero_points=False)
    found = activation_codes(calls(PROGRAM.module()), RANGES, form)
    assert {code.zero_point for code in found.values()} == {0}


def test_ranges_of_fewer_steps_are_refused() -> None:
    fewer = {key: value for key, value in RANGES.items() if "@1" not in key}
    with pytest.raises(RequestError, match=r"nothing of stem@1\.in"):
        quantize_program(PROGRAM, EXAMPLE, recipe(), fewer, "onnx")


def test_a_recipe_of_another_network_is_refused() -> None:
    other = replace(recipe(), layers={"stem": "int8"})
    with pytest.raises(RequestError, match="does not know the layer film"):
        quantize_program(PROGRAM, EXAMPLE, other, RANGES, "onnx")


def test_a_target_that_int8_is_not_made_for_is_refused() -> None:
    with pytest.raises(RequestError, match="int8 is not made for toaster"):
        quantized("toaster")


def test_quantizing_twice_gives_the_same_numbers() -> None:
    image = torch.from_numpy(next(clips(1, seed=3))["image"])
    again = quantize_program(PROGRAM, EXAMPLE, recipe(), RANGES, "onnx")
    assert torch.equal(quantized("onnx").module()(image), again.module()(image))


def test_an_answer_that_is_read_twice_stays_float_where_it_would_be_lost() -> None:
    class Twice(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem, self.out = torch.nn.Conv2d(3, 8, 1), torch.nn.Conv2d(8, 8, 1)

        def forward(self, image: torch.Tensor) -> torch.Tensor:
            x = self.stem(image)
            y: torch.Tensor = self.out(x.tanh()) + x
            return y

    found = calls(captured(Twice())[0].module())
    asked = replace(recipe(), layers={"stem": "int8", "out": "int8"})
    for target, form in FORMS.items():
        names = [call.layer for call in computed(found, asked.layers, form)]
        assert names == (["out"] if target == "executorch" else ["stem", "out"])


def test_a_rounded_program_has_few_numbers_a_weight_and_the_rest_as_it_was() -> None:
    module = network()
    program, example = captured(module)
    recipe = Recipe(
        scheme="palettes",
        keep_float=(),
        keep_activations=(),
        layers={"stem": "palette2", "mlp": "palette4", "film": "float", "out": "palette8"},
        method=Method(),
        clips=1,
        seed=0,
        student_sha256="",
    )
    made = rounded_program(program, recipe)
    for layer, bits in (("stem", 2), ("mlp", 4)):
        weight = made.state_dict[f"{layer}.weight"]
        assert len(weight.unique()) == 2**bits
        module.get_submodule(layer).weight = weight
    assert torch.equal(made.state_dict["film.weight"], program.state_dict["film.weight"])
    assert len(program.state_dict["stem.weight"].unique()) > 4  # the given program is unchanged
    torch.testing.assert_close(made.module()(*example), module(*example), rtol=0, atol=1e-2)
    with pytest.raises(RequestError, match="no layer 'nose'"):
        rounded_program(program, replace(recipe, layers={"nose": "palette2"}))
