"""Teachers to student, stage by stage: a recipe and a folder -> a student folder.

Each stage leaves its result in the run's folder and is skipped when it is there, so an
interrupted run goes on where it was:

    world/  base/  teachers/<name>/  candidates/  kept/  drafts/<name>/  student/
    shrunk/  factorized/  steps/  tuned/
"""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from minuet import worlds
from minuet.acts import trainings
from minuet.casting import Casting
from minuet.checks import check_recipe, start, weights_of
from minuet.contracts.errors import RequestError
from minuet.contracts.files import make_folder, read_json, write_json
from minuet.contracts.recipe import Recipe, Stage, Taste
from minuet.distill.augment import Augment
from minuet.distill.checkpoint import begun
from minuet.distill.curate import Judge
from minuet.distill.ensemble import candidates
from minuet.distill.loop import Draw, Objective, Progress, TrainConfig, Trainer
from minuet.distill.objectives import FlowMatching
from minuet.distill.path import generator, levels
from minuet.distill.rehearse import rehearse
from minuet.distill.scale import fleet, insist_divisible, insist_whole, least_shares, share
from minuet.distill.store import ClipStore
from minuet.distill.study import study
from minuet.distill.teacher import Films, NetworkTeacher
from minuet.finishing import Finish
from minuet.methods import Average, rivals_of
from minuet.models.config import SIZES
from minuet.models.denoiser import Denoiser
from minuet.models.student import Sampler, Student, load_student, save_student
from minuet.stickers import captions, world
from minuet.watching import Watch

Tell = Callable[[str, int, int, str], None]  # stage, done, total, note


@dataclass(slots=True)
class _Bar:
    """What is told of a training: its steps one by one, and how it does now and then."""

    tell: Tell
    name: str
    steps: int
    note: str = ""

    def report(self, progress: Progress) -> None:
        told = {name: progress.losses[name] for name in ("loss", "flow") if name in progress.losses}
        losses = ", ".join(f"{name} {value:.3f}" for name, value in told.items())
        self.note = f"{losses}, {progress.clips_per_second:.1f} clips/s"

    def tick(self, step: int) -> None:
        self.tell(self.name, step, self.steps, self.note)


class Pipeline:
    """One recipe run in one folder."""

    def __init__(
        self, recipe: Recipe, folder: Path, judge: Judge, tell: Tell, watch: Watch | None = None
    ) -> None:
        self.recipe, self.folder, self.judge, self.tell = recipe, folder, judge, tell
        self.watch, self.fleet = watch or Watch(), fleet()
        check_recipe(recipe)
        self._for_this_fleet()
        make_folder(folder)
        self._same_recipe()

    def _for_this_fleet(self) -> None:
        """Refuse now what these processes could not do when its stage begins, hours later."""
        on, recipe = self.fleet, self.recipe
        for name, stage in trainings(recipe):
            if stage.clips:
                insist_divisible(on, stage.batch, least_shares(on, stage.shares), name)
        if recipe.steps.method == "consistency":
            insist_whole(on, "consistency distillation")
        if recipe.tune is not None:
            insist_whole(on, "quality tuning")

    def _same_recipe(self) -> None:
        """A folder holds one recipe's run; another recipe needs another folder."""
        path, asked = self.folder / "recipe.json", asdict(self.recipe)
        if path.exists() and read_json(path) != _plain(asked):
            raise RequestError(
                f"{self.folder}: holds a run of another recipe; choose another folder, "
                "or remove it to begin again."
            )
        write_json(path, _plain(asked))

    def run(self) -> Path | None:
        """Every stage; the student's folder, or None while the candidates wait for people."""
        if not (self.folder / "world").exists():
            self.audition()
        with self.fleet.first():
            self.render()
        if self.recipe.base is not None:
            self.train("base", self.recipe.base)
        for name, stage in self.recipe.teachers.items():
            self.train(f"teachers/{name}", stage)
        if not self.cast():
            return None
        for name, stage in self.recipe.drafts.items():
            self.train(f"drafts/{name}", stage)
        self.train("student", self.recipe.student)
        return Finish(self)()

    def audition(self) -> None:
        """Each pipeline makes one film before anything is learnt: what it cannot do is known now.

        Raises:
            RequestError: too few frames, or a pipeline that cannot be asked.
        """
        casting = Casting(recipe=self.recipe, folder=self.folder, fleet=self.fleet)
        for film in self.lent():
            self.tell("audition", 0, 1, film.name)
            for _ in candidates([film], casting.requests(0)[:1], self.recipe.seed):
                self.tell("audition", 1, 1, film.name)

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
        store = self.lessons()
        objective = self.task(stage)
        config = self._config(stage, name)
        fresh = not begun(folder)
        if fresh:
            self._prepare(network, store, stage, name)
        trainer = Trainer(network, config, folder)
        if fresh:
            trainer.save()  # what was prepared is not prepared again
        else:
            trainer.resume()
        odds, bar = self.odds(stage.taste), _Bar(self.tell, f"train {name}", config.steps)
        ensemble = self.recipe.ensemble
        sampler = Sampler(
            levels=tuple(levels(ensemble.steps, ensemble.shift)), guidance=ensemble.guidance
        )
        self.watch.run(
            trainer,
            objective,
            lambda size, rng: store.draw(size, rng, odds, stage.taste.wordings),
            sampler,
            bar.report,
            bar.tick,
        )
        self.save(trainer.average, sampler, folder / "model", name)
        return folder / "model"

    def task(self, stage: Stage) -> FlowMatching:
        """What a stage learns of the world."""
        return FlowMatching(
            augment=self.augment(stage.taste),
            mirror=worlds.mirror(),
            weights=weights_of(stage.taste),
            levels=stage.levels,
        )

    @staticmethod
    def augment(taste: Taste) -> Augment:
        """How its lessons are varied."""
        low, high = taste.scale
        return Augment(recolour=taste.recolour, scale=(low, high), forget=taste.forget)

    def _prepare(self, network: Denoiser, store: ClipStore, stage: Stage, name: str) -> None:
        """What labels alone teach in minutes: words their motions, stickers at rest their parts."""
        seed = self._config(stage, name).seed
        if stage.rehearsal:

            def rehearsed(step: int, error: float) -> None:
                note = f"words and motions, without pictures: error {error:.4f}"
                self.tell(f"rehearse {name}", step, stage.rehearsal, note)

            taste = stage.taste
            odds = self.odds(taste) if taste.motions else None
            rehearse(network, store, stage.rehearsal, seed, taste.wordings, odds, rehearsed)
        if stage.study:
            augment, mirror = self.augment(stage.taste), worlds.mirror()

            def studied(step: int, losses: dict[str, float]) -> None:
                note = ", ".join(f"{key} {value:.3f}" for key, value in losses.items())
                self.tell(f"study {name}", step, stage.study, note)

            study(network, store, stage.study, seed, augment, mirror, studied)

    def initial(self, stage: Stage, name: str) -> Denoiser:
        """A network to begin from: new, an earlier stage's, or a student's on disk."""
        torch.manual_seed(self.seed(name))
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
            seed=self.seed(name),
            shares=stage.shares,
            recompute=stage.recompute,
        )

    def seed(self, name: str) -> int:
        """Of a stage."""
        return int(generator(self.recipe.seed, *name.encode()).initial_seed() % 2**31)

    def save(self, network: Any, sampler: Sampler, folder: Path, name: str) -> None:
        card = f"# {name}\n\nTrained by recipe `{self.recipe.name}`, seed {self.recipe.seed}.\n"
        student = Student(
            network=network, sampler=sampler, tokenizer=captions.tokenizer_json(), card=card
        )
        with self.fleet.first():
            if self.fleet.rank == 0:
                save_student(student, folder)

    # --- the ensemble ----------------------------------------------------------------------

    def teachers(self, guidance: float = 0.0) -> dict[str, NetworkTeacher]:
        """The trained teachers, each with its sampler; 0: with the guidance that it has."""
        found = {}
        for name in self.recipe.teachers:
            teacher = load_student(self.folder / "teachers" / name / "model")
            found[name] = NetworkTeacher(
                name=name,
                network=teacher.network.to(self.fleet.device),
                levels=teacher.sampler.levels,
                guidance=guidance or teacher.sampler.guidance,
            )
        return found

    def lent(self) -> list[Films]:
        """Teachers that are folders of diffusers pipelines."""
        from minuet.teaching import pipeline_teacher

        return [
            pipeline_teacher(
                name,
                Path(one.folder),
                one.arguments,
                told=one.told,
                device=str(self.fleet.device),
            )
            for name, one in self.recipe.pipelines.items()
        ]

    def cast(self) -> bool:
        """Every teacher animates every sticker, the judge sees it all; whether clips are kept."""
        casting = Casting(recipe=self.recipe, folder=self.folder, fleet=self.fleet)
        if casting.judged:
            return casting.kept
        count = len(share(casting.chunks, self.fleet.rank, self.fleet.world))
        lost: Counter[str] = Counter()
        for done in casting.animate(
            [*self.teachers().values(), *self.lent()], lambda name, *_: lost.update([name])
        ):
            left = ", ".join(f"{number} of {name}" for name, number in lost.items())
            note = f"; not to be cut from their background: {left}" if lost else ""
            self.tell("teachers animate", done, count, f"groups of stickers{note}")
        with self.fleet.first():
            if self.fleet.rank == 0:
                casting.judge(self.judge)
        self.tell("curate", 1, 1, "the judge has seen all candidates")
        return casting.kept

    # --- what every training has in common -------------------------------------------------

    def trained(
        self,
        name: str,
        network: nn.Module,
        objective: Objective,
        config: TrainConfig,
        draw: Draw,
        sampler: Sampler,
        average: Average | None = None,
    ) -> Any:
        """The average of a training in its folder, from where it was.

        Args:
            average: is told where the average is; methods that ask it need to know.
        """
        trainer = Trainer(network, config, self.folder / name, rivals_of(objective))
        trainer.resume()
        if average is not None:
            average.network = trainer.average
        bar = _Bar(self.tell, f"train {name}", config.steps)
        self.watch.run(trainer, objective, draw, sampler, bar.report, bar.tick)
        return trainer.average


def _odds(spec: world.Spec, taste: Taste) -> float:
    """A lesson's weight by taste."""
    odds = 1.0
    odds *= taste.big if spec.amplitude > 1 else 1.0
    odds *= taste.gentle if spec.amplitude < 1 else 1.0
    odds *= taste.things if spec.character == "thing" else 1.0
    odds *= taste.dressed if spec.accessory != "none" else 1.0
    return odds * taste.motions.get(spec.motion, 1.0)


def _plain(value: Any) -> Any:
    """Tuples become lists, as JSON will have them."""
    if isinstance(value, Mapping):
        return {name: _plain(row) for name, row in value.items()}
    return [_plain(row) for row in value] if isinstance(value, list | tuple) else value
