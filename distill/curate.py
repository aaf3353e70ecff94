"""Candidates -> clips worth learning from, by an automatic judge."""

# Shapes: as in batch.py.

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from minuet.contracts.pixels import change, premultiplied, seam
from minuet.contracts.recipe import Curate
from minuet.distill.ensemble import Candidate

Judge = Callable[[NDArray[np.uint8]], Mapping[str, float]]  # frames (T, H, W, 4) -> P(motion)


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """A candidate with what the judge says of it."""

    candidate: Candidate
    scores: Mapping[str, float]
    refused: str  # why it may not be kept; "" if it may

    @property
    def merit(self) -> float:
        """One number to choose between teachers: agreement, less seam and paint."""
        s = self.scores
        return s["agreement"] - 0.1 * max(0.0, s["seam"] - 1) - s["painted"] + 0.1 * s["held"]


def motion_amount(frames_THWC: NDArray[np.uint8]) -> float:
    """Mean absolute change from frame to frame around the loop, premultiplied."""
    return change(premultiplied(frames_THWC))


def held_together(frames_THWC: NDArray[np.uint8]) -> float:
    """How constant the sticker's opaque area is: least over greatest. 1 is rigid."""
    area = (frames_THWC[..., 3] > 127).sum((1, 2)).astype(np.float64)
    return float(area.min() / max(float(area.max()), 1.0))


def judged(candidates: Sequence[Candidate], judge: Judge, rules: Curate) -> list[Verdict]:
    """Score every candidate and say which may be kept.

    The amount of motion is held against the median of all candidates asked for the same motion.
    """
    amounts = [motion_amount(candidate.clip.frames_THWC) for candidate in candidates]
    usual: dict[str, float] = {}
    for motion in {candidate.request.motion for candidate in candidates}:
        same = [
            amount
            for amount, candidate in zip(amounts, candidates, strict=True)
            if candidate.request.motion == motion
        ]
        usual[motion] = float(np.median(same))
    verdicts = []
    for candidate, amount in zip(candidates, amounts, strict=True):
        frames = candidate.clip.frames_THWC
        scores = {
            "agreement": float(judge(frames).get(candidate.request.motion, 0.0)),
            "moved": amount / max(usual[candidate.request.motion], 1e-6),
            "seam": seam(premultiplied(frames)),
            "held": held_together(frames),
            "painted": candidate.painted,
        }
        refused = refusal(scores, rules)
        verdicts.append(Verdict(candidate=candidate, scores=scores, refused=refused))
    return verdicts


def refusal(scores: Mapping[str, float], rules: Curate) -> str:
    """The first rule that a candidate breaks; "" if none."""
    low, high = rules.moved
    if scores["agreement"] < rules.motion:
        return "another motion"
    if not low <= scores["moved"] <= high:
        return "frozen" if scores["moved"] < low else "frantic"
    if scores["seam"] > rules.seam:
        return "jumps at the seam"
    if scores["painted"] > rules.paint:
        return "painted over"
    return ""


def best(verdicts: Iterable[Verdict]) -> list[Verdict]:
    """For every request the keepable candidate with the most merit, in order of requests."""
    kept: dict[int, Verdict] = {}
    for verdict in verdicts:
        number = verdict.candidate.request.number
        if verdict.refused:
            continue
        if number not in kept or verdict.merit > kept[number].merit:
            kept[number] = verdict
    return [kept[number] for number in sorted(kept)]


def scored(verdict: Verdict) -> Candidate:
    """The candidate with its scores written beside it."""
    clip = replace(verdict.candidate.clip, scores=dict(verdict.scores))
    return replace(verdict.candidate, clip=clip)
