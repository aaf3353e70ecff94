"""The report says what the answers say: counted by hand, and found where it was planted."""

import json
import math
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from minuet.curation.answers import Answer
from minuet.curation.candidates import Candidates, write_candidates
from minuet.curation.reports import report
from tests.minuet.curation.made import preference, verdict, verdicts


def test_counts_are_those_by_hand(candidates: Candidates) -> None:
    answers = [
        verdict(candidates, "Ada", 0, "bold", "keep"),
        verdict(candidates, "Ada", 0, "calm", "reject"),
        verdict(candidates, "Bob", 0, "bold", "keep"),
        verdict(candidates, "Bob", 1, "bold", "reject"),
        preference(candidates, "Ada", 0, "bold", "calm"),
        preference(candidates, "Bob", 0, "bold", "calm"),
        preference(candidates, "Bob", 1, "calm", "bold"),
        preference(candidates, "Bob", 1, "bold", "deft"),
    ]
    made = report(candidates, answers)
    assert made.answered == {"Ada": 1, "Bob": 2}
    kept = {row.teacher: (row.verdicts, row.rate) for row in made.kept}
    assert kept == {"bold": (3, pytest.approx(2 / 3)), "calm": (1, 0.0), "deft": (0, None)}
    duel = next(row for row in made.duels if (row.teacher, row.against) == ("bold", "calm"))
    assert (duel.wins, duel.losses, duel.ties) == (2, 1, 0)
    assert duel.win_rate == pytest.approx(2 / 3) and duel.net_win == pytest.approx(1 / 3)
    bold = next(row for row in made.overall if row.teacher == "bold")
    assert (bold.wins, bold.losses) == (3, 1)
    assert made.reasons["bold"] == {"smoothness": 2} and made.reasons["deft"] == {"smoothness": -1}


def test_a_tie_is_half_a_win_and_no_net_win(candidates: Candidates) -> None:
    won = preference(candidates, "Ada", 0, "bold", "calm")
    tied = preference(candidates, "Ada", 1, "bold", "calm")
    made = report(candidates, [won, Answer(**{**asdict(tied), "value": "tie"})])
    assert (made.duels[0].win_rate, made.duels[0].net_win) == (0.75, 0.5)


def test_a_planted_preference_is_found_within_its_interval(tmp_path: Path) -> None:
    write_candidates(tmp_path, verdicts(200), seed=0)
    found, rng = Candidates(tmp_path), np.random.default_rng(4)
    answers = []
    for request in range(200):
        winner, loser = ("bold", "calm") if rng.random() < 0.7 else ("calm", "bold")
        answers.append(preference(found, "Ada", request, winner, loser))
    duel = report(found, answers).duels[0]
    assert duel.win_interval is not None
    low, high = duel.win_interval
    assert 0.5 < low < 0.7 < high
    assert high - low == pytest.approx(2 * 1.96 * math.sqrt(0.7 * 0.3 / 200), rel=0.2)


def test_alphas_interval_holds_alpha_and_repeats_do_not_count(tmp_path: Path) -> None:
    write_candidates(tmp_path, verdicts(60), seed=0)
    found, rng = Candidates(tmp_path), np.random.default_rng(2)
    answers = []
    for request in range(60):
        truth = "keep" if rng.random() < 0.5 else "reject"
        for who in ("Ada", "Bob", "Eve"):
            said = truth if rng.random() < 0.8 else "keep"
            answers.append(verdict(found, who, request, "bold", said))
    made = report(found, answers)
    assert made.alpha is not None and made.alpha_interval is not None
    assert made.alpha_interval[0] < made.alpha < made.alpha_interval[1] < 1
    again = verdict(found, "Ada", 0, "bold", "reject", turn=1)
    assert report(found, [*answers, again]).alpha == made.alpha


def test_noise_is_what_changed_when_it_was_asked_twice(candidates: Candidates) -> None:
    answers = [
        verdict(candidates, "Ada", 0, "bold", "keep"),
        verdict(candidates, "Ada", 0, "bold", "reject", turn=1),
        verdict(candidates, "Ada", 0, "calm", "keep"),
        verdict(candidates, "Ada", 0, "calm", "keep", turn=1),
        preference(candidates, "Ada", 0, "bold", "calm"),
        preference(candidates, "Ada", 0, "calm", "bold", turn=1),
        preference(candidates, "Ada", 0, "bold", "deft"),
        preference(candidates, "Ada", 0, "bold", "deft", turn=1),
        verdict(candidates, "Bob", 0, "bold", "keep"),
    ]
    (noise,) = report(candidates, answers).noise
    assert (noise.annotator, noise.verdicts, noise.verdicts_changed) == ("Ada", 2, 1)
    assert (noise.preferences, noise.preferences_changed) == (2, 1)
    # One of two differs by 2: sqrt((4 + 0) / 2 / 2).
    assert noise.sigma == pytest.approx(1.0)


def test_a_report_of_nothing_is_json_without_a_number_that_is_none(candidates: Candidates) -> None:
    made = report(candidates, [])
    assert made.alpha is None and made.overall[0].win_rate is None
    json.dumps(asdict(made), allow_nan=False)
