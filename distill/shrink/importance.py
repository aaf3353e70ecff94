"""A network and some lessons -> how much each block changes what passes through it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from minuet.contracts.errors import RequestError
from minuet.distill.path import generator, noised, standard
from minuet.distill.predict import Composed, Lesson
from minuet.distill.shrink.watch import Asked, watched
from minuet.models.denoiser import Denoiser, rebuilt
from minuet.models.structure import removable


@torch.no_grad()
def importances(
    network: nn.Module,
    lessons: Iterable[Lesson],
    levels: Sequence[float],
    seed: int = 0,
    asked: Asked = Composed,
) -> dict[str, float]:
    """1 - cos(in, out) of each residual block, the mean over lessons and noise levels.

    Men et al. 2024 (arXiv 2403.03853) call it influence; Neodragon (arXiv 2511.06055) removes the
    least of it, since what a block hardly turns, the next one hardly misses.

    Raises:
        ValueError: no lessons, or no levels.
    """
    changes: dict[str, list[float]] = {name: [] for name in removable(network)}
    for at, lesson in enumerate(lessons):
        for step, level in enumerate(levels):
            noise = standard(lesson.x0, generator(seed, at, step))
            t_B = lesson.x0.new_full((len(lesson.x0),), level)
            with watched(network, changes) as seen:
                asked(network)(noised(lesson.x0, noise, t_B), t_B, lesson.condition)
            for name, calls in seen.items():
                changes[name] += [_change(before, after) for before, after in calls]
    if not any(changes.values()):
        raise ValueError("importance is a mean over lessons and levels; none were given")
    return {name: sum(found) / len(found) for name, found in changes.items() if found}


def _change(before: Tensor, after: Tensor) -> float:
    cosines_B = F.cosine_similarity(before.flatten(1).float(), after.flatten(1).float())
    return 1 - float(cosines_B.mean())


def least(scores: Mapping[str, float], count: int) -> tuple[str, ...]:
    """The least important blocks, none of them within another.

    Raises:
        RequestError: there are not so many.
    """
    chosen: list[str] = []
    for name in sorted(scores, key=lambda name: (scores[name], name)):
        if len(chosen) < count and not any(_nested(name, other) for other in chosen):
            chosen.append(name)
    if len(chosen) < count:
        raise RequestError(f"{count} blocks are to be removed, and {len(chosen)} can be.")
    return tuple(chosen)


def _nested(name: str, other: str) -> bool:
    return f"{name}.".startswith(f"{other}.") or f"{other}.".startswith(f"{name}.")


def cut(network: Denoiser, names: Sequence[str]) -> Denoiser:
    """The network without these blocks; the given one is left as it was."""
    config = network.config
    widths = {n: w for n, w in config.widths.items() if not any(_nested(n, o) for o in names)}
    return rebuilt(network, replace(config, widths=widths, removed=(*config.removed, *names)))
