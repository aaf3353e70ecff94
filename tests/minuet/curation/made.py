"""Small candidates and answers, made by hand."""

import itertools
from collections.abc import Sequence

import numpy as np
import torch

from minuet.curation.answers import Answer
from minuet.curation.candidates import Candidates
from minuet.distill.curate import Verdict
from minuet.distill.ensemble import Candidate, Request
from minuet.distill.store import Known

TEACHERS = ("bold", "calm", "deft")
SIDE, FRAMES = 12, 4
NUMBERS = itertools.count(1)


def verdicts(requests: int = 6, teachers: Sequence[str] = TEACHERS) -> list[Verdict]:
    """Every teacher's clip of every request; merit rises with the teacher's place."""
    return [
        _verdict(request, place, name)
        for place, name in enumerate(teachers)
        for request in range(requests)
    ]


def _verdict(request: int, place: int, teacher: str) -> Verdict:
    rng = np.random.default_rng((request, place))
    frames = rng.integers(0, 256, (FRAMES, 4, SIDE, SIDE), dtype=np.uint8).transpose(0, 2, 3, 1)
    clip = Known(
        frames_THWC=frames,  # lies in memory as a network's answer does
        part_THW=rng.integers(0, 3, (FRAMES, SIDE, SIDE), dtype=np.uint8),
        mask_THW=rng.random((FRAMES, SIDE, SIDE)) > 0.5,
        affine_TK23=rng.standard_normal((FRAMES, 3, 2, 3)).astype(np.float32),
        captions=(f"sticker {request}",),
        tokens_VL=np.array([[request, 1, 0]], np.int32),
        noise=request,
        source=teacher,
    )
    asked = Request(
        sticker_CHW=torch.full((4, SIDE, SIDE), 0.5),
        caption=f"sticker {request}",
        tokens_L=np.array([request, 1, 0], np.int32),
        motion="wave",
        number=request,
    )
    candidate = Candidate(request=asked, teacher=teacher, clip=clip, painted=0.0)
    scores = {"agreement": 0.5 + 0.1 * place, "seam": 1.0, "held": 1.0, "painted": 0.0}
    refused = "painted over" if request == 1 else ""
    return Verdict(candidate=candidate, scores=scores, refused=refused)


def clip_of(candidates: Candidates, request: int, teacher: str) -> str:
    """The clip that a teacher made for a request."""
    clips = candidates.by_request[request]
    return next(clip.clip for clip in clips if clip.teacher == teacher)


def verdict(
    candidates: Candidates, who: str, request: int, teacher: str, value: str, turn: int = 0
) -> Answer:
    """Somebody keeps or rejects a teacher's clip."""
    clip = clip_of(candidates, request, teacher)
    return _answer(who, request, turn, "verdict", clip, "", value)


def preference(
    candidates: Candidates, who: str, request: int, winner: str, loser: str, turn: int = 0
) -> Answer:
    """Somebody likes a teacher's clip better than another's."""
    won, lost = clip_of(candidates, request, winner), clip_of(candidates, request, loser)
    clip, other = sorted((won, lost))
    value = "clip" if won == clip else "other"
    return _answer(who, request, turn, "preference", clip, other, value, ("smoothness",))


def _answer(
    who: str,
    request: int,
    turn: int,
    kind: str,
    clip: str,
    other: str,
    value: str,
    reasons: tuple[str, ...] = (),
) -> Answer:
    number = next(NUMBERS)
    return Answer(
        id=f"answer-{number:06}",
        annotator=who,
        request=request,
        turn=turn,
        kind=kind,
        clip=clip,
        other=other,
        value=value,
        reasons=reasons,
        at_ms=1_700_000_000_000 + number,
    )
