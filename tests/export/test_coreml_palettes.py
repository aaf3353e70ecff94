"""Weights of few different numbers in a package: as codes and a table, and the same numbers."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from minuet.export.coreml_palettes import _bits, _pays
from minuet.quantize.palettes import palettize
from minuet.runtimes.mil.package import load_function
from tests.export.coreml import called, packed


def tables(package: Path) -> list[int]:
    """How many numbers each table of a package has."""
    ops = load_function(package).walk()
    luts = [op.arguments["lut"] for op in ops if op.kind == "constexpr_lut_to_dense"]
    return sorted(lut.array().size for lut in luts)


def given_by(package: Path, image: torch.Tensor) -> torch.Tensor:
    (found,) = called(load_function(package), image)
    return found


class Layers(nn.Module):
    """A convolution of 2 bits, one of 3, a linear layer of 6, and one that has no palette."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.two = nn.Conv2d(4, 32, 3, padding=1)
        self.three = nn.Conv2d(32, 32, 3, padding=1)
        self.six = nn.Linear(32, 64)
        self.plain = nn.Linear(64, 8)
        for layer, bits in ((self.two, 2), (self.three, 3), (self.six, 6)):
            made = palettize(layer.weight.detach().numpy(), bits)
            layer.weight = nn.Parameter(torch.from_numpy(made.unpack()), requires_grad=False)

    def forward(self, image: torch.Tensor) -> tuple[torch.Tensor]:
        x = torch.relu(self.three(torch.relu(self.two(image))))
        return (self.plain(torch.relu(self.six(x.permute(0, 2, 3, 1)))),)


@pytest.fixture(scope="module")
def given() -> torch.Tensor:
    return torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def package(given: torch.Tensor, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return packed(tmp_path_factory.mktemp("palette"), Layers().eval(), given, precision="palettes")


def test_each_weight_has_the_smallest_table_that_holds_it(package: Path) -> None:
    assert tables(package) == [4, 8, 64]


def test_it_computes_what_the_float16_package_does(
    package: Path, given: torch.Tensor, tmp_path: Path
) -> None:
    half = packed(tmp_path, Layers().eval(), given, precision="fp16")
    torch.testing.assert_close(given_by(package, given), given_by(half, given), rtol=0, atol=0)
    size = {one: sum(p.stat().st_size for p in one.rglob("weight.bin")) for one in (package, half)}
    assert size[package] < 0.5 * size[half]


def test_an_old_release_has_no_tables_of_three_bits(given: torch.Tensor, tmp_path: Path) -> None:
    package = packed(tmp_path, Layers().eval(), given, precision="palettes", ios=16)
    assert tables(package) == [4, 16, 64]
    expected = Layers()(given)[0]
    torch.testing.assert_close(given_by(package, given), expected, rtol=0.02, atol=0.02)


def test_different_numbers_are_counted_by_their_bits() -> None:
    # np.unique of float16 itself counts 28 of them on some machines (numpy 2.3.5, AVX-512).
    numbers = np.linspace(-0.14, 0.11, 16, dtype=np.float16)
    weight = np.random.default_rng(0).choice(numbers, (64, 256))
    assert _pays(weight, 18) and _bits(16, 18) == 4
    assert not _pays(np.random.default_rng(0).standard_normal((64, 256)).astype(np.float16), 18)
    assert not _pays(numbers.reshape(4, 4), 18)  # the table alone would be as large
