"""A few curated clips -> a network that makes more like them, stopped before it forgets the rest.

Quality tuning: Emu (Dai et al. 2023, arXiv 2309.15807). The loss keeps falling while
generality decays, so a metric on what was held out decides when to stop.
"""

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn

from minuet.contracts.errors import DamagedError, RequestError
from minuet.contracts.files import read_json, write_bytes, write_json
from minuet.distill.loop import Objective, Trainer
from minuet.distill.scale import insist_whole

N = TypeVar("N", bound=nn.Module)
Metric = Callable[[nn.Module], float]  # a network -> how general it is; larger is better


@dataclass(frozen=True, slots=True, kw_only=True)
class StopRule:
    """Stop when generality was more than `fall` below its best at `patience` looks in a row."""

    every: int  # steps from one look to the next
    fall: float  # in the metric's own units
    patience: int = 2

    def __post_init__(self) -> None:
        if self.every < 1 or self.patience < 1 or not 0 <= self.fall < math.inf:
            raise RequestError(f"every and patience are at least 1, fall at least 0, not {self}.")

    def over(self, values: Sequence[float]) -> bool:
        """Whether these looks, the first before any tuning, are reason to stop."""
        low, best = 0, -math.inf
        for value in values:
            best = max(best, value)
            low = low + 1 if value < best - self.fall else 0
            if low == self.patience:
                return True
        return False


@dataclass(frozen=True, slots=True, kw_only=True)
class Tuned:
    """How a tuning ended."""

    looks: dict[int, float]  # step -> generality
    best: int  # the step whose weights were kept; 0: those it began with
    stopped: bool  # by the rule, not by the end of the clips


class _Watch:
    """The rule's memory. All of it is on disk: the looks so far, and the best state among them."""

    def __init__(self, trainer: Trainer, rule: StopRule, metric: Metric) -> None:
        self.trainer, self.rule, self.metric = trainer, rule, metric
        self.record = trainer.folder / "looks.json"
        self.looks: dict[int, float] = {}
        self.recall()

    def recall(self) -> None:
        """What is on disk, which another process may have written."""
        if self.record.exists():
            self.looks = _read(self.record, self.rule)

    @property
    def best(self) -> int:
        """The first step of the best look."""
        return max(self.looks, key=lambda step: (self.looks[step], -step))

    def state(self, step: int) -> Path:
        """Where the weights of a look lie."""
        return self.trainer.folder / f"best-{step}.safetensors"

    def look(self, step: int) -> None:
        """Measure, keep the state if it is the best, write it down; a look is taken once.

        After a kill some looks lie ahead of the checkpoint. The same steps lead to the same
        weights, so they hold.
        """
        if step % self.rule.every or step in self.looks:
            return
        with torch.no_grad():
            value = float(self.metric(self.trainer.average))
        if not math.isfinite(value):
            raise RequestError(f"step {step}: generality is {value}; mend the metric.")
        before = self.best if self.looks else None
        self.looks[step] = value
        if self.best == step:
            tensors = self.trainer.average.state_dict()
            write_bytes(self.state(step), save({n: v.contiguous() for n, v in tensors.items()}))
        looks = {str(at): seen for at, seen in self.looks.items()}
        write_json(self.record, {"rule": asdict(self.rule), "looks": looks})
        if before is not None and self.best == step:
            self.state(before).unlink(missing_ok=True)
        if self.over:
            raise KeyboardInterrupt  # which every process of a trainer hears of

    @property
    def over(self) -> bool:
        """Whether the rule says stop."""
        return self.rule.over([self.looks[step] for step in sorted(self.looks)])

    def restore(self) -> None:
        """The best state becomes the trainer's average."""
        path = self.state(self.best)
        try:
            self.trainer.average.load_state_dict(load_file(path))
        except (OSError, RuntimeError, SafetensorError) as error:
            raise DamagedError(
                f"{path}: the best state cannot be read ({error}); remove {self.trainer.folder} "
                "and tune again."
            ) from error


def tune(
    trainer: Trainer,
    objective: Objective,
    draw: Callable[[int, torch.Generator], Any],
    rule: StopRule,
    metric: Metric,
) -> Tuned:
    """Train to the end or until the rule says stop; the trainer's average is then the best state.

    Called again after a kill, on a trainer that has resumed, it ends as it would have.

    Raises:
        DamagedError: the record of looks, or the best state, is unreadable.
        RequestError: each process holds a part of every weight (FSDP2).
    """
    insist_whole(trainer.on, "quality tuning")
    trainer.folder.mkdir(parents=True, exist_ok=True)
    watch = _Watch(trainer, rule, metric)
    if not watch.over:
        try:
            watch.look(trainer.step)
            trainer.run(objective, draw, tick=watch.look)
        except KeyboardInterrupt:
            watch.recall()
            if not watch.over:
                raise
    watch.recall()
    watch.restore()
    return Tuned(looks=dict(sorted(watch.looks.items())), best=watch.best, stopped=watch.over)


def _read(path: Path, rule: StopRule) -> dict[int, float]:
    value = read_json(path)
    try:
        if value["rule"] != asdict(rule):
            raise RequestError(f"{path}: looks of another rule; choose another folder.")
        return {int(step): float(seen) for step, seen in value["looks"].items()}
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise DamagedError(f"{path}: damaged ({error!r}); remove its folder.") from error


# --- averaging of several runs -------------------------------------------------------------------


def soup(networks: Sequence[N]) -> N:
    """The mean of the weights of runs that began alike (Wortsman et al. 2022, arXiv 2203.05482).

    Raises:
        RequestError: none were given, or they are not of one family and shape.
    """
    _check_alike(networks)
    mixed = copy.deepcopy(networks[0])
    states = [network.state_dict() for network in networks]
    mixed.load_state_dict({n: _mean([state[n] for state in states]) for n in states[0]})
    return mixed


def greedy_soup(networks: Sequence[N], metric: Metric) -> tuple[N, list[int]]:
    """The best network, and each next best that does not make the mean worse (recipe 1 there).

    Returns:
        the mean, and the places of those that are in it.
    """
    _check_alike(networks)
    order = sorted(range(len(networks)), key=lambda at: -metric(networks[at]))
    chosen, best = order[:1], metric(networks[order[0]])
    for at in order[1:]:
        value = metric(soup([networks[one] for one in (*chosen, at)]))
        if value >= best:
            chosen, best = [*chosen, at], value
    return soup([networks[at] for at in chosen]), chosen


def _mean(values: Sequence[Tensor]) -> Tensor:
    if not values[0].is_floating_point():
        return values[0]
    return torch.stack([value.double() for value in values]).mean(0).to(values[0])


def _check_alike(networks: Sequence[nn.Module]) -> None:
    if not networks:
        raise RequestError("no networks to average.")
    first = networks[0]
    shapes = {name: value.shape for name, value in first.state_dict().items()}
    for at, other in enumerate(networks):
        same = type(other) is type(first) and getattr(other, "config", 0) == getattr(
            first, "config", 0
        )
        if not same or {n: v.shape for n, v in other.state_dict().items()} != shapes:
            raise RequestError(
                f"only runs of one network can be averaged; number {at} differs from the first in "
                "family, config or shapes."
            )
