"""A mixture of Gaussians in the plane, whose teacher is a formula: what fails is the method."""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from minuet.distill.few.guidance import Folding
from minuet.distill.loop import Contest, Objective
from minuet.distill.path import generator
from minuet.distill.predict import Condition, Example, Predictor
from minuet.distill.rollout import generate

MODES = torch.tensor([[1.2, 0.0], [0.0, 1.2], [-1.2, 0.0], [0.0, -1.2]])
SHARES = torch.tensor([0.4, 0.3, 0.2, 0.1])
WIDTH = 0.15  # of each mode: its standard deviation
NEAR = 4 * WIDTH  # a sample further from every mode belongs to none
ANY = 0  # label that says nothing; mode k has label k + 1


@dataclass(frozen=True)
class Mixture:
    """The exact posterior mean; told a label, of that mode alone."""

    shares: Tensor = SHARES

    def __call__(self, z: Tensor, t_B: Tensor, condition: Condition) -> Tensor:
        t = t_B[:, None]
        variance = ((1 - t) * WIDTH) ** 2 + t**2
        offset = z[:, None] - (1 - t)[:, None] * MODES
        logits = self.shares.log() - offset.square().sum(-1) / (2 * variance)
        if "label" in condition:
            label = condition["label"][:, None]
            other = (label != ANY) & (label != torch.arange(1, len(MODES) + 1))
            logits = logits.masked_fill(other, -torch.inf)
        means = MODES + (((1 - t) * WIDTH**2) / variance)[..., None] * offset
        return (logits.softmax(1)[..., None] * means).sum(1)


class Small(nn.Module):
    """A small predictor; scales and labels are heard if they are told."""

    def __init__(self, width: int = 64, scales: int = 0) -> None:
        super().__init__()
        self.label = nn.Embedding(len(MODES) + 1, width)
        self.told = nn.Linear(scales, width) if scales else None
        self.first = nn.Linear(2 + 5, width)
        self.rest = nn.Sequential(
            nn.SiLU(), nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU()
        )
        self.last = nn.Linear(width, 2)

    def forward(self, z: Tensor, t_B: Tensor, condition: Condition) -> Tensor:
        t = t_B[:, None]
        waves = [torch.sin(torch.pi * t), torch.cos(torch.pi * t), torch.cos(2 * torch.pi * t)]
        x = self.first(torch.cat([z, t, t.sqrt(), *waves], dim=1))
        if "label" in condition:
            x = x + self.label(condition["label"])
        if self.told is not None:
            x = x + self.told(condition["scales"].log())
        out: Tensor = (1 - t) * z + self.last(self.rest(x))
        return out


class Judge(nn.Module):
    """A critic of points, as steep as the modes are narrow."""

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        sizes = (2, width, width, 1)
        layers = [spectral_norm(nn.Linear(a, b)) for a, b in pairwise(sizes)]
        self.net = nn.Sequential(layers[0], nn.SiLU(), layers[1], nn.SiLU(), layers[2])

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = 8 * self.net(x / WIDTH)
        return logits


def lesson(count: int, rng: torch.Generator, *, labels: bool = False) -> Example:
    """Points of the mixture."""
    mode = torch.multinomial(SHARES, count, replacement=True, generator=rng)
    x0 = MODES[mode] + WIDTH * torch.randn(count, 2, generator=rng)
    return Example(x0=x0, condition={"label": (mode + 1).int()} if labels else {})


def train(
    objective: Objective,
    network: nn.Module,
    steps: int,
    *,
    rate: float = 3e-3,
    labels: bool = False,
    average: nn.Module | None = None,
    batch: int = 128,
) -> nn.Module:
    """The training story in miniature: rivals' turns, one step, the average; rates fall to 0."""
    contest = objective if isinstance(objective, Contest) and objective.rivals else None
    parameters = list(network.parameters())
    mine = torch.optim.AdamW(parameters, rate, betas=(0.9, 0.98), fused=True)
    turn = _turns(contest, network) if contest else lambda draw, rng: None
    for step in range(steps):
        rng = generator(step, batch)
        for group in mine.param_groups:
            group["lr"] = rate * (1 - step / steps)
        turn(partial(lesson, batch, rng, labels=labels), rng)
        _stepped(mine, objective(network, lesson(batch, rng, labels=labels), rng)[0])
        if average is not None:
            for kept, new in zip(average.parameters(), parameters, strict=True):
                kept.data.lerp_(new.data, 0.05)
    return network


def _turns(contest: Contest, network: nn.Module) -> Callable[..., None]:
    """What rivals do before each step of the student."""
    rivals = contest.rivals
    assert rivals is not None
    theirs = torch.optim.AdamW(
        rivals.networks.parameters(), rivals.learning_rate, betas=(0.0, 0.99), fused=True
    )

    def turn(draw: Callable[[], Example], rng: torch.Generator) -> None:
        for _ in range(rivals.turns):
            _stepped(theirs, contest.against(network, draw(), rng)[0])

    return turn


def _stepped(optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


@cache
def _start() -> Small:
    torch.manual_seed(0)
    network = Small()
    train(Folding(teacher=Mixture()), network, 500, rate=3e-3)
    return network


def start() -> Small:
    """A network that knows the teacher's answers, where every method begins."""
    return copy.deepcopy(_start())


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What became of a lot of noise."""

    coverage: tuple[float, ...]  # share of the samples near each mode
    distance: float  # mean, to the nearest mode
    stray: float  # share near none

    @property
    def uncovered(self) -> float:
        """How far the shares of the modes are from the true ones: half the sum of differences."""
        apart = (torch.tensor(self.coverage) - SHARES).abs()
        return float(apart.sum()) / 2


def seen(
    network: Predictor, levels: Sequence[float], *, renoise: bool = False, count: int = 4000
) -> Seen:
    """Coverage and fidelity of a predictor's samples."""
    rng = generator(99)
    noise = torch.randn(count, 2, generator=rng)
    x = generate(network, noise, levels, {}, rng if renoise else None)
    distances = torch.cdist(x, MODES)
    nearest, mode = distances.min(1)
    near = nearest < NEAR
    shares = [float((near & (mode == k)).float().mean()) for k in range(len(MODES))]
    return Seen(
        coverage=tuple(shares),
        distance=float(nearest.mean()),
        stray=float((~near).float().mean()),
    )
