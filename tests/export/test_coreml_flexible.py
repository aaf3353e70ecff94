"""One package takes several sizes: by a list of shapes, or by functions on shared weights."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from minuet.contracts.errors import RequestError
from minuet.contracts.tensors import Signature
from minuet.export.capture import Program
from minuet.export.coreml_flexible import capture_sizes
from minuet.export.coreml_hazards import hazards
from minuet.export.to_coreml import export_coreml
from minuet.runtimes.mil.package import load_function, load_functions
from tests.export.coreml import called, captured, described

SIDES = (16, 24)


class Network(nn.Module):
    """Enough weights to see whether they are there once."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Conv2d(3, 96, 3, padding=1), nn.Conv2d(96, 96, 3, padding=1)

    def forward(self, in_0: Tensor) -> tuple[Tensor]:
        return (self.last(F.silu(self.first(in_0))),)


@pytest.fixture(scope="module")
def network() -> Network:
    torch.manual_seed(0)
    return Network().eval()


def picture(side: int) -> Tensor:
    return torch.randn(1, 3, side, side, generator=torch.Generator().manual_seed(side))


def test_functions_share_their_weights(network: Network, tmp_path: Path) -> None:
    others = {f"main_{side}": captured(network, picture(side)) for side in SIDES[1:]}
    first = captured(network, picture(SIDES[0]))
    artifact = export_coreml(first, tmp_path, "fp32", functions=others)
    package = tmp_path / artifact.entry
    assert list(load_functions(package)) == ["main", "main_24"]
    assert artifact.requires["functions"] == "main_24"
    assert artifact.programs == ("main", "main_24")
    weights = sum(one.numel() * 4 for one in network.parameters())
    assert artifact.size < 1.2 * weights
    for side, name in zip(SIDES, ("main", "main_24"), strict=True):
        (found,) = called(load_function(package, name), picture(side))
        torch.testing.assert_close(found, network(picture(side))[0], rtol=1e-4, atol=1e-4)
    (work,) = (one for one in hazards(package) if one.op == "conv")
    assert work.count == 2  # not once a function


def test_functions_need_a_release_that_has_them(network: Network, tmp_path: Path) -> None:
    one = captured(network, picture(16))
    with pytest.raises(RequestError, match="a function a size needs iOS 18, not 17"):
        export_coreml(one, tmp_path, "fp32", ios=17, functions={"main_24": one})


def enumerated(network: nn.Module, *sides: Tensor) -> tuple[Program, dict[str, Signature]]:
    first, *others = (described(network, (x,)) for x in sides)
    program = capture_sizes(network, {"in_0": sides[0].numpy()}, [first, *others])
    return program, {f"main_{i}": one for i, one in enumerate(others)}


@pytest.mark.parametrize("ios", [16, 18])
def test_sizes_are_enumerated(network: Network, tmp_path: Path, ios: int) -> None:
    program, others = enumerated(network, *(picture(side) for side in SIDES))
    artifact = export_coreml(program, tmp_path, "fp32", shapes=others, ios=ios)
    package = tmp_path / artifact.entry
    assert artifact.programs == ("main", "main_0") and "functions" not in artifact.requires
    (flexible,) = (one for one in hazards(package) if one.op == "input")
    assert flexible.place == "in_0" and "enumerated" in flexible.what
    for side in SIDES:
        (found,) = called(load_function(package), picture(side))
        torch.testing.assert_close(found, network(picture(side))[0], rtol=1e-4, atol=1e-4)


class Both(nn.Module):
    """Two inputs of one size."""

    def forward(self, in_0: Tensor, in_1: Tensor) -> tuple[Tensor]:
        return (in_0 * in_1,)


def test_several_inputs_of_several_sizes_need_ios_18(tmp_path: Path) -> None:
    first, second = (described(Both(), (picture(side), picture(side))) for side in SIDES)
    given = {"in_0": picture(16).numpy(), "in_1": picture(16).numpy()}
    program = capture_sizes(Both(), given, [first, second])
    with pytest.raises(RequestError, match=r"iOS 17 takes one input of .*in_0, in_1"):
        export_coreml(program, tmp_path, "fp32", ios=17, shapes={"main_24": second})
    artifact = export_coreml(program, tmp_path, "fp32", shapes={"main_24": second})
    (found,) = called(load_function(tmp_path / artifact.entry), picture(24), picture(24))
    torch.testing.assert_close(found, picture(24).square())


def test_a_size_that_cannot_be_free_is_said_so() -> None:
    class Fixed(nn.Module):
        def forward(self, in_0: Tensor) -> tuple[Tensor]:
            return (in_0.reshape(1, 3, 16, 16),)

    signatures = [described(nn.Identity(), (picture(side),)) for side in SIDES]
    with pytest.raises(RequestError, match="function of its own"):
        capture_sizes(Fixed(), {"in_0": picture(16).numpy()}, signatures)
