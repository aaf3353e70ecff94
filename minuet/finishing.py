"""A student that knows the world -> smaller, taught by scores, in few steps, tuned.

Stages of a recipe, in this order; all but the steps may be left out.
"""

import copy
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from minuet import shipped, worlds
from minuet.benchmarks.judge import load_judge
from minuet.benchmarks.quality import combined
from minuet.casting import read_summary
from minuet.contracts.recipe import Factorized, Part, Shrink, Tune
from minuet.distill import factorized
from minuet.distill.adapters import attach, merge
from minuet.distill.batch import Batch
from minuet.distill.checkpoint import begun
from minuet.distill.loop import Objective, TrainConfig, Trainer
from minuet.distill.losses import Weights
from minuet.distill.path import generator
from minuet.distill.predict import Composed
from minuet.distill.rehearse import rehearse
from minuet.distill.score import Range
from minuet.distill.shrink.extrude import by_norm
from minuet.distill.shrink.importance import cut, importances, least
from minuet.distill.shrink.recover import Recovery
from minuet.distill.steps import StepDistillation
from minuet.distill.store import ClipStore
from minuet.distill.teacher import NetworkTeacher
from minuet.distill.tune import StopRule, tune
from minuet.distill.views import Clip
from minuet.evaluation import animated, held_out, rows_of
from minuet.methods import METHODS, RIVALS_RATE, Setting, asked_teacher, critic_of
from minuet.models.denoiser import Denoiser, rebuilt
from minuet.models.student import Sampler, Student, load_student

if TYPE_CHECKING:
    from minuet.pipeline import Pipeline

ADDRESS = 77  # of the lessons by which blocks are weighed
OUTER = ("caption", "sticker", "finder", "anatomy")  # run once a clip: little to win


class Finish:
    """The stages behind the student's training, in the folder of its run."""

    def __init__(self, run: "Pipeline") -> None:
        self.run, self.recipe, self.folder = run, run.recipe, run.folder

    def __call__(self) -> Path:
        """Every one that the recipe asks for; the finished student's folder."""
        found, recipe = self.folder / "student" / "model", self.recipe
        if recipe.shrink is not None:
            found = self.stage("shrunk", found, recipe.shrink, self.shrunk)
        if recipe.factorized is not None:
            found = self.stage("factorized", found, recipe.factorized, self.factorized)
        found = self.stage("steps", found, recipe.steps, self.few_steps)
        if recipe.tune is not None:
            found = self.stage("tuned", found, recipe.tune, self.tuned)
        return found

    def stage(
        self, name: str, given: Path, asked: Any, make: Callable[[Student, Any], Student]
    ) -> Path:
        """One of them, unless it is there."""
        place = self.folder / name / "model"
        if not (place / "model.json").exists():
            student = load_student(given)
            student.network.train().requires_grad_(True)
            made = make(student, asked)
            self.run.save(made.network, made.sampler, place, "student")
        return place

    def shrunk(self, given: Student, asked: Shrink) -> Student:
        """Without some blocks and channels: the task again, then as the uncut network answers."""
        stage = self.recipe.student
        task, levels = self.run.task(stage), stage.levels or (1.0, 0.5)
        whole = copy.deepcopy(given.network).eval().requires_grad_(False).to(self.run.fleet.device)
        after = Recovery(task=task, teacher=whole, levels=stage.levels)
        network: Any = smaller(given.network, asked, self._lessons(), levels)
        for part, objective, share in (
            ("task", task, asked.first),
            ("features", after, 1 - asked.first),
        ):
            config = self._config(asked, f"shrunk/{part}", share)
            network = self._go_on(f"shrunk/{part}", network, objective, config, given.sampler)
        return replace(given, network=network)

    def factorized(self, given: Student, asked: Factorized) -> Student:
        """Scores alone first, then scores and critics (distill/factorized.py)."""
        network: Any = Composed(given.network, fast=True)
        torch.manual_seed(self.run.seed("factorized"))  # LoRA begins by chance
        if asked.rank:
            attach(network, ["*"], rank=asked.rank)
        for part, share in (("scores", 1 - asked.critics), ("critics", asked.critics)):
            objective = voiced(asked, self.run.teachers(), critics=part == "critics")
            config = self._config(asked, f"factorized/{part}", share, floor=1.0)
            network = self._go_on(f"factorized/{part}", network, objective, config, given.sampler)
        if asked.rank:
            merge(network)
        return replace(given, network=network.network)

    def few_steps(self, given: Student, asked: Any) -> Student:
        """Few steps of one pass each, from kept clips or by asking the teachers."""
        sampler = Sampler(levels=asked.levels, folded=self.recipe.ensemble.guidance)
        config = self._config(asked, "steps")
        if asked.rehearsal and not begun(self.folder / "steps"):
            self._rehearsed(given.network, asked.rehearsal)
        if asked.method == "kept":
            network = self.run.trained(
                "steps", given.network, self.ends(), config, self.draw_both, sampler
            )
            return replace(given, network=network, sampler=sampler)
        setting = self._setting(asked)
        made = self.run.trained(
            "steps",
            Composed(given.network, fast=True),
            METHODS[asked.method](setting),
            config,
            self.draw_both,
            sampler,
            setting.average,
        )
        return replace(given, network=made.network, sampler=replace(sampler, folded=asked.guidance))

    def _rehearsed(self, network: Denoiser, steps: int) -> None:
        """Words learn the motions of kept clips, from what their teachers say of them."""

        def told(step: int, error: float) -> None:
            self.run.tell("rehearse steps", step, steps, f"kept motions: error {error:.4f}")

        store = self.kept
        if (known := store.known()).any():
            rehearse(network, store, steps, self.recipe.seed, odds=known.float(), tell=told)

    def _setting(self, asked: Any) -> Setting:
        teachers = self.run.teachers(asked.guidance)
        first = asked.teacher or next(iter(teachers))
        return Setting(
            teacher=asked_teacher(teachers, first, asked.then),
            network=teachers[first].network,
            levels=asked.levels,
            teacher_steps=asked.teacher_steps,
            turns=asked.turns,
        )

    def tuned(self, given: Student, asked: Tune) -> Student:
        """A little more of the kept clips, for as long as other stickers do not suffer."""
        trainer = Trainer(given.network, self._config(asked, "tuned"), self.folder / "tuned")
        trainer.resume()
        rule = StopRule(every=asked.every, fall=asked.fall, patience=asked.patience)
        metric = generality(given, asked.stickers, self.run.seed("unseen"))
        found = tune(trainer, self.ends(), self.draw_kept, rule, metric)
        self.run.tell("tune", 1, 1, f"{len(found.looks)} looks; the best at step {found.best}")
        assert isinstance(trainer.average, Denoiser)
        return replace(given, network=trainer.average)

    def ends(self) -> StepDistillation:
        """What kept clips teach: where their teachers' trajectories ended."""
        taste, weights = self.recipe.student.taste, Weights()
        return StepDistillation(
            levels=self.recipe.steps.levels,
            seed=self.recipe.seed,
            augment=replace(self.run.augment(taste), forget=0.0),
            mirror=worlds.mirror(),
            weights=weights,
        )

    def draw_world(self, size: int, rng: torch.Generator) -> Batch:
        """Lessons of the world, in the student's wordings."""
        return self.world.draw(size, rng, wordings=self.recipe.student.taste.wordings)

    def draw_kept(self, size: int, rng: torch.Generator) -> Batch:
        """Kept clips: of one teacher's kind at a time, for only trajectories have noise."""
        store = self.kept
        paired = store.column("noise") >= 0
        if paired.any() and not paired.all():
            share = float(paired.float().mean())
            paired = paired if float(torch.rand(1, generator=rng)) < share else ~paired
            return store.draw(size, rng, paired.float())
        return store.draw(size, rng)

    def draw_both(self, size: int, rng: torch.Generator) -> Batch:
        """One or the other."""
        world = float(torch.rand(1, generator=rng)) < self.recipe.steps.world_share
        return self.draw_world(size, rng) if world else self.draw_kept(size, rng)

    def _go_on(
        self,
        name: str,
        network: nn.Module,
        objective: Objective,
        config: TrainConfig,
        sampler: Sampler,
    ) -> nn.Module:
        """Lessons of the world; the average, with what may be trained as it was.

        A copy of it, since a network that was spread over processes stays so.
        """
        trained = {name: one.requires_grad for name, one in network.named_parameters()}
        made = self.run.trained(name, network, objective, config, self.draw_world, sampler)
        found: nn.Module = copy.deepcopy(made)
        for key, one in found.named_parameters():
            one.requires_grad_(trained[key])
        return found

    @cached_property
    def world(self) -> ClipStore:
        """The rendered clips."""
        return self.run.lessons()

    @cached_property
    def kept(self) -> ClipStore:
        """The kept ones."""
        return ClipStore(self.folder / "kept", read_summary(self.folder)["kept"])

    def _lessons(self) -> list[Batch]:
        return [self.draw_world(12, generator(self.recipe.seed, ADDRESS, at)) for at in range(4)]

    def _config(
        self, asked: Any, name: str, share: float = 1.0, *, floor: float = 0.02
    ) -> TrainConfig:
        return TrainConfig(
            clips=round(asked.clips * share),
            batch=asked.batch,
            learning_rate=asked.learning_rate,
            floor=floor,
            seed=self.run.seed(name),
        )


def smaller(
    network: Denoiser, asked: Shrink, lessons: list[Batch], levels: tuple[float, ...]
) -> Denoiser:
    """A network without what a recipe has it lose; trained no further."""
    if asked.removed:
        scores = importances(network, lessons, levels)
        inner = {name: one for name, one in scores.items() if not name.startswith(OUTER)}
        network = cut(network, least(inner, asked.removed))
    kept = by_norm(network, asked.width) if asked.width < 1 else {}
    widths = {**network.config.widths, **{name: len(rows) for name, rows in kept.items()}}
    config = replace(network.config, widths=widths, halved=asked.halved or network.config.halved)
    return rebuilt(network, config, kept)


def voiced(
    asked: Factorized, teachers: Mapping[str, NetworkTeacher], *, critics: bool
) -> factorized.Factorized:
    """A recipe's parts as an objective; each teacher is shown the whole clip."""

    def critique(part: Part, teacher: NetworkTeacher) -> factorized.Critique | None:
        if not critics or not part.critic:
            return None
        critic = critic_of(teacher.network, temporal=True)
        return factorized.Critique(critic=critic, positives=teacher.sample)

    voices = {
        name: factorized.Voice(
            teacher=teachers[part.teacher].predict,
            view=Clip(names={"sticker": "sticker", "tokens": "tokens"}),
            weight=part.weight,
            levels=Range(low=part.low, high=part.high),
            critique=critique(part, teachers[part.teacher]),
        )
        for name, part in asked.parts.items()
    }
    rivals = factorized.rivals_of(voices, learning_rate=RIVALS_RATE)
    return factorized.Factorized(voices=voices, steps=asked.steps, sds=asked.sds, rivals=rivals)


def generality(student: Student, stickers: int, seed: int) -> Callable[[nn.Module], float]:
    """The mean combined score (quality.combined) on stickers of a seed of their own."""
    asked = list(held_out(stickers, seed=seed, split="train"))
    judge = load_judge(shipped.folder() / "judge").judge()

    def metric(network: nn.Module) -> float:
        assert isinstance(network, Denoiser)
        clips = animated(replace(student, network=copy.deepcopy(network).cpu()), asked)
        return float(np.mean([combined(row) for row in rows_of(clips, asked, judge)]))

    return metric
