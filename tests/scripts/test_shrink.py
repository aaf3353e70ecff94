"""The table of full and pruned networks: its rows, its costs, and that it goes on."""

import argparse
import importlib.util
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest

from minuet import shipped
from minuet.benchmarks.quality import METRICS
from minuet.contracts.errors import RequestError
from minuet.contracts.files import write_json
from minuet.distill.shrink.gaps import part_time
from minuet.models.student import load_student

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("shrink", ROOT / "scripts" / "shrink.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["shrink"] = module  # where its dataclass looks itself up
    spec.loader.exec_module(module)
    return module


def test_every_row_of_the_table_is_as_wide_as_its_head(script: ModuleType, tmp_path: Path) -> None:
    quality = {"psnr": {"value": 21.0, "low": 20.0, "high": 22.0}}
    costs = dict.fromkeys(script.COSTS, 1.5)
    for base, row in (("many", "full"), ("few", "half the pixels"), ("few", "full")):
        value = {"row": row, "base": base, "costs": costs, "quality": quality}
        write_json(tmp_path / base / f"{row}.json", value)
    refused = {"row": "half the channels, pushed out", "base": "few", "refused": "train on"}
    write_json(tmp_path / "few" / "refused.json", refused)
    script.write_table(tmp_path)
    head, rule, *rows = (tmp_path / "table.md").read_text().splitlines()
    assert {line.count("|") for line in (head, rule, *rows)} == {3 + len(costs) + len(METRICS)}
    assert [row.split("|")[2].strip() for row in rows] == [
        *("full", "half the channels, pushed out", "half the pixels", "full")
    ]
    assert "21 ± 1" in rows[0] and "train on" in rows[1] and rows[3].startswith("| many")


def test_a_student_of_every_second_frame_costs_half_a_shown_frame(script: ModuleType) -> None:
    student = load_student(shipped.folder() / "student")
    whole = script.costs_of(student, 1)
    half = script.costs_of(replace(student, network=part_time(student.network, 2)), 1)
    assert whole["NFE"] == half["NFE"] == 1
    assert half["GMAC_a_shown_frame"] < 0.65 * whole["GMAC_a_shown_frame"]
    assert whole["GMAC_a_shown_frame"] * 8 == pytest.approx(whole["GMAC_a_step"])


def test_a_folder_holds_one_setting(script: ModuleType, tmp_path: Path) -> None:
    setting = argparse.Namespace(out=tmp_path, minutes=1.0, only=["full"])
    script.same_setting(setting)
    setting.only = ["half the pixels"]  # more rows may be asked for later
    script.same_setting(setting)
    setting.minutes = 2.0
    with pytest.raises(RequestError, match="rows of another setting"):
        script.same_setting(setting)
