"""A recipe -> its acts in order, each with the arithmetic that it costs."""

import functools
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from minuet.checks import stages
from minuet.contracts.recipe import Factorized, Recipe, Stage, Steps

BACKWARD = 3  # a training step costs about three forward passes: one forward, two backward


@dataclass(frozen=True, slots=True, kw_only=True)
class Act:
    """One stage of a recipe."""

    stage: str
    network: str
    clips: int  # seen in training, drawn, or made
    teraflop: float  # 0: drawn, not computed
    what: str


def trainings(recipe: Recipe) -> Iterator[tuple[str, Stage]]:
    """Every training of a recipe, in order; the later ones as if on the whole student."""
    yield from ((name, stage) for name, _, stage in stages(recipe))
    later = {
        "shrunk": recipe.shrink,
        "factorized": recipe.factorized,
        "steps": recipe.steps,
        "tuned": recipe.tune,
    }
    for name, asked in later.items():
        if asked is not None:
            yield name, Stage(size=recipe.student.size, clips=asked.clips, batch=asked.batch)


def acts_of(recipe: Recipe) -> list[Act]:
    """The stages of a recipe in order."""
    drawn = Act(
        stage="world", network="", clips=recipe.clips, teraflop=0.0, what="stickers are drawn"
    )
    base = [_training("base", recipe.base, "learns the world")] if recipe.base else []
    teachers = [
        _training(f"teachers/{name}", stage, "a teacher finds its taste")
        for name, stage in recipe.teachers.items()
    ]
    drafts = [
        _training(f"drafts/{name}", stage, "the student begins")
        for name, stage in recipe.drafts.items()
    ]
    return [
        drawn,
        *base,
        *teachers,
        _asking(recipe),
        *drafts,
        _training("student", recipe.student, "learns the world"),
        *_later(recipe),
    ]


def _later(recipe: Recipe) -> Iterator[Act]:
    """What becomes of a student that knows the world; teachers who are asked count."""
    named = dict(trainings(recipe))
    if recipe.shrink is not None:
        yield _training("shrunk", named["shrunk"], "loses blocks or channels, and recovers")
    if recipe.factorized is not None:
        heard = _training("factorized", named["factorized"], "hears every teacher's score")
        steps, voices = recipe.factorized.steps, _voices(recipe, recipe.factorized)
        yield replace(heard, teraflop=steps * heard.teraflop + voices)
    few = len(recipe.steps.levels) - 1
    source = "the kept clips" if recipe.steps.method == "kept" else "teachers"
    what = f"learns from {source}, in {few} step{'s' * (few > 1)} of one pass"
    learns = _training("steps", named["steps"], what)
    yield replace(learns, teraflop=learns.teraflop + _asked(recipe, recipe.steps))
    if recipe.tune is not None:
        yield _training("tuned", named["tuned"], "a little more, while it stays general")


def _voices(recipe: Recipe, asked: Factorized) -> float:
    """TFLOP of the teachers: a guided answer a clip each, and a sample for each critic."""
    ensemble, total = recipe.ensemble, 0.0
    for part in asked.parts.values():
        samples = asked.critics * ensemble.steps if part.critic else 0.0
        step = forward(recipe.teachers[part.teacher].size)["step"]
        total += asked.clips * 2 * (1 + samples) * step
    return total / 1e12


def _asked(recipe: Recipe, steps: Steps) -> float:
    """TFLOP of the teacher: guided answers a clip, by method."""
    if steps.method == "kept":
        return 0.0
    few = len(steps.levels) - 1
    answers = {
        "reflow": steps.teacher_steps / 2,
        "progressive": max(2, steps.teacher_steps // few),
        "backward": steps.teacher_steps / 4,  # from the middle, in the mean
    }
    first = steps.teacher or next(iter(recipe.teachers))
    step = forward(recipe.teachers[first].size)["step"]
    return steps.clips * 2 * answers.get(steps.method, 1.0) * step / 1e12


def _training(name: str, stage: Stage, what: str) -> Act:
    from minuet.distill.study import BATCH

    cost = forward(stage.size)
    stills = stage.study * BATCH * cost["encode"]
    flop = stage.clips * (cost["step"] + cost["encode"]) + stills
    teraflop = BACKWARD * flop / 1e12
    return Act(stage=name, network=stage.size, clips=stage.clips, teraflop=teraflop, what=what)


def _asking(recipe: Recipe) -> Act:
    """Every teacher animates every sticker; the judge keeps the best."""
    ensemble = recipe.ensemble
    passes = 1 if ensemble.guidance == 1 else 2
    flop = sum(
        ensemble.stickers * passes * (ensemble.steps * cost["step"] + cost["encode"])
        for cost in (forward(stage.size) for stage in recipe.teachers.values())
    )
    return Act(
        stage="kept",
        network="",
        clips=ensemble.stickers * len(recipe.teachers),
        teraflop=flop / 1e12,
        what="every teacher animates every sticker; the judge keeps the best",
    )


@functools.cache
def forward(size: str) -> dict[str, float]:
    """FLOP of one forward pass for one clip: reading the sticker, and a step.

    Counted on the meta device, which computes nothing.
    """
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from minuet.models.config import SIZES
    from minuet.models.denoiser import Denoiser

    config = SIZES[size]
    found: dict[str, Any] = {}
    with torch.device("meta"):
        network = Denoiser(config)
        sticker = torch.zeros(1, config.channels, config.side, config.side)
        tokens = torch.zeros(1, config.tokens, dtype=torch.int32)
        noisy = torch.zeros(1, config.frames, config.channels, config.side, config.side)
        with FlopCounterMode(display=False) as counter:
            context = network.encode(sticker, tokens)
        found["encode"] = float(counter.get_total_flops())
        with FlopCounterMode(display=False) as counter:
            film = network.conditioning(torch.ones(1), context)
            network.features(noisy, film, sticker, context)
        found["step"] = float(counter.get_total_flops())
    return found
