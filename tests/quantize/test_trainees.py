"""Programs that can be differentiated, against the programs that are exported."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from minuet.contracts.tensors import Arrays
from minuet.quantize.apply import changed_program, quantize_program
from minuet.quantize.calibrate import calibrate
from minuet.quantize.palettes import palettize
from minuet.quantize.trainees import floating, of_int8, of_palettes, trained_palettes
from tests.quantize.tiny import LAYERS, captured, clips, db, network, recipe

PROGRAM, EXAMPLE = captured(network())
MODULE = PROGRAM.module()
RANGES = calibrate(MODULE, list(clips(4)))
WEIGHTS = {name: MODULE.get_parameter(f"{name}.weight").numpy() for name in LAYERS}
PALETTES = {name: palettize(WEIGHTS[name], 3) for name in LAYERS}


def tensors(numbers: Arrays) -> dict[str, Tensor]:
    return {name: torch.tensor(value, requires_grad=True) for name, value in numbers.items()}


class Bytes(nn.Module):
    """Frames as bytes, and something else."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(3, 3, 1)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        frames = torch.sigmoid(self.layer(image)) * 255 + 0.5
        return frames.to(torch.uint8), image.sum()


def test_bytes_are_given_before_they_are_rounded() -> None:
    program, example = captured(Bytes())
    given = program.module()
    expected = given(*example)[0]
    made = floating(given)(*example)
    assert made.dtype == torch.float32 and not torch.equal(made, made.round())
    assert torch.equal(made.to(torch.uint8), expected)
    assert torch.equal(given(*example)[0], expected)  # the given program is unchanged


def test_a_program_without_bytes_is_given_as_it_is() -> None:
    assert torch.equal(floating(MODULE)(*EXAMPLE), MODULE(*EXAMPLE))


def test_untrained_palettes_compute_what_is_exported() -> None:
    made = of_palettes(MODULE, PALETTES)
    changed = changed_program(
        PROGRAM, {f"{name}.weight": one.unpack() for name, one in PALETTES.items()}
    )
    assert torch.equal(made(tensors(made.numbers), EXAMPLE), changed.module()(*EXAMPLE))


def test_trained_palettes_compute_what_is_exported() -> None:
    made = of_palettes(MODULE, PALETTES)
    rng = np.random.default_rng(0)
    numbers = {
        name: value + rng.normal(0, 0.1, value.shape).astype(np.float32)
        for name, value in made.numbers.items()
    }
    palettes, others = trained_palettes(numbers, PALETTES)
    for one in palettes.values():
        assert len(one.values_K) <= 8 and (np.diff(one.values_K) > 0).all()
    assert sorted(others) == sorted(f"{name}.bias" for name in LAYERS)
    whole = {f"{name}.weight": one.unpack() for name, one in palettes.items()} | others
    expected = changed_program(PROGRAM, whole).module()(*EXAMPLE)
    torch.testing.assert_close(made(tensors(numbers), EXAMPLE), expected, rtol=0, atol=1e-6)


def test_a_palettes_gradient_is_the_sum_over_what_took_it() -> None:
    made = of_palettes(MODULE, PALETTES)
    numbers = tensors(made.numbers)
    made(numbers, EXAMPLE).square().sum().backward()
    for name, palette in PALETTES.items():
        table, weight = numbers[f"{name}.weight.palette"].grad, numbers[f"{name}.weight"].grad
        assert table is not None and weight is not None
        takers = [torch.from_numpy(palette.codes == at) for at in range(len(table))]
        each = [float(weight[taker].sum()) for taker in takers]
        np.testing.assert_allclose(table.numpy(), each, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("target", ["onnx", "executorch", "tensorrt"])
def test_fake_int8_is_near_the_int8_that_is_exported(target: str) -> None:
    asked = recipe(("out",), ("film",))
    made = of_int8(MODULE, asked, RANGES, target)
    exported = quantize_program(PROGRAM, EXAMPLE, asked, RANGES, target).module()(*EXAMPLE)
    found = made(tensors(made.numbers), EXAMPLE).detach()
    same, lost = db(exported.numpy(), found.numpy()), db(MODULE(*EXAMPLE).numpy(), exported.numpy())
    assert same > lost + 10  # they part where a number lies between two codes


def test_a_weights_scale_is_of_the_weight_as_it_is() -> None:
    asked = recipe(("mlp", "film", "out"))
    made = of_int8(MODULE, asked, RANGES, "onnx")
    small = dict(made.numbers)
    for factor in (4.0, 1.0, 0.25):  # wide first: what it was must be forgotten
        small["stem.weight"] = made.numbers["stem.weight"] * np.float32(factor)
        changed = changed_program(PROGRAM, {"stem.weight": small["stem.weight"]})
        exported = quantize_program(changed, EXAMPLE, asked, RANGES, "onnx").module()(*EXAMPLE)
        found = made(tensors(small), EXAMPLE).detach()
        assert db(exported.numpy(), found.numpy()) > 35


@pytest.mark.parametrize("target", ["onnx", "executorch"])
def test_int4_groups_are_trained_as_they_are_exported(target: str) -> None:
    asked = replace(recipe(), layers={**dict.fromkeys(LAYERS, "float"), "mlp": "weights4"})
    made = of_int8(MODULE, asked, {}, target)
    moved = made.numbers["mlp.weight"] * np.float32(1.3) + np.float32(0.01)
    for weight in (made.numbers["mlp.weight"], moved):
        changed = changed_program(PROGRAM, {"mlp.weight": weight})
        exported = quantize_program(changed, EXAMPLE, asked, {}, target).module()(*EXAMPLE)
        found = made(tensors({**made.numbers, "mlp.weight": weight}), EXAMPLE)
        assert torch.equal(found, exported)
        assert not torch.equal(found, changed.module()(*EXAMPLE))


def test_int4_groups_beside_int8_are_near_what_is_exported() -> None:
    asked = replace(recipe(), layers={**recipe().layers, "mlp": "weights4", "film": "float"})
    made = of_int8(MODULE, asked, RANGES, "onnx")
    exported = quantize_program(PROGRAM, EXAMPLE, asked, RANGES, "onnx").module()(*EXAMPLE)
    found = made(tensors(made.numbers), EXAMPLE).detach()
    without = of_int8(
        MODULE, replace(asked, layers={**asked.layers, "mlp": "float"}), RANGES, "onnx"
    )
    floats = without(tensors(made.numbers), EXAMPLE).detach()
    assert db(exported.numpy(), found.numpy()) > db(exported.numpy(), floats.numpy()) + 10


@pytest.mark.parametrize("mlp", ["int8", "weights4"])
def test_gradients_pass_the_rounding(mlp: str) -> None:
    made = of_int8(
        MODULE, replace(recipe(), layers={**recipe().layers, "mlp": mlp}), RANGES, "onnx"
    )
    numbers = tensors(made.numbers)
    made(numbers, EXAMPLE).square().sum().backward()
    assert all(one.grad is not None and one.grad.any() for one in numbers.values())
