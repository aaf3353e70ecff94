"""Teachers to student, stage by stage: a recipe and a folder -> a student folder.

Each stage leaves its result in the run's folder and is skipped when it is there, so an
interrupted run goes on where it was:

    world/  base/  teachers/<name>/  kept/  drafts/<name>/  student/  steps/
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from minuet import shipped, worlds
from minuet.contracts.errors import DamagedError, RequestError
from minuet.contracts.files import contained, make_folder, read_json, write_json
from minuet.contracts.recipe import Recipe, Stage, Taste
from minuet.distill.augment import Augment
from minuet.distill.batch import Batch
from minuet.distill.curate import Judge, Verdict, best, judged, scored
from minuet.distill.ensemble import Candidate, Request, candidates, shrunk
from minuet.distill.loop import Progress, TrainConfig, Trainer
from minuet.distill.losses import Weights
from minuet.distill.objectives import FlowMatching
from minuet.distill.path import generator, levels
from minuet.distill.rehearse import rehearse
from minuet.distill.steps import StepDistillation
from minuet.distill.store import ClipStore, write_shard
from minuet.distill.study import study
from minuet.distill.teacher import NetworkTeacher
from minuet.models.denoiser import SIZES, Denoiser
from minuet.models.student import Sampler, Student, load_student, save_student
from minuet.stickers import captions, world

SHIPPED = "shipped:"  # begins the name of weights that come with the package
ASK_SEED = 1_000  # requests to the teachers are drawn from another seed than their lessons
CHUNK = 12  # requests animated together

Tell = Callable[[str, int, int, str], None]  # stage, done, total, note


@dataclass(slots=True)
class _Bar:
    """What is told of a training: its steps one by one, and how it does now and then."""

    tell: Tell
    name: str
    steps: int
    note: str = ""

    def report(self, progress: Progress) -> None:
        losses = progress.losses
        speed = f"{progress.clips_per_second:.1f} clips/s"
        self.note = f"loss {losses['loss']:.3f}, flow {losses['flow']:.3f}, {speed}"

    def tick(self, step: int) -> None:
        self.tell(self.name, step, self.steps, self.note)


class Pipeline:
    """One recipe run in one folder."""

    def __init__(self, recipe: Recipe, folder: Path, judge: Judge, tell: Tell) -> None:
        self.recipe, self.folder, self.judge, self.tell = recipe, folder, judge, tell
        check_stages(recipe)
        make_folder(folder)
        self._same_recipe()

    def _same_recipe(self) -> None:
        """A folder holds one recipe's run; another recipe needs another folder."""
        path, asked = self.folder / "recipe.json", asdict(self.recipe)
        if path.exists() and read_json(path) != _plain(asked):
            raise RequestError(
                f"{self.folder}: holds a run of another recipe; choose another folder, "
                "or remove it to begin again."
            )
        write_json(path, _plain(asked))

    def run(self) -> Path:
        """Every stage; returns the student's folder."""
        self.render()
        if self.recipe.base is not None:
            self.train("base", self.recipe.base)
        for name, stage in self.recipe.teachers.items():
            self.train(f"teachers/{name}", stage)
        self.curate(self.ask())
        for name, stage in self.recipe.drafts.items():
            self.train(f"drafts/{name}", stage)
        self.train("student", self.recipe.student)
        return self.distil()

    # --- the world -------------------------------------------------------------------------

    def render(self) -> None:
        """Lessons: clips of the world with their truth."""
        clips = self.recipe.clips
        for done in worlds.fill_store(self.folder / "world", clips, self.recipe.seed):
            self.tell("render the world", done, clips, "clips")

    def lessons(self) -> ClipStore:
        """The rendered clips."""
        return ClipStore(self.folder / "world", self.recipe.clips)

    # --- training --------------------------------------------------------------------------

    def train(self, name: str, stage: Stage) -> Path:
        """Flow matching on the world, to a stage's taste; returns the stage's student folder."""
        folder = self.folder / name
        if (folder / "model" / "model.json").exists():
            return folder / "model"
        network = self.initial(stage, name)
        store, mirror = self.lessons(), worlds.mirror()
        objective = FlowMatching(
            augment=_augment(stage.taste),
            mirror=mirror,
            weights=_weights(stage.taste, name),
            levels=stage.levels,
        )
        config = self._config(stage, name)
        fresh = not (folder / "checkpoint.safetensors").exists()
        if fresh:
            self._prepare(network, store, stage, name)
        trainer = Trainer(network, config, folder)
        if fresh:
            trainer.save()  # what was prepared is not prepared again
        else:
            trainer.resume()
        odds, bar = self.odds(stage.taste), _Bar(self.tell, f"train {name}", config.steps)
        trainer.run(
            objective,
            lambda size, rng: store.draw(size, rng, odds, stage.taste.wordings),
            bar.report,
            bar.tick,
        )
        ensemble = self.recipe.ensemble
        sampler = Sampler(
            levels=tuple(levels(ensemble.steps, ensemble.shift)), guidance=ensemble.guidance
        )
        self._save(trainer.average, sampler, folder / "model", name)
        return folder / "model"

    def _prepare(self, network: Denoiser, store: ClipStore, stage: Stage, name: str) -> None:
        """What labels alone teach in minutes: words their motions, stickers at rest their parts."""
        seed = self._config(stage, name).seed
        if stage.rehearsal:

            def rehearsed(step: int, error: float) -> None:
                note = f"words and motions, without pictures: error {error:.4f}"
                self.tell(f"rehearse {name}", step, stage.rehearsal, note)

            rehearse(network, store, stage.rehearsal, seed, stage.taste.wordings, rehearsed)
        if stage.study:
            augment, mirror = _augment(stage.taste), worlds.mirror()

            def studied(step: int, losses: dict[str, float]) -> None:
                note = ", ".join(f"{key} {value:.3f}" for key, value in losses.items())
                self.tell(f"study {name}", step, stage.study, note)

            study(network, store, stage.study, seed, augment, mirror, studied)

    def initial(self, stage: Stage, name: str) -> Denoiser:
        """A network to begin from: new, an earlier stage's, or a student's on disk."""
        torch.manual_seed(int(generator(self.recipe.seed, *name.encode()).initial_seed() % 2**31))
        network = Denoiser(SIZES[stage.size])
        if stage.init:
            inner = self.folder / stage.init / "model"
            given = load_student(inner if inner.exists() else start(stage.init))
            network.load_state_dict(given.network.state_dict())
        return network

    def odds(self, taste: Taste) -> torch.Tensor:
        """How often each lesson is drawn."""
        specs = (world.sample(self.recipe.seed, index) for index in range(self.recipe.clips))
        return torch.tensor([_odds(spec, taste) for spec in specs])

    def _config(self, stage: Stage, name: str) -> TrainConfig:
        return TrainConfig(
            clips=stage.clips,
            batch=stage.batch,
            learning_rate=stage.learning_rate,
            warmup_clips=stage.warmup_clips,
            seed=int(generator(self.recipe.seed, *name.encode()).initial_seed() % 2**31),
        )

    def _save(self, network: Any, sampler: Sampler, folder: Path, name: str) -> None:
        card = f"# {name}\n\nTrained by recipe `{self.recipe.name}`, seed {self.recipe.seed}.\n"
        student = Student(
            network=network, sampler=sampler, tokenizer=captions.tokenizer_json(), card=card
        )
        save_student(student, folder)

    # --- the ensemble ----------------------------------------------------------------------

    def teachers(self) -> list[NetworkTeacher]:
        """The trained teachers, each with its sampler."""
        found = []
        for name in self.recipe.teachers:
            teacher = load_student(self.folder / "teachers" / name / "model")
            found.append(
                NetworkTeacher(
                    name=name,
                    network=teacher.network,
                    levels=teacher.sampler.levels,
                    guidance=teacher.sampler.guidance,
                )
            )
        return found

    def requests(self, numbers: Sequence[int]) -> list[Request]:
        """Stickers and captions that no teacher was taught with."""
        return [request_for(self.recipe.seed + ASK_SEED, number) for number in numbers]

    def ask(self) -> Iterator[Candidate]:
        """Every teacher's candidates, chunk by chunk."""
        count = self.recipe.ensemble.stickers
        if (self.folder / "kept" / "summary.json").exists():
            return
        teachers = self.teachers()
        for first in range(0, count, CHUNK):
            chunk = self.requests(range(first, min(first + CHUNK, count)))
            yield from candidates(teachers, chunk, self.recipe.seed)
            self.tell("teachers animate", min(first + CHUNK, count), count, "stickers")

    def curate(self, answers: Iterator[Candidate]) -> None:
        """Keep the best candidate of each request, if any is good enough."""
        folder = self.folder / "kept"
        if (folder / "summary.json").exists():
            return
        verdicts = judged(list(answers), self.judge, self.recipe.curate)
        kept = best(verdicts)
        if not kept:
            raise RequestError("the judge kept no candidate; train the teachers for longer.")
        clips = [scored(verdict).clip for verdict in kept]
        write_shard(folder / "clips-00000.safetensors", clips, {"seed": self.recipe.seed})
        write_json(folder / "summary.json", summary(verdicts, kept))
        self.tell("curate", len(kept), self.recipe.ensemble.stickers, "clips kept")

    # --- the student -----------------------------------------------------------------------

    def distil(self) -> Path:
        """Fewer steps, one pass a step, from the kept clips; returns the student's folder."""
        folder, steps = self.folder / "steps", self.recipe.steps
        if (folder / "model" / "model.json").exists():
            return folder / "model"
        network = load_student(self.folder / "student" / "model").network
        network.train().requires_grad_(True)
        count = read_summary(self.folder)["kept"]
        kept, lessons = ClipStore(self.folder / "kept", count), self.lessons()

        def draw(size: int, rng: torch.Generator) -> Batch:
            if float(torch.rand(1, generator=rng)) < steps.world_share:
                return lessons.draw(size, rng, wordings=self.recipe.student.taste.wordings)
            return kept.draw(size, rng)

        objective = StepDistillation(
            levels=steps.levels,
            seed=self.recipe.seed,
            augment=replace(_augment(self.recipe.student.taste), forget=0.0),
            mirror=worlds.mirror(),
            weights=Weights(),
        )
        config = TrainConfig(
            clips=steps.clips,
            batch=steps.batch,
            learning_rate=steps.learning_rate,
            seed=self.recipe.seed,
        )
        trainer = Trainer(network, config, folder)
        trainer.resume()
        bar = _Bar(self.tell, "train steps", config.steps)
        trainer.run(objective, draw, bar.report, bar.tick)
        sampler = Sampler(levels=steps.levels, folded=self.recipe.ensemble.guidance)
        self._save(trainer.average, sampler, folder / "model", "student")
        return folder / "model"


def check_stages(recipe: Recipe) -> None:
    """Refuse at once what a later stage would only stumble over after hours.

    Raises:
        RequestError: a size, a loss or a start that there is not, or a start of another size.
    """
    teachers = {f"teachers/{name}": stage for name, stage in recipe.teachers.items()}
    drafts = {f"drafts/{name}": stage for name, stage in recipe.drafts.items()}
    every = {"base": recipe.base} | teachers | drafts | {"student": recipe.student}
    stages = {name: stage for name, stage in every.items() if stage is not None}
    sizes: dict[str, str] = {}
    for name, stage in stages.items():
        if stage.size not in SIZES:
            raise RequestError(f"{name}: size {stage.size!r} is not one of {sorted(SIZES)}.")
        if stage.study and not SIZES[stage.size].puppet:
            raise RequestError(
                f"{name}: size {stage.size!r} finds no parts to study; leave `study` out."
            )
        _weights(stage.taste, name)
        if stage.init:
            _check_start(name, stage, sizes)
        sizes[name] = stage.size


def _check_start(name: str, stage: Stage, sizes: Mapping[str, str]) -> None:
    """A start is an earlier stage or a student's folder, and of the stage's own size."""
    if stage.init in sizes:
        same = sizes[stage.init] == stage.size
    elif (place := start(stage.init)).is_dir():
        same = load_student(place).network.config == SIZES[stage.size]
    else:
        raise RequestError(
            f"{name}: init {stage.init!r} is neither an earlier stage nor a student's folder."
        )
    if not same:
        raise RequestError(f"{name}: {stage.init} is not of size {stage.size!r}.")


def start(init: str) -> Path:
    """Where the weights lie that a stage begins with, if no earlier stage makes them."""
    if init.startswith(SHIPPED):
        return contained(shipped.folder(), init.removeprefix(SHIPPED))
    return Path(init)


def read_summary(folder: Path) -> dict[str, Any]:
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


def _augment(taste: Taste) -> Augment:
    low, high = taste.scale
    return Augment(recolour=taste.recolour, scale=(low, high), forget=taste.forget)


def _weights(taste: Taste, name: str) -> Weights:
    """The usual weights with a taste's own in their place."""
    known = {field.name for field in fields(Weights)}
    if unknown := sorted(set(taste.weights) - known):
        raise RequestError(f"{name}: no loss is called {unknown}; known: {sorted(known)}.")
    return replace(Weights(), **taste.weights)


def _odds(spec: world.Spec, taste: Taste) -> float:
    """A lesson's weight by taste."""
    odds = 1.0
    odds *= taste.big if spec.amplitude > 1 else 1.0
    odds *= taste.gentle if spec.amplitude < 1 else 1.0
    odds *= taste.things if spec.character == "thing" else 1.0
    odds *= taste.dressed if spec.accessory != "none" else 1.0
    return odds


def _plain(value: Any) -> Any:
    """Tuples become lists, as JSON will have them."""
    if isinstance(value, Mapping):
        return {name: _plain(row) for name, row in value.items()}
    return [_plain(row) for row in value] if isinstance(value, list | tuple) else value
