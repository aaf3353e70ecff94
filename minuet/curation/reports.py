"""Answers -> how far people agree, which teacher they prefer, and how sure that is."""

import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np

from minuet.curation.agreement import alpha, bootstrap
from minuet.curation.answers import PREFERENCE, VERDICT, Answer, standing
from minuet.curation.candidates import Candidates
from minuet.curation.looks import disputes

DISPUTED_SHOWN = 10
NOT_DEFINED = math.nan

Interval = tuple[float, float] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """How often people keep a teacher's clips."""

    teacher: str
    verdicts: int
    rate: float | None  # None: nobody was asked
    interval: Interval


@dataclass(frozen=True, slots=True, kw_only=True)
class Duel:
    """A teacher against another, or against all others."""

    teacher: str
    against: str
    wins: int
    losses: int
    ties: int
    win_rate: float | None  # wins and half the ties, of all
    win_interval: Interval
    net_win: float | None  # wins less losses, of all (Movie Gen, arXiv 2410.13720)
    net_interval: Interval


@dataclass(frozen=True, slots=True, kw_only=True)
class Noise:
    """How a person differs from herself where the same things were shown twice."""

    annotator: str
    verdicts: int
    verdicts_changed: int
    preferences: int
    preferences_changed: int
    sigma: float | None  # of one preference, as -1, 0 or 1: sqrt(mean (first - second)^2 / 2)


@dataclass(frozen=True, slots=True, kw_only=True)
class PeoplesReport:
    """What all answers come to; repeated questions count in the noise alone."""

    requests: int
    answered: Mapping[str, int]  # annotator -> requests with a verdict
    alpha: float | None  # of keep and reject
    alpha_interval: Interval
    preference_alpha: float | None
    kept: tuple[Kept, ...]
    duels: tuple[Duel, ...]
    overall: tuple[Duel, ...]
    noise: tuple[Noise, ...]
    reasons: Mapping[str, Mapping[str, int]]  # teacher -> reason for it, less those against it
    disputed: tuple[tuple[int, float], ...]


def report(candidates: Candidates, answers: Sequence[Answer], seed: int = 0) -> PeoplesReport:
    """Everything that the answers say, with 95 % intervals over requests."""
    said = standing(answers)
    first = [answer for answer in said if not answer.turn]
    verdicts = [answer for answer in first if answer.kind == VERDICT]
    preferences = [answer for answer in first if answer.kind == PREFERENCE]
    pairs = list(combinations(candidates.teachers, 2))
    disputed = sorted(disputes(first).items(), key=lambda row: (-row[1], row[0]))
    return PeoplesReport(
        requests=len(candidates.by_request),
        answered=_answered(verdicts),
        alpha=alpha(_units(verdicts)),
        alpha_interval=_alpha_interval(verdicts, seed),
        preference_alpha=alpha(_units(preferences)),
        kept=tuple(_kept(candidates, name, verdicts, seed) for name in candidates.teachers),
        duels=tuple(_duel(candidates, a, {b}, b, preferences, seed) for a, b in pairs),
        overall=tuple(
            _duel(candidates, name, {*candidates.teachers} - {name}, "all", preferences, seed)
            for name in candidates.teachers
        ),
        noise=_noise(said),
        reasons=_reasons(candidates, preferences),
        disputed=tuple(row for row in disputed[:DISPUTED_SHOWN] if row[1] > 0),
    )


def _answered(verdicts: Sequence[Answer]) -> dict[str, int]:
    seen = {(answer.annotator, answer.request) for answer in verdicts}
    return dict(sorted(Counter(name for name, _ in seen).items()))


def _units(answers: Sequence[Answer]) -> list[list[str]]:
    """What was said of each thing, by however many."""
    units: dict[tuple[str, str], list[str]] = defaultdict(list)
    for answer in answers:
        units[answer.clip, answer.other].append(answer.value)
    return list(units.values())


def _alpha_interval(verdicts: Sequence[Answer], seed: int) -> Interval:
    """By the sums that alpha is made of: disagreement seen, keeps and rejects, of each request."""
    rows: dict[int, list[list[float]]] = defaultdict(list)
    units: dict[tuple[int, str], list[str]] = defaultdict(list)
    for answer in verdicts:
        units[answer.request, answer.clip].append(answer.value)
    for (request, _), unit in units.items():
        if len(unit) > 1:
            keeps = unit.count("keep")
            rejects = len(unit) - keeps
            rows[request].append([2 * keeps * rejects / (len(unit) - 1), keeps, rejects])
    return bootstrap(rows, _alpha_of_sums, seed)


def _alpha_of_sums(row: Any) -> float:
    observed, keeps, rejects = row
    expected = 2 * keeps * rejects / max(keeps + rejects - 1, 1)
    return float(1 - observed / expected) if expected else NOT_DEFINED


def _kept(candidates: Candidates, teacher: str, verdicts: Sequence[Answer], seed: int) -> Kept:
    rows: dict[int, list[tuple[int, int]]] = defaultdict(list)
    for answer in verdicts:
        if candidates.by_name[answer.clip].teacher == teacher:
            rows[answer.request].append((answer.value == "keep", 1))
    kept, count = _sum(rows, 2)
    return Kept(
        teacher=teacher,
        verdicts=int(count),
        rate=_known(_share(kept, count)),
        interval=bootstrap(rows, lambda row: _share(row[0], row[1]), seed),
    )


def _duel(
    candidates: Candidates,
    teacher: str,
    others: set[str],
    against: str,
    preferences: Sequence[Answer],
    seed: int,
) -> Duel:
    rows: dict[int, list[tuple[int, int, int]]] = defaultdict(list)
    for answer in preferences:
        sides = [candidates.by_name[name].teacher for name in (answer.clip, answer.other)]
        if teacher in sides and others & set(sides):
            mine = ("clip", "other")[sides.index(teacher)]
            tie = answer.value == "tie"
            won = answer.value == mine
            rows[answer.request].append((won, not won and not tie, tie))
    wins, losses, ties = _sum(rows, 3)
    return Duel(
        teacher=teacher,
        against=against,
        wins=int(wins),
        losses=int(losses),
        ties=int(ties),
        win_rate=_known(_share(wins + ties / 2, wins + losses + ties)),
        win_interval=bootstrap(rows, lambda row: _share(row[0] + row[2] / 2, row.sum()), seed),
        net_win=_known(_share(wins - losses, wins + losses + ties)),
        net_interval=bootstrap(rows, lambda row: _share(row[0] - row[1], row.sum()), seed),
    )


def _sum(rows: Mapping[int, Sequence[Sequence[int]]], width: int) -> Any:
    """All rows as one; zeros if there are none."""
    return np.array([row for some in rows.values() for row in some] or [[0] * width]).sum(0)


def _share(part: Any, whole: Any) -> float:
    return float(part / whole) if whole else NOT_DEFINED


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value


def _noise(said: Sequence[Answer]) -> tuple[Noise, ...]:
    """First and second answers to the same question, person by person."""
    first = {(row.annotator, row.clip, row.other): row for row in said if not row.turn}
    twice: dict[str, list[tuple[Answer, Answer]]] = defaultdict(list)
    for again in said:
        before = first.get((again.annotator, again.clip, again.other))
        if again.turn and before:
            twice[again.annotator].append((before, again))
    return tuple(_noise_of(name, twice[name]) for name in sorted(twice))


def _noise_of(annotator: str, pairs: Sequence[tuple[Answer, Answer]]) -> Noise:
    score = {"clip": 1, "tie": 0, "other": -1}
    verdicts = [(a.value, b.value) for a, b in pairs if a.kind == VERDICT]
    preferences = [(score[a.value], score[b.value]) for a, b in pairs if a.kind == PREFERENCE]
    squares = [(a - b) ** 2 for a, b in preferences]
    return Noise(
        annotator=annotator,
        verdicts=len(verdicts),
        verdicts_changed=sum(a != b for a, b in verdicts),
        preferences=len(preferences),
        preferences_changed=sum(a != b for a, b in preferences),
        sigma=math.sqrt(sum(squares) / len(squares) / 2) if squares else None,
    )


def _reasons(candidates: Candidates, preferences: Sequence[Answer]) -> dict[str, dict[str, int]]:
    """What a teacher wins by and loses by: +1 and -1 for each reason of each preference."""
    net: dict[str, Counter[str]] = {name: Counter() for name in candidates.teachers}
    for answer in preferences:
        if answer.value != "tie":
            sides = (answer.clip, answer.other)
            won, lost = sides if answer.value == "clip" else sides[::-1]
            net[candidates.by_name[won].teacher].update(answer.reasons)
            net[candidates.by_name[lost].teacher].subtract(answer.reasons)
    return {name: dict(sorted(counts.items())) for name, counts in net.items()}
