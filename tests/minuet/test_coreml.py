"""Words about Core ML are checked before anything is read, and hazards are told in lines."""

from pathlib import Path

import pytest

from minuet import coreml
from minuet.contracts.artifact import Artifact, FileEntry
from minuet.contracts.errors import RequestError
from minuet.contracts.files import write_json


def artifact(target: str = "coreml", **requires: str) -> Artifact:
    kept = FileEntry(path=f"{target}-fp16/hazards.json", bytes=0, sha256="")
    return Artifact(
        target=target,
        precision="fp16",
        entry=f"{target}-fp16/model.mlpackage",
        files=(kept,),
        requires={"ios": "18", "units": "all"} | requires,
    )


def hazard(place: str) -> dict[str, object]:
    texts = {"op": "conv", "what": "slow", "fix": "do", "module": "net", "source": "us"}
    return {"place": place, **texts, "count": 1}


def test_what_is_known_is_told_with_place_reason_and_cure(tmp_path: Path) -> None:
    write_json(tmp_path / "coreml-fp16/hazards.json", [hazard("conv_1")])
    head, line = coreml.lines(tmp_path, artifact(off_neural_engine="conv x1"))
    assert head == "  iOS 18, units all; off the Neural Engine: conv x1; 1 hazard"
    assert line == "  * conv_1 of net (conv): slow. do. [us]"


def test_a_long_list_is_cut_and_says_where_the_rest_is(tmp_path: Path) -> None:
    write_json(tmp_path / "coreml-fp16/hazards.json", [hazard(f"c{i}") for i in range(10)])
    told = list(coreml.lines(tmp_path, artifact()))
    assert len(told) == 1 + coreml.HAZARDS_SAID + 1 and told[-1].endswith(
        "2 more in its hazards.json"
    )


def test_a_package_without_hazards_is_one_line_and_other_targets_none(tmp_path: Path) -> None:
    write_json(tmp_path / "coreml-fp16/hazards.json", [])
    assert list(coreml.lines(tmp_path, artifact())) == ["  iOS 18, units all; 0 hazards"]
    assert list(coreml.lines(tmp_path, artifact("onnx"))) == []


def test_options_without_core_ml_are_refused_by_name() -> None:
    usual = {"ios": 18, "units": "", "also": "", "also_as": "functions"}
    coreml.check([], **usual)  # type: ignore[arg-type]
    with pytest.raises(RequestError, match="--units, --also is for Core ML"):
        coreml.check([], ios=18, units="all", also="256", also_as="functions")


def test_only_half_precision_is_looked_at_for_overflow() -> None:
    assert "inspect" in coreml.options("fp16", ios=18, units="")
    assert coreml.options("fp32", ios=16, units="all") == {"ios": 16, "units": "all"}
