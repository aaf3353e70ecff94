"""Calibration clips: every motion as often, the same everywhere."""

from collections import Counter

import pytest

from minuet.calibrating import strata
from minuet.contracts.errors import RequestError
from minuet.stickers import world
from minuet.stickers.motions import MOTIONS


@pytest.mark.parametrize("clips", [1, len(MOTIONS) - 1, len(MOTIONS), 32, 3 * len(MOTIONS) + 2])
def test_every_motion_occurs_as_often_give_or_take_one(clips: int) -> None:
    found = strata(3, clips)
    counts = Counter(world.sample(3, at, "train").motion for at in found.addresses)
    assert {motion: counts[motion] for motion in MOTIONS} == found.clips
    assert max(found.clips.values()) - min(found.clips.values()) <= 1
    assert len(set(found.addresses)) == clips == sum(found.clips.values())


def test_the_first_addresses_alone_would_not_do() -> None:
    counts = Counter(world.sample(0, at, "train").motion for at in range(2 * len(MOTIONS)))
    assert max(counts.values()) - min(counts[motion] for motion in MOTIONS) > 1


def test_the_same_seed_draws_the_same_and_another_seed_others() -> None:
    assert strata(0, 32) == strata(0, 32) != strata(1, 32)


def test_too_few_clips_say_which_motions_they_leave_out() -> None:
    found = strata(0, len(MOTIONS) - 2)
    lost = [motion for motion, number in found.clips.items() if not number]
    assert len(lost) == 2
    assert all(motion in found.unseen for motion in lost)
    assert f"{len(MOTIONS)} would show all" in found.unseen
    assert strata(0, len(MOTIONS)).unseen == ""


def test_no_clips_and_unknown_splits_are_refused() -> None:
    with pytest.raises(RequestError, match="0 are asked for"):
        strata(0, 0)
    with pytest.raises(RequestError, match="unknown split 'dev'"):
        strata(0, 4, "dev")
