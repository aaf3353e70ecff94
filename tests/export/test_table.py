"""The table names what exists, and refuses the rest with a reason."""

from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from minuet.benchmarks.tolerances import tolerance
from minuet.contracts.artifact import PRECISIONS, TARGETS
from minuet.contracts.errors import DamagedError, RequestError
from minuet.contracts.files import read_json
from minuet.export.bundle import load_bundle, seal
from minuet.export.capture import Program
from minuet.export.table import EXPORTERS, exporter, missing, row
from tests.export.coreml import Said, captured


def test_every_target_of_the_contract_has_an_exporter() -> None:
    assert tuple(EXPORTERS) == TARGETS
    assert all(callable(exporter(target)) for target in EXPORTERS)


def test_every_row_has_a_tolerance_for_each_precision() -> None:
    for target, found in EXPORTERS.items():
        assert set(found.precisions) <= set(PRECISIONS)
        assert all(tolerance(target, precision).reason for precision in found.precisions)


def test_an_unknown_target_is_refused_with_the_known_ones() -> None:
    with pytest.raises(RequestError, match="'tflite' is not known; choose from onnx"):
        row("tflite")


def test_a_missing_library_is_refused_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    refusal = missing("coreml")
    assert refusal is not None and "minuet[coreml]" in refusal.reason


@pytest.fixture(scope="module")
def looking() -> Program:
    """Two places that rules know: noise levels that fold, and a mask that may forbid all."""

    def look(queries: Tensor, key: Tensor, mask: Tensor) -> Tensor:
        levels = torch.exp(-torch.arange(4.0))
        return F.scaled_dot_product_attention(queries * levels, key, key, attn_mask=mask).tanh()

    rng = torch.Generator().manual_seed(0)
    shapes = (1, 2, 8, 4), (1, 2, 1, 4), (1, 1, 8, 1)
    return captured(Said(look), *(torch.rand(shape, generator=rng) for shape in shapes))


@pytest.mark.parametrize("target", EXPORTERS)
def test_what_rules_did_lies_beside_every_artifact(
    looking: Program, tmp_path: Path, target: str
) -> None:
    if refusal := missing(target):
        pytest.skip(str(refusal))
    artifact = exporter(target)(looking, tmp_path, row(target).precisions[0])
    (listed,) = (file for file in artifact.files if Path(file.path).name == "rewrites.json")
    log = read_json(tmp_path / listed.path)
    assert log["applied"]["constants folded"] >= 1
    (refused,) = (one for one in log["refused"] if one["rule"] == "attention to one key")
    assert "its mask may forbid the only key" in refused["reason"]

    manifest = seal(
        tmp_path,
        name="x",
        family="Said",
        programs={"main": looking.signature},
        sampler={},
        artifacts=[artifact],
        source_sha256="0" * 64,
    )
    assert listed in manifest.artifacts[0].files and not manifest.files
    (tmp_path / listed.path).write_text('{"applied": {}, "refused": []}')
    with pytest.raises(DamagedError, match=r"rewrites\.json"):
        load_bundle(tmp_path)
