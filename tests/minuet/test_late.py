"""Processes that run a recipe together end where one does, however late some of them come."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from minuet.contracts.files import read_json
from tests.distill.fleets import launched

WEIGHT = 3e-4  # a step of Adam's at a quarter: a gradient may be nothing but rounding


@pytest.mark.slow
def test_a_whole_recipe_with_a_late_process_ends_where_one_process_does(tmp_path: Path) -> None:
    for folder, world in (("one", 1), ("two", 2)):
        launched(tmp_path / folder, world, module="tests.minuet.late")
    for stage in ("base", "teachers/one", "student"):
        ends = [
            load_file(tmp_path / folder / stage / "model" / "weights.safetensors")
            for folder in ("one", "two")
        ]
        for name, value in ends[0].items():
            torch.testing.assert_close(value, ends[1][name], rtol=0, atol=WEIGHT)
    kept = [read_json(tmp_path / folder / "kept" / "summary.json") for folder in ("one", "two")]
    assert kept[0]["kept_by_teacher"] == kept[1]["kept_by_teacher"]
    assert (tmp_path / "two" / "steps" / "model" / "weights.safetensors").exists()
    assert not (tmp_path / "two" / "asked").exists()
