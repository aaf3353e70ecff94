"""Agreement is the published number; intervals resample what hangs together."""

import math

import numpy as np
import pytest

from minuet.curation.agreement import alpha, bootstrap, disagreement

# Krippendorff 2011, section C: four observers, twelve units, missing values.
NOMINAL = """
1 2 3 3 2 1 4 1 2 . . .
1 2 3 3 2 2 4 1 2 5 . 3
. 3 3 3 2 3 4 2 2 5 1 .
1 2 3 3 2 4 4 1 2 5 1 .
"""
# The same, section A: two observers, binary data.
BINARY = """
0 1 0 0 0 0 0 0 1 0
1 1 1 0 0 1 0 0 0 0
"""


def units(table: str) -> list[list[str]]:
    rows = [line.split() for line in table.strip().splitlines()]
    return [[value for value in unit if value != "."] for unit in zip(*rows, strict=True)]


@pytest.mark.parametrize(("table", "published"), [(NOMINAL, 0.743), (BINARY, 0.095)])
def test_alpha_is_that_of_the_worked_examples(table: str, published: float) -> None:
    found = alpha(units(table))
    assert found is not None and round(found, 3) == published


def test_alpha_of_one_mind_is_one_and_of_dice_about_nothing() -> None:
    rng = np.random.default_rng(0)
    dice = [list(rng.choice(["keep", "reject"], 3)) for _ in range(4000)]
    assert alpha([["keep"] * 3, ["reject"] * 2]) == 1
    assert alpha(dice) == pytest.approx(0, abs=0.03)


@pytest.mark.parametrize("none", [[], [["keep"]], [["keep", "keep"], ["keep", "keep"]]])
def test_alpha_is_not_defined_where_nothing_can_be_compared(none: list[list[str]]) -> None:
    assert alpha(none) is None


def test_disagreement_is_the_share_of_pairs_that_differ() -> None:
    assert disagreement("aab") == pytest.approx(2 / 3)
    assert disagreement("ab") == 1
    assert disagreement("a") == 0


def test_an_interval_is_that_of_the_binomial_for_one_answer_a_request() -> None:
    answers = {number: [(number % 2, 1)] for number in range(400)}
    found = bootstrap(answers, lambda row: row[0] / row[1])
    assert found is not None
    wide = 1.96 * math.sqrt(0.25 / 400)
    assert found == pytest.approx((0.5 - wide, 0.5 + wide), abs=0.01)


def test_ten_answers_to_one_request_are_not_ten_requests() -> None:
    alone = {number: [(number % 2, 1)] for number in range(40)}
    together = {number: [(number % 2, 1)] * 10 for number in range(40)}
    one = bootstrap(alone, lambda row: row[0] / row[1])
    ten = bootstrap(together, lambda row: row[0] / row[1])
    assert one == pytest.approx(ten)


def test_one_request_has_no_interval() -> None:
    assert bootstrap({3: [(1, 1)]}, lambda row: row[0] / row[1]) is None
