"""Each rule refuses the fault it is there for, and nothing else."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from minuet.contracts.pixels import premultiplied, seam
from minuet.contracts.recipe import Curate
from minuet.distill.curate import (
    Verdict,
    best,
    held_together,
    judged,
    motion_amount,
    refusal,
    scored,
)
from minuet.distill.ensemble import Candidate, Request
from minuet.distill.store import Known

FRAMES, SIDE = 8, 16
RULES = Curate()


def clip(places: list[int]) -> NDArray[np.uint8]:
    """A white bar of four columns, at a column a frame."""
    frames = np.zeros((len(places), SIDE, SIDE, 4), np.uint8)
    for frame, at in zip(frames, places, strict=True):
        frame[4:12, at : at + 4] = 255
    return frames


GOOD = clip([2, 3, 4, 5, 6, 5, 4, 3])
STILL = clip([4] * FRAMES)
WILD = clip([0, 10] * (FRAMES // 2))
OPEN = clip([2, 2, 3, 3, 4, 4, 5, 6])  # and back to 2 at once


def candidate(
    frames: NDArray[np.uint8] = GOOD,
    number: int = 0,
    motion: str = "slide",
    painted: float = 0.0,
    teacher: str = "one",
) -> Candidate:
    request = Request(
        sticker_CHW=torch.zeros(4, SIDE, SIDE),
        caption="",
        tokens_L=np.zeros(16, np.int32),
        motion=motion,
        number=number,
    )
    known = Known(
        frames_THWC=frames,
        part_THW=np.zeros(frames.shape[:3], np.uint8),
        mask_THW=frames[..., 3] > 0,
        affine_TK23=np.zeros((len(frames), 1, 2, 3), np.float32),
        captions=("",),
        tokens_VL=np.zeros((1, 16), np.int32),
        source=teacher,
    )
    return Candidate(request=request, teacher=teacher, clip=known, painted=painted)


def sees_a_slide(frames_THWC: NDArray[np.uint8]) -> Mapping[str, float]:
    return {"slide": 0.9, "spin": 0.1}


def reasons(*extra: Candidate, rules: Curate = RULES) -> list[str]:
    """Why the extra ones are refused, among five good ones."""
    crowd = [candidate(number=number) for number in range(100, 105)]
    verdicts = judged([*crowd, *extra], sees_a_slide, rules)
    assert [verdict.refused for verdict in verdicts[:5]] == [""] * 5
    return [verdict.refused for verdict in verdicts[5:]]


# --- scores ----------------------------------------------------------------------------------


def test_motion_is_the_mean_change_around_the_loop() -> None:
    # A step of one column changes 8 rows on 2 columns, in all four channels.
    assert motion_amount(GOOD) == pytest.approx(8 * 2 / SIDE**2)
    assert motion_amount(STILL) == 0


def test_what_nobody_can_see_does_not_move() -> None:
    hidden = STILL.copy()
    hidden[::2, :4, :, :3] = 200  # colour under no alpha
    assert motion_amount(hidden) == 0


def test_the_seam_is_the_last_step_over_the_mean_step() -> None:
    assert seam(premultiplied(GOOD)) == pytest.approx(1.0)
    # Four steps of 1 column among seven, and one of 4 back.
    assert seam(premultiplied(OPEN)) == pytest.approx(4 / (8 / 8))
    assert seam(premultiplied(STILL)) == 1.0  # a clip that does not move has no jump in it


def test_a_sticker_that_shrinks_is_not_held_together() -> None:
    half = GOOD.copy()
    half[3, 4:8] = 0
    assert held_together(GOOD) == 1 and held_together(half) == pytest.approx(0.5)
    assert held_together(np.zeros_like(GOOD)) == 0


def test_motion_is_held_against_the_median_of_its_own_kind() -> None:
    asked = [candidate(GOOD, n) for n in range(3)] + [candidate(WILD, n, "spin") for n in range(3)]
    verdicts = judged([*asked, candidate(WILD, 9)], sees_a_slide, RULES)
    moved = [verdict.scores["moved"] for verdict in verdicts]
    assert moved == pytest.approx([1] * 6 + [motion_amount(WILD) / motion_amount(GOOD)])
    agreement = [verdict.scores["agreement"] for verdict in verdicts]
    assert agreement == [0.9] * 3 + [0.1] * 3 + [0.9]


# --- rules -----------------------------------------------------------------------------------

FAULTS = {
    "frozen": candidate(STILL),
    "frantic": candidate(WILD),
    "another motion": candidate(GOOD, motion="spin"),
    "jumps at the seam": candidate(OPEN),
    "painted over": candidate(GOOD, painted=0.3),
}
LOOSE = {
    "frozen": replace(RULES, moved=(0.0, 3.0)),
    "frantic": replace(RULES, moved=(0.3, 1e9)),
    "another motion": replace(RULES, motion=0.0),
    "jumps at the seam": replace(RULES, seam=1e9),
    "painted over": replace(RULES, paint=1.0),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_refused_for_what_it_is(fault: str) -> None:
    assert reasons(FAULTS[fault]) == [fault]


@pytest.mark.parametrize("fault", FAULTS)
def test_without_its_rule_a_fault_is_kept(fault: str) -> None:
    assert reasons(FAULTS[fault], rules=LOOSE[fault]) == [""]


def test_a_motion_that_the_judge_never_heard_of_is_another_motion() -> None:
    assert reasons(candidate(motion="levitate")) == ["another motion"]


def test_where_all_are_frozen_none_is_kept() -> None:
    verdicts = judged([candidate(STILL, n) for n in range(3)], sees_a_slide, RULES)
    assert [verdict.refused for verdict in verdicts] == ["frozen"] * 3


def test_limits_themselves_are_allowed() -> None:
    edge = {"agreement": 0.5, "moved": 0.3, "seam": RULES.seam, "painted": 0.25, "held": 0.0}
    assert refusal(edge, RULES) == "" == refusal(edge | {"moved": 3.0}, RULES)


# --- merits ----------------------------------------------------------------------------------


def verdict(number: int, teacher: str = "one", refused: str = "", **changes: float) -> Verdict:
    scores = {"agreement": 0.9, "moved": 1.0, "seam": 1.0, "held": 1.0, "painted": 0.0} | changes
    one = candidate(number=number, teacher=teacher)
    return Verdict(candidate=one, scores=scores, refused=refused)


def test_merit_is_agreement_less_seam_and_paint() -> None:
    assert verdict(0).merit == pytest.approx(1.0)
    assert verdict(0, agreement=0.6, seam=2.0, painted=0.2, held=0.5).merit == pytest.approx(0.35)


@pytest.mark.parametrize(
    "change", [{"agreement": 0.8}, {"seam": 1.5}, {"painted": 0.1}, {"held": 0.5}], ids=str
)
def test_every_fault_costs_merit(change: dict[str, float]) -> None:
    good = verdict(0)
    worse = replace(good, scores={**good.scores, **change})
    assert worse.merit < good.merit


def test_a_seam_softer_than_the_other_steps_is_no_merit() -> None:
    assert verdict(0, seam=0.2).merit == verdict(0, seam=1.0).merit


def test_the_best_of_each_request_is_kept_in_order_of_requests() -> None:
    rows = [
        verdict(8, "one", agreement=0.7),
        verdict(3, "one", agreement=0.9),
        verdict(8, "two", agreement=0.8),
        verdict(3, "two", agreement=0.8),
        verdict(5, "one", refused="frozen"),
        verdict(8, "three", refused="frantic", agreement=1.0),
    ]
    kept = best(iter(rows))
    told = [(one.candidate.request.number, one.candidate.teacher) for one in kept]
    assert told == [(3, "one"), (8, "two")]
    assert best([]) == []


def test_scores_are_written_beside_the_clip() -> None:
    one = verdict(4, agreement=0.8)
    kept = scored(one)
    assert kept.clip.scores == one.scores and kept.request is one.candidate.request
    assert one.candidate.clip.scores is None
