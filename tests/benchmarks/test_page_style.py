"""Every colour that words or marks are made of can be seen on what lies below, in both schemes."""

import re

import pytest

from minuet.benchmarks.page_style import INKS, MARKS, PALETTE, STYLE

GROUNDS = ("ground",)  # words stand on nothing else: their halo is the ground's colour, too
SCENERY = {"line", "wash", "tint"}  # hairlines, bands and humps: what they say is said again


def contrast(a: str, b: str) -> float:
    """WCAG 2.2's contrast ratio."""
    light, dark = sorted((luminance(a), luminance(b)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def luminance(color: str) -> float:
    values = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in values]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_the_formula_knows_its_ends() -> None:
    assert contrast("#ffffff", "#000000") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)  # WCAG's known near miss


@pytest.mark.parametrize("scheme", [0, 1])
def test_every_ink_can_be_read_and_every_mark_be_seen(scheme: int) -> None:
    ground = PALETTE["ground"][scheme]
    for ink in INKS:
        assert contrast(PALETTE[ink][scheme], ground) >= (7 if ink == "ink" else 4.5), ink
    for mark in MARKS:
        assert contrast(PALETTE[mark][scheme], ground) >= 3, mark


@pytest.mark.parametrize("scheme", [0, 1])
def test_marks_can_be_told_from_the_humps_behind_them(scheme: int) -> None:
    assert contrast(PALETTE["accent"][scheme], PALETTE["tint"][scheme]) >= 3


def test_every_colour_has_a_use_and_a_duty() -> None:
    used = set(re.findall(r"var\(--(\w+)\)", STYLE))
    assert used == set(PALETTE)
    assert set(INKS) | set(MARKS) | SCENERY | set(GROUNDS) == set(PALETTE)
    words = set(re.findall(r"(?<![-\w])color: var\(--(\w+)\)", STYLE))
    words |= set(re.findall(r"text[^{]*\{[^}]*fill: var\(--(\w+)\)", STYLE))
    assert words <= set(INKS)


def test_no_colour_is_written_outside_of_the_palette() -> None:
    rules = STYLE[STYLE.index("* {") :]
    assert not re.findall(r"#[0-9a-fA-F]{3,8}\b(?![^{]*\{)", rules)


def test_nothing_is_fetched_by_the_style() -> None:
    assert "url(" not in STYLE and "@import" not in STYLE and "</" not in STYLE
