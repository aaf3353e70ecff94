"""One package takes several sizes: by a list of shapes, or by a function each on shared weights."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from minuet.contracts.errors import RequestError
from minuet.export.coreml_flexible import capture_sizes, export_coreml_functions
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
    programs = {f"size_{side}": captured(network, picture(side)) for side in SIDES}
    artifact = export_coreml_functions(programs, tmp_path, "fp32")
    package = tmp_path / artifact.entry
    assert list(load_functions(package)) == ["size_16", "size_24"]
    assert artifact.requires["functions"] == "size_16, size_24"
    weights = sum(one.numel() * 4 for one in network.parameters())
    assert artifact.size < 1.2 * weights
    for side in SIDES:
        (found,) = called(load_function(package, f"size_{side}"), picture(side))
        torch.testing.assert_close(found, network(picture(side))[0], rtol=1e-4, atol=1e-4)


def test_a_package_of_no_functions_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="no functions"):
        export_coreml_functions({}, tmp_path)


def test_sizes_are_enumerated(network: Network, tmp_path: Path) -> None:
    signatures = [described(network, (picture(side),)) for side in SIDES]
    program = capture_sizes(network, {"in_0": picture(16).numpy()}, signatures)
    artifact = export_coreml(program, tmp_path, "fp32", sizes=signatures[1:])
    package = tmp_path / artifact.entry
    assert "input" not in {one.op for one in hazards(package)}  # no range
    for side in SIDES:
        (found,) = called(load_function(package), picture(side))
        torch.testing.assert_close(found, network(picture(side))[0], rtol=1e-4, atol=1e-4)


def test_a_size_that_cannot_be_free_is_said_so() -> None:
    class Fixed(nn.Module):
        def forward(self, in_0: Tensor) -> tuple[Tensor]:
            return (in_0.reshape(1, 3, 16, 16),)

    signatures = [described(nn.Identity(), (picture(side),)) for side in SIDES]
    with pytest.raises(RequestError, match="one function a size"):
        capture_sizes(Fixed(), {"in_0": picture(16).numpy()}, signatures)
