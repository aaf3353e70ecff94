"""The quality table as it is printed, and the sheet of failures."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from minuet.benchmarks.quality import METRICS
from minuet.benchmarks.stats import Interval
from minuet.evaluation import held_out, told_the_truth

ROOT = Path(__file__).resolve().parents[2]
FOUND = Interval(value=0.9123, low=0.9, high=0.94)


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("quality", ROOT / "scripts" / "quality.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_value_stands_with_half_its_interval(script: ModuleType) -> None:
    assert script.cell(FOUND) == "0.912 ± 0.02"
    assert script.cell(None) == ""
    assert script.row({"psnr": FOUND}) == "psnr 0.912"


def test_every_row_of_the_table_is_as_wide_as_its_head(script: ModuleType) -> None:
    text = script.markdown({"student": {"psnr": FOUND}, "the truth": {}}, {"student": 3.14159})
    head, rule, student, truth = text.splitlines()
    assert len({line.count("|") for line in (head, rule, student, truth)}) == 1
    cells = [cell.strip() for cell in student.strip("|").split("|")]
    assert cells[:2] == ["student", "3.1"]
    assert dict(zip(METRICS, cells[2:], strict=True))["psnr"] == "0.912 ± 0.02"
    assert truth.startswith("| the truth |  |")


def test_networks_are_the_named_ones_or_those_that_are_shipped(script: ModuleType) -> None:
    assert script.networks(["mine=some/where"]) == {"mine": Path("some/where")}
    found = script.networks([])
    assert next(iter(found)) == "student" and "teacher motion" in found
    assert all((folder / "model.json").is_file() for folder in found.values())


def test_the_sheet_shows_each_motions_furthest_clip(script: ModuleType) -> None:
    asked = list(held_out(4, 64))
    clips = list(told_the_truth(asked))
    motions = [one.spec.motion for one in asked]
    rows = [{"warp": (float(at), 1.0)} for at in range(len(asked))]
    sheet = script.worst(clips, rows, asked)
    assert len(sheet) == len(clips[0]) and sheet.shape[-1] == 4
    last = {motion: at for at, motion in enumerate(motions)}  # the largest error of each
    chosen = [asked[at] for at in last.values()]
    alone = script.worst([clips[at] for at in last.values()], rows[: len(chosen)], chosen)
    assert (sheet == alone).all()
