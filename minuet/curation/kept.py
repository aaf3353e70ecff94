"""People's answers -> the kept set that a student learns from, in the place of the judge's own."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from minuet.contracts.errors import RequestError
from minuet.contracts.files import write_folder, write_json
from minuet.curation.answers import VERDICT, Answer, standing
from minuet.curation.candidates import Candidates, Clip

DROP, JUDGE = "drop", "judge"
UNSEEN = (DROP, JUDGE)  # what becomes of requests that nobody looked at


@dataclass(slots=True)
class Votes:
    """What people said of one clip, each person once."""

    keeps: int = 0
    rejects: int = 0
    net_wins: int = 0  # against the request's other clips

    @property
    def kept(self) -> bool:
        """By majority; a tie of votes is broken by preference."""
        return self.keeps > self.rejects or (0 < self.keeps == self.rejects and self.net_wins > 0)

    @property
    def share(self) -> float:
        """Keeps, of all votes."""
        return self.keeps / max(self.keeps + self.rejects, 1)


def chosen(candidates: Candidates, answers: Iterable[Answer], unseen: str = DROP) -> list[Clip]:
    """Of each request the clip that people like best among those they keep; at most one.

    The clips of a request share their noise: a student that is taught two for one noise learns
    their mean. Among kept clips the larger share of keeps decides, then preference, then the judge.
    """
    votes = count(answers)
    seen = {
        candidates.by_name[name].request for name, row in votes.items() if row.keeps + row.rejects
    }
    found = []
    for number, clips in candidates.by_request.items():
        if number in seen:
            liked = [clip for clip in clips if clip.clip in votes and votes[clip.clip].kept]
            found += sorted(liked, key=lambda clip: _worth(clip, votes[clip.clip]))[-1:]
        elif unseen == JUDGE:
            fit = [clip for clip in clips if not clip.refused]
            found += sorted(fit, key=lambda clip: (clip.merit, clip.clip))[-1:]
    return found


def _worth(clip: Clip, votes: Votes) -> tuple[float, int, float, str]:
    return votes.share, votes.net_wins, clip.merit, clip.clip


def count(answers: Iterable[Answer]) -> dict[str, Votes]:
    """Votes by clip; of a person who looked twice the second look counts."""
    last: dict[tuple[str, str, str], Answer] = {}
    for answer in sorted(standing(answers), key=lambda answer: answer.turn):
        last[answer.annotator, answer.clip, answer.other] = answer
    votes: dict[str, Votes] = defaultdict(Votes)
    for answer in last.values():
        if answer.kind == VERDICT:
            votes[answer.clip].keeps += answer.value == "keep"
            votes[answer.clip].rejects += answer.value == "reject"
        elif answer.value != "tie":
            step = 1 if answer.value == "clip" else -1
            votes[answer.clip].net_wins += step
            votes[answer.other].net_wins -= step
    return votes


def apply(
    run: Path, candidates: Candidates, answers: Sequence[Answer], unseen: str = DROP
) -> tuple[dict[str, Any], Path | None]:
    """Write RUN/kept; a kept set that is there is moved aside under a number.

    Returns:
        The summary, and where the earlier set went; None: there was none, or the same.

    Raises:
        RequestError: people keep nothing.
    """
    from minuet.distill.store import SHARD, shard_path, write_shard

    clips = chosen(candidates, answers, unseen)
    if not clips:
        raise RequestError(
            f"{run}: nobody keeps any of {len(candidates.clips)} candidates yet; "
            f"look at some first: minuet curate {run}"
        )
    told = summary(candidates, clips, answers, unseen)
    folder, aside = run / "kept", None
    with write_folder(folder) as staging:
        for number, first in enumerate(range(0, len(clips), SHARD)):
            some = (candidates.known(clip.clip) for clip in clips[first : first + SHARD])
            write_shard(shard_path(staging, number), some, {"by": "people"})
        write_json(staging / "summary.json", told)
        if folder.exists() and not _same(folder, staging):
            aside = _free(folder)
            folder.rename(aside)
    return dict(told), aside


def summary(
    candidates: Candidates, kept: Sequence[Clip], answers: Sequence[Answer], unseen: str
) -> Mapping[str, Any]:
    """What people did, in numbers, as the automatic judge's summary and a little more."""
    votes = count(answers)
    looked = [clip for clip in candidates.clips if votes.get(clip.clip, Votes()) != Votes()]
    scores = [clip.scores["agreement"] for clip in candidates.clips if "agreement" in clip.scores]
    return {
        "candidates": len(candidates.clips),
        "kept": len(kept),
        "kept_by_teacher": {
            name: sum(clip.teacher == name for clip in kept) for name in candidates.teachers
        },
        "refused": {"people": sum(not votes[clip.clip].kept for clip in looked)},
        "agreement": sum(scores) / len(scores) if scores else 0.0,
        "by": "people",
        "annotators": len({answer.annotator for answer in answers}),
        "seen": len({clip.request for clip in looked}),
        "unseen": unseen,
    }


def _same(one: Path, other: Path) -> bool:
    """Whether two folders hold the same files."""
    names = [sorted(path.name for path in folder.iterdir()) for folder in (one, other)]
    return names[0] == names[1] and all(
        (one / name).read_bytes() == (other / name).read_bytes() for name in names[0]
    )


def _free(folder: Path) -> Path:
    """The first numbered name beside a folder that nothing has."""
    number = 1
    while (place := folder.with_name(f"{folder.name}.{number}")).exists():
        number += 1
    return place
