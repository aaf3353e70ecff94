"""What a person looks at: all of it, in an order of their own, on sides by chance."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from minuet.curation.candidates import Candidates, write_candidates
from minuet.curation.looks import Manner, disputes, looks
from tests.minuet.curation.made import TEACHERS, verdict, verdicts

ONCE = Manner(repeat=0)


@pytest.fixture
def many(tmp_path: Path) -> Candidates:
    write_candidates(tmp_path / "many", verdicts(60), seed=3)
    return Candidates(tmp_path / "many")


def test_everyone_sees_everything_in_an_order_of_their_own(many: Candidates) -> None:
    ada, bob = looks(many, "Ada", ONCE), looks(many, "Bob", ONCE)
    assert looks(many, "Ada", ONCE) == ada
    for plan in (ada, bob):
        assert sorted(look.request for look in plan) == list(range(60))
        for look in plan:
            assert sorted(look.clips) == [clip.clip for clip in many.by_request[look.request]]
    assert [look.request for look in ada] != [look.request for look in bob]
    assert [look.request for look in ada] != list(range(60))


def test_no_teacher_has_a_place_of_its_own(many: Candidates) -> None:
    plan = [*looks(many, "Ada", ONCE), *looks(many, "Bob", ONCE), *looks(many, "Eve", ONCE)]
    first = Counter(many.by_name[look.clips[0]].teacher for look in plan)
    left = Counter(many.by_name[look.pairs[0][0]].teacher for look in plan)
    for count in (first, left):  # 60 of 180 each; three deviations of a binomial are 19
        assert all(abs(count[name] - 60) < 19 for name in TEACHERS)


def test_every_clip_meets_two_others_once_on_each_side(many: Candidates) -> None:
    for look in looks(many, "Ada", ONCE):
        left, right = zip(*look.pairs, strict=True)
        assert sorted(left) == sorted(right) == sorted(look.clips)
        assert len({frozenset(pair) for pair in look.pairs}) == 3


def test_two_clips_are_one_pair_and_one_is_none(tmp_path: Path) -> None:
    for count, pairs in ((2, 1), (1, 0)):
        write_candidates(tmp_path / str(count), verdicts(1, TEACHERS[:count]), seed=0)
        look = looks(Candidates(tmp_path / str(count)), "Ada", ONCE)[0]
        assert len(look.pairs) == pairs
    assert looks(Candidates(tmp_path / "2"), "Ada", Manner(pairs=False))[0].pairs == ()


def test_one_of_ten_is_shown_again_with_its_pairs_turned_round(many: Candidates) -> None:
    plan = looks(many, "Ada", Manner(repeat=10))
    again = [place for place, look in enumerate(plan) if look.turn]
    assert len(again) == 6
    for place in again:
        before = next(at for at, look in enumerate(plan) if look.request == plan[place].request)
        assert place - before == 10
        assert plan[place].pairs == tuple(pair[::-1] for pair in plan[before].pairs)


def test_what_others_dispute_comes_first(candidates: Candidates) -> None:
    answers = [
        verdict(candidates, "Bob", 4, "bold", "keep"),
        verdict(candidates, "Eve", 4, "bold", "reject"),
        verdict(candidates, "Bob", 2, "bold", "keep"),
        verdict(candidates, "Eve", 2, "bold", "keep"),
    ]
    assert disputes(answers) == {4: 1.0, 2: 0.0}
    plan = looks(candidates, "Ada", Manner(order="disputed", repeat=0), answers)
    assert plan[0].request == 4
    # Her own answers are not held against her: without Eve's there is no dispute.
    own = looks(candidates, "Eve", Manner(order="disputed", repeat=0), answers)
    assert [look.request for look in own] == [r.request for r in looks(candidates, "Eve", ONCE)]


def test_what_the_judge_doubts_comes_first(tmp_path: Path) -> None:
    given = verdicts(6, TEACHERS[:2])
    close = replace(given[3], scores={**given[3].scores, "agreement": 0.59})  # of 0.6: request 3
    write_candidates(tmp_path, [*given[:3], close, *given[4:]], seed=0)
    plan = looks(Candidates(tmp_path), "Ada", Manner(order="doubtful", repeat=0))
    assert plan[0].request == 3
