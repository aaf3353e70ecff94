"""Energies against kernels that pick one tap, and against what palettes are to serve."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from minuet.contracts.errors import RequestError
from minuet.quantize.energies import energies
from minuet.quantize.palettes import palettize
from tests.quantize.tiny import captured, clips, network


class One(nn.Module):
    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, image: Tensor) -> Tensor:
        made: Tensor = self.layer(image)
        return made


@pytest.mark.parametrize(
    "how",
    [
        {"kernel_size": 3, "padding": 1},
        {"kernel_size": (2, 3), "stride": 2, "bias": False},
        {"kernel_size": 3, "padding": 2, "dilation": 2, "groups": 3},
        {"kernel_size": 1},
    ],
)
def test_a_tap_has_the_mean_square_of_what_it_alone_would_give(how: dict[str, object]) -> None:
    torch.manual_seed(0)
    conv = nn.Conv2d(3, 6, **how).eval()  # type: ignore[arg-type]
    program, _ = captured(One(conv))
    seen = list(clips(2))
    found = np.broadcast_to(energies(program.module(), seen)["layer"], conv.weight.shape)
    images = torch.cat([torch.from_numpy(one["image"]) for one in seen])
    for at in np.ndindex(*conv.weight.shape):
        picked = torch.zeros_like(conv.weight)
        picked[at] = 1
        made = F.conv2d(images, picked, None, conv.stride, conv.padding, conv.dilation, conv.groups)
        assert found[at] == pytest.approx(float(made[:, at[0]].square().mean()), rel=1e-5)


def test_a_linear_layer_is_heard_over_all_its_calls() -> None:
    module = network()
    program, _ = captured(module)
    given: list[Tensor] = []
    hook = module.mlp.register_forward_hook(lambda _, inputs, __: given.append(inputs[0]))
    seen = list(clips(3))
    for one in seen:
        module(torch.from_numpy(one["image"]))
    hook.remove()
    assert len(given) == 6  # two steps of three clips
    expected = torch.cat(given).square().mean(dim=(0, 1, 2))
    found = energies(program.module(), seen)["mlp"]
    np.testing.assert_allclose(found, expected[None].numpy(), rtol=1e-5)


def test_palettes_that_know_them_serve_the_layers_answer() -> None:
    torch.manual_seed(0)
    conv = nn.Conv2d(3, 64, 3, padding=1).eval()
    loud = np.array([10.0, 1.0, 0.1], np.float32)[:, None, None]
    with torch.no_grad():  # what is loud has small weights, as it goes
        conv.weight /= torch.from_numpy(loud)
    program, _ = captured(One(conv))
    seen, held = ([{"image": one["image"] * loud} for one in clips(4, seed)] for seed in (0, 1))
    weight = conv.weight.detach().numpy()

    def error(found: np.ndarray) -> float:
        images = torch.cat([torch.from_numpy(one["image"]) for one in held])
        changed = torch.from_numpy(found - weight)
        return float(F.conv2d(images, changed, padding=1).square().mean())

    heard = energies(program.module(), seen)["layer"]
    weighted, plain = palettize(weight, 3, heard), palettize(weight, 3)
    assert error(weighted.unpack()) < 0.7 * error(plain.unpack())


def test_nothing_to_hear_and_what_is_not_finite_are_refused() -> None:
    program, _ = captured(network())
    with pytest.raises(RequestError, match="there are none"):
        energies(program.module(), [])
    broken = {"image": np.full((1, 3, 8, 8), np.nan, np.float32)}
    with pytest.raises(RequestError, match="the input of stem is not finite"):
        energies(program.module(), [broken])
