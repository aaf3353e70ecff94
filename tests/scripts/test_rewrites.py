"""Every rule is measured, and the guide says what was measured."""

import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest

from minuet.export.rewrites.table import RULES

ROOT = Path(__file__).resolve().parents[2]
NAMES = {rule.name for rules in RULES.values() for rule in rules()}


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("rewrites", ROOT / "scripts" / "rewrites.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look themselves up there
    spec.loader.exec_module(module)
    return module


def documented() -> dict[str, str]:
    """Rule -> its last cell in the guide."""
    text = (ROOT / "docs" / "export.md").read_text(encoding="utf-8")
    part = text.split("## What is rewritten on the way")[1].split("\n## ")[0]
    rows = [
        [cell.strip() for cell in row.split("|")] for row in re.findall(r"^\|(.*)\|$", part, re.M)
    ]
    return {row[0]: row[-1] for row in rows[2:]}


def test_every_rule_is_measured_and_documented(script: ModuleType) -> None:
    assert {subject.rule.name for subject in script.SUBJECTS} == NAMES
    assert set(documented()) == NAMES


def test_the_guides_gains_are_those_measured(script: ModuleType) -> None:
    found = {one.rule.name: script.gain(*script.rewritten(one)) for one in script.SUBJECTS}
    assert found == documented()
