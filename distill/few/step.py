"""A student's step -> where it begins, who opposes it there, how far from the mark it lands."""

# Shapes: B clips, then any.

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from minuet.distill.losses import LOWEST_LEVEL
from minuet.distill.path import standard
from minuet.distill.predict import Condition, Predictor
from minuet.distill.rollout import descend, shared


def arrived(
    network: Predictor,
    like: Tensor,
    levels: Sequence[float],
    condition: Condition,
    rng: torch.Generator,
    *,
    renoise: bool,
) -> tuple[Tensor, Tensor, int]:
    """The student's own noisy clips before one of its steps, their level (B,), the step.

    Backward simulation (DMD2, arXiv 2405.14867, sec. 4.5; Imagine Flash, arXiv 2405.05224): from
    noise, not from data, so that training sees what sampling will. A batch shares its step.
    """
    step = int(torch.randint(len(levels) - 1, (1,), generator=rng))
    way = shared(levels[: step + 1], like)
    fresh = rng if renoise else None
    with torch.no_grad():
        z = descend(network, standard(like, rng), way, condition, fresh)
    return z, way[-1], step


def of_step(networks: nn.ModuleDict, step: int) -> dict[str, nn.Module]:
    """Rivals of a student's step by name: "critic@2" is of step 2 alone, "critic" of every one.

    Rivals of all steps see one mixture of them, and steps may share its modes out: of a mixture
    of four in the plane, two were left at the last of two steps (measured).
    """
    parts = [(name.partition("@"), network) for name, network in networks.items()]
    return {kind: network for (kind, _, at), network in parts if at in ("", str(step))}


def apart(x: Tensor, target: Tensor, t_B: Tensor) -> Tensor:
    """Squared distance of clean estimates, 1 / max(t, 1/2)^2: losses.clip_loss for any rank."""
    squared_B = (x - target).square().flatten(1).mean(1)
    return (squared_B / t_B.clamp(min=LOWEST_LEVEL).square()).mean()
