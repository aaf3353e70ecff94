"""Weights that are codes times scales in a package: stored as those, and the same numbers."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from minuet.benchmarks.parity import difference
from minuet.benchmarks.tolerances import tolerance
from minuet.contracts.codes import Coded, coded
from minuet.contracts.errors import RequestError
from minuet.export import coreml_weights
from minuet.quantize.groups import pack4, pack8, pack_palette
from minuet.runtimes.mil.package import load_function
from tests.export.coreml import called, packed

PACKS = {"int4-weights": pack4, "int8-weights": pack8}
PACKS["palettes-int8"] = lambda weight: pack_palette(weight, 4)
BITS = {"int4-weights": 4.5, "int8-weights": 8.0, "palettes-int8": 4.0}


class Layers(nn.Module):
    """A convolution of few channels, one of many, a linear layer; then one that stays float."""

    def __init__(self, pack: Any = None) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.few, self.many = nn.Conv2d(4, 64, 3, padding=1), nn.Conv2d(64, 64, 3, padding=1)
        self.linear, self.plain = nn.Linear(64, 96), nn.Linear(96, 8)
        for layer in (self.few, self.many, self.linear) if pack else ():
            made = pack(layer.weight.detach().numpy()).unpack()
            layer.weight = nn.Parameter(torch.from_numpy(made), requires_grad=False)

    def forward(self, image: torch.Tensor) -> tuple[torch.Tensor]:
        x = torch.relu(self.many(torch.relu(self.few(image))))
        return (self.plain(torch.relu(self.linear(x.permute(0, 2, 3, 1)))),)


IMAGE = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module", params=PACKS)
def written(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, Path, Path]:
    """A precision, its package, and the float16 package of the same weights."""
    module, folder = Layers(PACKS[request.param]).eval(), tmp_path_factory.mktemp("codes")
    made = [packed(folder, module, IMAGE, precision=word) for word in (request.param, "fp16")]
    return request.param, made[0], made[1]


def given_by(package: Path) -> torch.Tensor:
    (found,) = called(load_function(package), IMAGE)
    return found


def size(package: Path) -> int:
    return sum(path.stat().st_size for path in package.rglob("weight.bin"))


def test_it_computes_what_the_float16_package_does(written: tuple[str, Path, Path]) -> None:
    _, package, half = written
    assert torch.equal(given_by(package), given_by(half))


def test_it_is_as_small_as_its_codes(written: tuple[str, Path, Path]) -> None:
    precision, package, half = written
    count = sum(p.numel() for n, p in Layers().named_parameters() if p.ndim > 1)
    plain = 96 * 8 * 2
    assert size(package) < (count * BITS[precision] / 8 + plain) * 1.1 + 3000 < size(half)


def test_codes_are_of_the_type_that_they_need(written: tuple[str, Path, Path]) -> None:
    precision, package, _ = written
    ops = list(load_function(package).walk())
    scaled = [op for op in ops if op.kind == "constexpr_blockwise_shift_scale"]
    tables = [op for op in ops if op.kind == "constexpr_lut_to_dense"]
    assert len(scaled) == 3 and len(tables) == (3 if precision == "palettes-int8" else 0)
    if tables:
        assert {op.arguments["indices"].type.name for op in tables} == {"uint4"}
        assert {op.arguments["data"].array().size for op in scaled} == {16}  # the tables
    kind = "int4" if precision == "int4-weights" else "int8"
    assert {op.arguments["data"].type.name for op in scaled} == {kind}


@pytest.mark.parametrize("precision", PACKS)
def test_scales_of_the_wrong_blocks_are_another_model(
    precision: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wrong(weight: Any) -> Coded | None:
        found = coded(weight)
        if not found:
            return None
        scales = (np.roll(found.scales, 1, 0) * 1.5).astype(np.float16)
        return Coded(codes=found.codes, scales=scales, bits=found.bits)

    monkeypatch.setattr(coreml_weights, "coded", wrong)
    package = packed(tmp_path, Layers(PACKS[precision]).eval(), IMAGE, precision=precision)
    found = difference(Layers()(IMAGE)[0].detach().numpy(), given_by(package).float().numpy())
    assert found.db < tolerance("coreml", precision, metric=found.metric, depth=4).db


def test_rounded_weights_are_within_their_tolerance(written: tuple[str, Path, Path]) -> None:
    precision, package, _ = written
    found = difference(Layers()(IMAGE)[0].detach().numpy(), given_by(package).float().numpy())
    assert found.db >= tolerance("coreml", precision, metric=found.metric, depth=4).db or (
        precision == "palettes-int8"  # four bits, and the gate is of six
    )


def test_an_older_release_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="int4-weights needs iOS 18, not 17"):
        packed(tmp_path, Layers(pack4).eval(), IMAGE, precision="int4-weights", ios=17)
