"""Teachers and stickers -> candidates, and the set of them that a student learns from.

asked/        what each chunk of stickers brought, until all of them are there
candidates/   every teacher's clips with the judge's scores; people choose among them
kept/         the best of each sticker
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from shutil import rmtree
from typing import Any

import numpy as np

from minuet import worlds
from minuet.contracts.errors import DamagedError, Refusal, RequestError
from minuet.contracts.files import read_json, write_json
from minuet.contracts.recipe import Recipe
from minuet.curation.candidates import INDEX, write_candidates
from minuet.distill import ensemble
from minuet.distill.curate import Judge, Verdict, best, judged, scored
from minuet.distill.ensemble import Candidate, Request, shrunk
from minuet.distill.scale import Fleet, share
from minuet.distill.store import read_shard, shard_path, write_shard
from minuet.distill.teacher import Animates, Films
from minuet.stickers import captions, world

ASK_SEED = 1_000  # requests to the teachers are drawn from another seed than their lessons
CHUNK = 12  # requests animated together
Refused = Callable[[str, Request, Refusal], None]  # a teacher, what it was asked, why not
PAINTED = "painted"  # a candidate's share of paint, among the scores of its clip


@dataclass(frozen=True, slots=True, kw_only=True)
class Casting:
    """One recipe's request set in a run's folder."""

    recipe: Recipe
    folder: Path
    fleet: Fleet

    @property
    def chunks(self) -> int:
        """How many there are."""
        return -(-self.recipe.ensemble.stickers // CHUNK)

    @property
    def judged(self) -> bool:
        """Whether every teacher has answered, and the judge has seen it all."""
        people = self.recipe.curate.by == "people"
        left = people and (self.folder / "candidates" / INDEX).exists()
        return (self.kept or left) and not (self.folder / "asked").exists()

    @property
    def kept(self) -> bool:
        """Whether it is known what the student learns from."""
        return (self.folder / "kept" / "summary.json").exists()

    def requests(self, chunk: int) -> list[Request]:
        """Stickers and captions that no teacher was taught with."""
        first, count = chunk * CHUNK, self.recipe.ensemble.stickers
        numbers = range(first, min(first + CHUNK, count))
        return [request_for(self.recipe.seed + ASK_SEED, number) for number in numbers]

    def animate(
        self, teachers: Sequence[Animates | Films], refused: Refused = lambda *_: None
    ) -> Iterator[int]:
        """Every teacher's answers, each process its share of the chunks; how many are done.

        Args:
            refused: told of every film of which no sticker can be cut.
        """
        mine = share(self.chunks, self.fleet.rank, self.fleet.world)
        for done, chunk in enumerate(mine, 1):
            path = shard_path(self.folder / "asked", chunk)
            if not path.exists():
                asked, seed = self.requests(chunk), self.recipe.seed
                found = list(ensemble.candidates(teachers, asked, seed, refused=refused))
                if found:
                    write_shard(path, map(_signed, found), {"seed": self.recipe.seed})
            yield done
        self.fleet.wait()

    def judge(self, judge: Judge) -> None:
        """Every candidate with its scores, and the best of them, unless people are to choose.

        Raises:
            RequestError: none is good enough.
        """
        verdicts = judged(list(self.answers()), judge, self.recipe.curate)
        if not verdicts:
            raise RequestError(
                "no teacher made a clip that can be used: of pipelines, those whose background is "
                "not flat are refused; ask for stickers on a plain one."
            )
        write_candidates(self.folder / "candidates", verdicts, self.recipe.seed)
        if self.recipe.curate.by == "judge" and not self.kept:
            self._keep(verdicts)
        rmtree(self.folder / "asked", ignore_errors=True)

    def answers(self) -> Iterator[Candidate]:
        """What was animated, teacher by teacher within each chunk, as it was."""
        for chunk in range(self.chunks):
            path = shard_path(self.folder / "asked", chunk)
            requests = {request.number: request for request in self.requests(chunk)}
            for clip in read_shard(path) if path.exists() else ():
                scores = clip.scores or {}
                yield Candidate(
                    request=requests[int(scores["request"])],
                    teacher=clip.source,
                    clip=replace(clip, scores=None),
                    painted=scores[PAINTED],
                )

    def _keep(self, verdicts: Sequence[Verdict]) -> None:
        """The best candidate of each request, if any is good enough."""
        kept = best(verdicts)
        if not kept:
            raise RequestError("the judge kept no candidate; train the teachers for longer.")
        folder, clips = self.folder / "kept", [scored(verdict).clip for verdict in kept]
        write_shard(shard_path(folder, 0), clips, {"seed": self.recipe.seed})
        write_json(folder / "summary.json", summary(verdicts, kept))


def _signed(candidate: Candidate) -> Any:
    """A clip that remembers its request; one of a teacher of pictures has no noise to tell it."""
    scores = {PAINTED: candidate.painted, "request": float(candidate.request.number)}
    return replace(candidate.clip, scores=scores)


def request_for(seed: int, number: int, split: str = "train") -> Request:
    """The sticker and caption at an address, as a request."""
    spec = world.sample(seed, number, split)
    caption = captions.explicit(spec)
    return Request(
        sticker_CHW=shrunk(world.render_static(spec, worlds.SIDE), worlds.SIDE),
        caption=caption,
        tokens_L=captions.encode(caption),
        motion=spec.motion,
        number=number,
    )


def summary(verdicts: Sequence[Verdict], kept: Sequence[Verdict]) -> dict[str, Any]:
    """What the judge did, in numbers."""
    names = sorted({verdict.candidate.teacher for verdict in verdicts})
    reasons = sorted({verdict.refused for verdict in verdicts} - {""})
    return {
        "candidates": len(verdicts),
        "kept": len(kept),
        "kept_by_teacher": {
            name: sum(verdict.candidate.teacher == name for verdict in kept) for name in names
        },
        "refused": {
            reason: sum(verdict.refused == reason for verdict in verdicts) for reason in reasons
        },
        "agreement": float(np.mean([verdict.scores["agreement"] for verdict in verdicts])),
    }


def read_summary(folder: Path) -> Mapping[str, Any]:
    """What the judge did in a run, as `summary` counted it.

    Raises:
        DamagedError: missing, or not what was written there.
    """
    path = folder / "kept" / "summary.json"
    found = read_json(path)
    whole = isinstance(found, dict) and isinstance(found.get("kept_by_teacher"), dict)
    if not whole or not all(type(found.get(name)) is int for name in ("kept", "candidates")):
        raise DamagedError(f"{path}: damaged; remove {path.parent} and run the same command again.")
    return dict(found)
