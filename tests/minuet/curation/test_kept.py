"""People's kept set: majority, then preference; what was there is not lost."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from minuet.casting import read_summary
from minuet.contracts.errors import RequestError
from minuet.curation.answers import Answer
from minuet.curation.candidates import Candidates
from minuet.curation.kept import apply, chosen
from minuet.distill.store import ClipStore
from tests.minuet.curation.made import clip_of, preference, verdict


def votes(candidates: Candidates, request: int, **teachers: str) -> list[Answer]:
    """A row of k and r for each teacher's clip, one person a letter."""
    words = {"k": "keep", "r": "reject"}
    return [
        verdict(candidates, f"person {place}", request, teacher, words[letter])
        for teacher, letters in teachers.items()
        for place, letter in enumerate(letters)
    ]


def kept(candidates: Candidates, answers: list[Answer], unseen: str = "drop") -> dict[int, str]:
    return {clip.request: clip.teacher for clip in chosen(candidates, answers, unseen)}


def test_the_largest_majority_is_kept_and_what_most_reject_is_not(candidates: Candidates) -> None:
    answers = [
        *votes(candidates, 0, bold="kkr", calm="kkk", deft="rrk"),
        *votes(candidates, 2, bold="rrk", calm="r", deft="rr"),
    ]
    assert kept(candidates, answers) == {0: "calm"}


def test_equal_shares_are_decided_by_preference_and_then_by_the_judge(
    candidates: Candidates,
) -> None:
    answers = votes(candidates, 0, bold="kk", calm="kk", deft="kk")
    assert kept(candidates, answers) == {0: "deft"}  # its merit is the greatest
    liked = preference(candidates, "Ada", 0, "bold", "deft")
    assert kept(candidates, [*answers, liked]) == {0: "bold"}


def test_a_tie_of_votes_is_broken_by_preference(candidates: Candidates) -> None:
    tied = votes(candidates, 0, bold="kr")
    assert kept(candidates, tied) == {}
    assert kept(candidates, [*tied, preference(candidates, "Ada", 0, "bold", "calm")]) == {
        0: "bold"
    }
    assert kept(candidates, [*tied, preference(candidates, "Ada", 0, "calm", "bold")]) == {}


def test_the_second_look_counts_in_the_place_of_the_first(candidates: Candidates) -> None:
    first = verdict(candidates, "Ada", 0, "bold", "keep")
    assert kept(candidates, [first]) == {0: "bold"}
    second = verdict(candidates, "Ada", 0, "bold", "reject", turn=1)
    assert kept(candidates, [second, first]) == {}


def test_what_nobody_saw_is_left_out_or_left_to_the_judge(candidates: Candidates) -> None:
    seen = votes(candidates, 0, bold="k", calm="r", deft="r")
    assert kept(candidates, seen) == {0: "bold"}
    # The judge refuses all of request 1, and likes deft best elsewhere.
    assert kept(candidates, seen, "judge") == {0: "bold"} | dict.fromkeys((2, 3, 4, 5), "deft")


def test_the_students_stage_reads_what_people_kept(run: Path, candidates: Candidates) -> None:
    answers = votes(candidates, 3, bold="k") + votes(candidates, 5, calm="k", deft="r")
    told, aside = apply(run, candidates, answers)
    assert aside is None and read_summary(run) == told
    assert told["kept_by_teacher"] == {"bold": 1, "calm": 1, "deft": 0}
    store = ClipStore(run / "kept", told["kept"])
    assert store.about("sources") == ["bold", "calm"]
    assert store.column("noise").tolist() == [3, 5]
    given = candidates.frames(clip_of(candidates, 3, "bold"))[..., 3]
    clean = store.batch([0], torch.zeros(1)).clean_NCHW
    np.testing.assert_allclose(clean[:, 3].numpy() * 255, given, atol=1e-3)


def test_an_earlier_kept_set_is_moved_aside_and_the_same_one_is_not(
    run: Path, candidates: Candidates
) -> None:
    (run / "kept").mkdir()
    (run / "kept" / "summary.json").write_text('{"by": "the judge"}')
    answers = votes(candidates, 3, bold="k")
    assert apply(run, candidates, answers)[1] == run / "kept.1"
    assert json.loads((run / "kept.1" / "summary.json").read_text()) == {"by": "the judge"}
    assert apply(run, candidates, answers)[1] is None
    more = [*answers, *votes(candidates, 4, bold="k")]
    assert apply(run, candidates, more)[1] == run / "kept.2"
    assert read_summary(run)["kept"] == 2
    assert sorted(path.name for path in run.iterdir()) == ["candidates", "kept", "kept.1", "kept.2"]


def test_nothing_kept_is_said_and_changes_nothing(run: Path, candidates: Candidates) -> None:
    with pytest.raises(RequestError, match="nobody keeps any of 18 candidates"):
        apply(run, candidates, votes(candidates, 0, bold="r"))
    assert not (run / "kept").exists()
