"""A recipe -> what each training asks of memory; memory.py says what that is on a device."""

from collections.abc import Iterator
from dataclasses import replace
from functools import cache

import torch

from minuet.acts import trainings
from minuet.contracts.recipe import Recipe, Stage
from minuet.memory import FLOAT, Load
from minuet.methods import critic_of
from minuet.models.config import SIZES
from minuet.models.denoiser import Denoiser
from minuet.trial import size_of


def loads_of(
    recipe: Recipe, teacher: float = 0, rivals: float = 0, teacher_bytes: int = FLOAT
) -> Iterator[tuple[str, Load]]:
    """Every training's load; those that ask the same are named together.

    Args:
        teacher: parameters of what is asked besides the recipe's own teachers.
        rivals: parameters of what learns against the student besides the recipe's own.
        teacher_bytes: of a teacher's parameter.
    """
    same: dict[Load, list[str]] = {}
    for name, stage in trainings(recipe):
        if stage.clips:
            load = load_of(recipe, name, stage)
            load = replace(
                load,
                teachers=load.teachers + teacher,
                rivals=load.rivals + rivals,
                teacher_bytes=teacher_bytes,
            )
            same.setdefault(load, []).append(name)
    for load, names in same.items():
        yield ", ".join(names), load


def load_of(recipe: Recipe, name: str, stage: Stage) -> Load:
    """One training with the company that its stage keeps."""
    needs = size_of(stage.size)
    kept = needs.recomputed_bytes if stage.recompute else needs.clip_bytes
    steps = recipe.factorized.steps if name == "factorized" and recipe.factorized else 1
    return Load(
        student=needs.parameters,
        together=needs.together,
        clip_bytes=kept * steps,  # gradients pass through every step of the rollout
        batch=stage.batch,
        teachers=_teachers(recipe, name, stage),
        rivals=_rivals(recipe, name),
    )


def _teachers(recipe: Recipe, name: str, stage: Stage) -> float:
    """Parameters that answer and do not learn."""
    if name == "shrunk":
        return size_of(stage.size).parameters  # the uncut network
    asks = name == "factorized" or (name == "steps" and recipe.steps.method != "kept")
    every = [size_of(one.size).parameters for one in recipe.teachers.values()]
    return float(sum(every)) if asks else 0.0


def _rivals(recipe: Recipe, name: str) -> float:
    """Parameters that learn against the student."""
    if name == "factorized" and recipe.factorized:
        heard = [part.teacher for part in recipe.factorized.parts.values() if part.critic]
        return float(sum(critic(recipe.teachers[one].size, temporal=True) for one in heard))
    if name != "steps" or recipe.steps.method not in ("matching", "adversarial"):
        return 0.0
    size = recipe.teachers[recipe.steps.teacher or next(iter(recipe.teachers))].size
    if recipe.steps.method == "matching":
        return float(size_of(size).parameters)
    return float(critic(size, temporal=False) + critic(size, temporal=True))


@cache
def critic(size: str, *, temporal: bool) -> int:
    """Parameters of a critic that sees with a network of this size."""
    with torch.device("meta"):
        heads = critic_of(Denoiser(SIZES[size]), temporal=temporal)
    return sum(one.numel() for one in heads.parameters())
