"""Candidates and a name -> what this person looks at, in which order, on which side."""

import hashlib
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from minuet.curation.agreement import disagreement
from minuet.curation.answers import VERDICT, Answer, standing
from minuet.curation.candidates import Candidates

# Which requests come first; within equals the order is the annotator's own.
SHUFFLED, DISPUTED, DOUBTFUL = "shuffled", "disputed", "doubtful"
ORDERS = (SHUFFLED, DISPUTED, DOUBTFUL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """One request before one person."""

    request: int
    turn: int  # 1: shown before
    caption: str
    clips: tuple[str, ...]  # as they are shown, from the left
    pairs: tuple[tuple[str, str], ...]  # left and right


@dataclass(frozen=True, slots=True, kw_only=True)
class Manner:
    """How candidates are put before people."""

    seed: int = 0
    order: str = SHUFFLED
    repeat: int = 10  # of so many requests the first is shown once more; 0: none
    pairs: bool = True


def looks(
    candidates: Candidates, annotator: str, manner: Manner, answers: Sequence[Answer] = ()
) -> list[Look]:
    """Everything a person is asked; the same name, seed and answers of others give the same."""
    first = _priority(candidates, manner.order, annotator, answers)
    by_chance = partial(_rank, manner.seed, annotator)
    order = sorted(candidates.by_request, key=lambda number: (first(number), by_chance(number)))
    turns: list[tuple[int, int]] = []
    for place, number in enumerate(order, 1):
        turns.append((number, 0))
        if manner.repeat and place % manner.repeat == 0:
            turns.append((order[place - manner.repeat], 1))
    return [_look(candidates, number, turn, by_chance, manner.pairs) for number, turn in turns]


def _rank(seed: int, *about: object) -> str:
    """A place by chance, the same on every machine."""
    return hashlib.sha256("\0".join(map(str, (seed, *about))).encode()).hexdigest()


def _look(
    candidates: Candidates, number: int, turn: int, rank: Callable[..., str], pairs: bool
) -> Look:
    clips = candidates.by_request[number]
    names = sorted((clip.clip for clip in clips), key=partial(rank, number, turn))
    return Look(
        request=number,
        turn=turn,
        caption=clips[0].caption,
        clips=tuple(names),
        pairs=_ring(sorted(names, key=partial(rank, number, "ring")), turn) if pairs else (),
    )


def _ring(names: Sequence[str], turn: int) -> tuple[tuple[str, str], ...]:
    """Every clip meets two others, once on the left and once on the right; later turned round."""
    if len(names) < 3:
        ring = [(names[0], names[1])] if len(names) == 2 else []
    else:
        ring = list(zip(names, [*names[1:], names[0]], strict=True))
    return tuple(pair[::-1] if turn else pair for pair in ring)


def _priority(
    candidates: Candidates, order: str, annotator: str, answers: Sequence[Answer]
) -> Callable[[int], float]:
    """What comes first: the less, the sooner."""
    if order == DISPUTED:
        disputed = disputes([answer for answer in answers if answer.annotator != annotator])
        return lambda number: -disputed.get(number, 0.0)
    if order == DOUBTFUL:
        return partial(_gap, candidates)
    return lambda _: 0.0


def _gap(candidates: Candidates, number: int) -> float:
    """How far the automatic judge's first is before its second; little is doubtful."""
    merits = sorted((clip.merit for clip in candidates.by_request[number]), reverse=True)
    return merits[0] - merits[1] if len(merits) > 1 else 0.0


def disputes(answers: Sequence[Answer]) -> dict[int, float]:
    """Requests by how far people's first verdicts differ, from 0 to 1: the mean over clips."""
    said: dict[int, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for answer in standing(answers):
        if answer.kind == VERDICT and not answer.turn:
            said[answer.request][answer.clip].append(answer.value)
    return {
        number: sum(map(disagreement, clips.values())) / len(clips)
        for number, clips in said.items()
    }
