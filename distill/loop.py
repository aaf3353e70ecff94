"""The training story, told once: a network, an objective and a stream of batches -> weights."""

import copy
import json
import math
import time
from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from minuet.contracts.errors import RequestError
from minuet.distill.checkpoint import INDEX, WHOLE, Checkpoint, begun, write
from minuet.distill.learner import Average, Learner, fill
from minuet.distill.log import Log
from minuet.distill.path import generator
from minuet.distill.scale import (
    Answer,
    Fleet,
    Question,
    fleet,
    insist_divisible,
    least_shares,
    placed,
    recomputing,
    share,
)

Draw = Callable[[int, torch.Generator], Any]  # how many clips -> a lesson of them


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainConfig:
    """How long, how fast, and from which seed."""

    clips: int  # how many clips are seen in all
    batch: int = 12
    shares: int = 1  # a batch is cut into these, each with its own randomness, on any process
    learning_rate: float = 1.2e-3
    floor: float = 0.02  # share of the rate that is left at the end
    warmup_clips: int = 720
    weight_decay: float = 0.01
    ema: float = 0.998
    recompute: bool = False  # what blocks computed: less memory, a third more time
    clip_norm: float = 1.0
    seed: int = 0
    bfloat16: bool = True
    save_seconds: float = 120.0
    log_steps: int = 25

    @property
    def steps(self) -> int:
        """Optimiser steps in all."""
        return -(-self.clips // self.batch)


class Objective(Protocol):
    """What a step learns: named losses and their sum. A lesson is what the objective asks for."""

    def __call__(self, network: nn.Module, lesson: Any, rng: torch.Generator, /) -> Answer: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Rivals:
    """Networks that learn against the student: discriminators, or a fake score."""

    networks: nn.ModuleDict
    learning_rate: float
    turns: int = 1  # steps of theirs before each of the student's

    def __post_init__(self) -> None:
        if self.turns < 1 or not 0 < self.learning_rate < 1:
            raise ValueError(
                f"turns >= 1 and 0 < learning_rate < 1 are needed, got {self.turns} "
                f"and {self.learning_rate}"
            )


@runtime_checkable
class Contest(Objective, Protocol):
    """An objective with rivals, and what they learn; no gradient of it reaches the student."""

    @property
    def rivals(self) -> Rivals | None:
        """Who learns against the student; None: nobody."""
        ...

    def against(self, network: nn.Module, lesson: Any, rng: torch.Generator, /) -> Answer:
        """The rivals' loss and its parts."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """What is known after a step."""

    step: int
    steps: int
    clips: int
    losses: Mapping[str, float]
    clips_per_second: float


class Trainer:
    """A network, its average and its optimiser; everything needed to go on after a kill.

    The same share of the same step draws the same randomness wherever it is computed, so any
    number of processes takes the steps of one, to rounding. A process alone leaves no trace.
    """

    def __init__(
        self,
        network: nn.Module,
        config: TrainConfig,
        folder: Path,
        rivals: Rivals | None = None,
        on: Fleet | None = None,
    ) -> None:
        self.config, self.folder, self.rivals = config, folder, rivals
        self.on = on or fleet()
        # Channel norms permute to channels-last: in that memory format they move nothing. FSDP2
        # shards no such weights.
        if not self.on.sharded:
            network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.network = network
        self.average = copy.deepcopy(network).requires_grad_(False).eval()
        if config.recompute:
            recomputing(network)
        rate, decay = config.learning_rate, config.weight_decay
        self._student = Learner(network, self.on, rate, (0.9, 0.98), decay)
        self._opponents = (
            Learner(rivals.networks, self.on, rivals.learning_rate, (0.0, 0.99), 0.0)
            if rivals
            else None
        )
        self._average = Average(self.average, self._student, self.on)
        self.step = 0
        self.shares = config.shares
        self._sums: dict[str, float] = {}  # of the losses since the last report
        self._set_shares(least_shares(self.on, config.shares))

    def _set_shares(self, shares: int) -> None:
        """Cut every batch into this many parts, as many for each process."""
        insist_divisible(self.on, self.config.batch, shares)
        self.shares = shares

    # --- the checkpoint --------------------------------------------------------------------

    @property
    def checkpoint(self) -> Path:
        """Where an interrupted run goes on from."""
        return self.folder / (INDEX if self.on.sharded else WHOLE)

    def save(self) -> None:
        """Networks, average, moments and step, whole or not at all."""
        tensors = self._student.tensors("network", "moments")
        tensors |= {f"average.{k}": v for k, v in self._average.state().items()}
        if self._opponents:
            tensors |= self._opponents.tensors("rivals", "rival_moments")
        about = {
            "step": str(self.step),
            "config": json.dumps(asdict(self.config)),
            "shares": str(self.shares),
            "sums": json.dumps(self._sums),
        }
        if self.on.scaler is not None:
            about["scaler"] = json.dumps(self.on.scaler.state_dict())
        write(self.folder, tensors, about, self.on)

    def resume(self) -> bool:
        """Go on from the checkpoint, if there is one.

        Raises:
            DamagedError: it is not whole, or of another network.
            RequestError: its shares are not to be divided among the processes there are.
        """
        if not begun(self.folder):
            return False
        found = Checkpoint(self.folder, self.on)
        found.restore(self._restore)
        self._set_shares(int(found.about.get("shares", "1")))
        return True

    def _restore(self, found: Checkpoint) -> None:
        """Everything that `save` wrote, in its place."""
        self.step = int(found.about["step"])
        self._sums = dict(json.loads(found.about.get("sums", "{}")))
        stepped = self.step > 0
        self._student.restore(found, "network", "moments", stepped=stepped)
        fill(found, "average", self._average.state(), self.on)
        if self._opponents:
            self._opponents.restore(found, "rivals", "rival_moments", stepped=stepped)
        if self.on.scaler is not None and "scaler" in found.about:
            self.on.scaler.load_state_dict(json.loads(found.about["scaler"]))

    # --- a step ----------------------------------------------------------------------------

    def rate(self) -> float:
        """Linear warm-up, then a cosine down to the floor."""
        c = self.config
        seen = self.step * c.batch
        warm = min(1.0, (seen + c.batch) / max(c.warmup_clips, c.batch))
        cosine = 0.5 + 0.5 * math.cos(math.pi * min(1.0, seen / c.clips))
        return c.learning_rate * warm * (c.floor + (1 - c.floor) * cosine)

    def learn(
        self, objective: Objective, draw: Draw, asked: tuple[bool, ...] = ()
    ) -> tuple[dict[str, float], tuple[bool, ...]]:
        """One step: the rivals' turns, then losses, gradients, weights, average.

        Args:
            asked: what this process would like to be done; the main process decides for all.

        Returns:
            The losses by name, and what is to be done.
        """
        named: dict[str, float] = {}
        if self.rivals and self._opponents and isinstance(objective, Contest):
            against = self._beside(self._student, objective.against)
            for turn in range(1, self.rivals.turns + 1):
                named, _ = self._turn(self._opponents, against, draw, turn)
            named["rivals"] = named.pop("loss")
        for group in self._student.optimizer.param_groups:
            group["lr"] = self.rate()
        with self._still():
            question = self._beside(self._opponents, objective)
            found, decided = self._turn(self._student, question, draw, 0, asked)
        self.step += 1
        self._average.follow(min(self.config.ema, (1 + self.step) / (10 + self.step)))
        return found | named, decided

    def _beside(self, other: Learner | None, asked: Question) -> Question:
        """A question about the student; the other's shards come together in its forward pass."""

        def about(_: nn.Module, lesson: Any, rng: torch.Generator) -> Answer:
            return asked(self.network, lesson, rng)

        def within(_: nn.Module, lesson: Any, rng: torch.Generator) -> Answer:
            assert other is not None
            found: Answer = other.module(about, lesson, rng)
            return found

        return within if other and self.on.sharded else about

    @contextmanager
    def _still(self) -> Generator[None]:
        """While the student learns, its rivals do not, nor are their gradients computed."""
        networks = self.rivals.networks if self.rivals and not self.on.sharded else None
        if networks is not None:
            networks.requires_grad_(False)
        yield
        if networks is not None:
            networks.requires_grad_(True)

    def _turn(
        self,
        learner: Learner,
        question: Question,
        draw: Draw,
        turn: int,
        asked: tuple[bool, ...] = (),
    ) -> tuple[dict[str, float], tuple[bool, ...]]:
        """Losses and gradients of every share, then one step of an optimiser."""
        c, on = self.config, self.on
        mine = share(self.shares, on.rank, on.world)
        learner.optimizer.zero_grad()
        rows: list[tuple[list[str], Tensor]] = []
        for at in mine:
            rng = generator(c.seed, self.step, at, turn)
            torch.manual_seed(rng.initial_seed())  # of what draws without being handed a generator
            lesson = placed(draw(c.batch // self.shares, rng), on.device)
            with on.unsynced(learner.module) if at != mine[-1] else nullcontext():
                with on.answering():
                    loss, parts = learner.module(question, lesson, rng)
                learner.backward(loss / len(mine))
            told = {"loss": loss, **parts}
            rows.append((list(told), torch.stack([one.detach().float() for one in told.values()])))
        norm = learner.clipped(c.clip_norm).item()
        losses = summed(dict(zip(names, row.tolist(), strict=True)) for names, row in rows)
        every = on.told({"losses": losses, "asked": asked})
        losses = summed(one["losses"] for one in every)
        losses = {name: value / self.shares for name, value in losses.items()}
        self._must_be_finite(losses, norm, turn)
        learner.advance()
        return losses, tuple(every[0]["asked"])

    def _must_be_finite(self, losses: Mapping[str, float], norm: float, turn: int) -> None:
        """Stop before anything that is not a number reaches weights or checkpoint."""
        wrong = [name for name, value in losses.items() if not math.isfinite(value)]
        if not wrong and (math.isfinite(norm) or self.on.scaler):  # fp16 skips such steps
            return
        # The sum is wrong wherever a part is: the part says where.
        name = next((one for one in wrong if one != "loss"), "loss" if wrong else "")
        what = f"loss {name!r} is {losses[name]}" if name else f"gradient's norm is {norm}"
        raise RequestError(
            f"step {self.step}: the {what}{' of the rivals' if turn else ''}; lower the learning "
            "rate, or the weight of that loss, and train in another folder: stages that were done "
            f"may be copied there. The last good state is in {self.checkpoint}."
        )

    # --- the run ---------------------------------------------------------------------------

    def run(
        self,
        objective: Objective,
        draw: Draw,
        report: Callable[[Progress], None] = lambda progress: None,
        tick: Callable[[int], None] = lambda step: None,
        look: Callable[[nn.Module, int], None] = lambda average, step: None,
        look_seconds: float = math.inf,
    ) -> None:
        """Every step that is left. Lesson and noise of a step depend on (seed, step) alone.

        Only the main process reports, ticks and looks.

        Args:
            report: told of every `log_steps` steps, once, however often the run is resumed.
            tick: told of every step; a KeyboardInterrupt that it raises finds all of it saved.
            look: shown the average now and then, as it is after a step.
            look_seconds: how long the average is not looked at.
        """
        c = self.config
        assert self.rivals is (objective.rivals if isinstance(objective, Contest) else None)
        self.folder.mkdir(parents=True, exist_ok=True)
        # Asked of all before any of them saves: who comes late would find it begun, and not wait.
        if not any(self.on.told(begun(self.folder))):
            self.save()  # a state to go back to
        log = Log(self.folder / "log.jsonl")
        saved = looked = logged = time.monotonic()
        begun_at, stop = self.step, False
        while self.step < c.steps:
            now = time.monotonic()
            asked = (now - saved > c.save_seconds, now - looked > look_seconds, stop)
            losses, (saving, looking, stopping) = self.learn(objective, draw, asked)
            self._sums = summed((self._sums, losses))
            if self.step % c.log_steps == 0 or self.step == c.steps:
                now = time.monotonic()
                progress = self._progress((self.step - begun_at) * c.batch / (now - logged))
                self._sums, begun_at, logged = {}, self.step, now
                if self.on.rank == 0 and log.write(asdict(progress)):
                    report(progress)
            if saving or stopping:
                self.save()
                saved = time.monotonic()
            if looking:
                self._look(look)
                looked = time.monotonic()
            if stopping:
                raise KeyboardInterrupt
            if self.on.rank == 0:
                stop = self._ticked(tick)
        self.save()
        self._average.whole()
        if look_seconds < math.inf:
            self._look(look)

    def _ticked(self, tick: Callable[[int], None]) -> bool:
        """Whether the run is to stop after a step more, which all processes then know."""
        try:
            tick(self.step)
        except KeyboardInterrupt:
            if self.on.world > 1:
                return True
            self.save()
            raise
        return False

    def _progress(self, speed: float) -> Progress:
        """The mean losses since the last report."""
        c = self.config
        count = self.step % c.log_steps or c.log_steps
        return Progress(
            step=self.step,
            steps=c.steps,
            clips=self.step * c.batch,
            losses={name: value / count for name, value in self._sums.items()},
            clips_per_second=speed,
        )

    def _look(self, look: Callable[[nn.Module, int], None]) -> None:
        average = self._average.whole()
        if self.on.rank == 0:
            with torch.no_grad():
                look(average, self.step)


def summed(rows: Iterable[Mapping[str, float]]) -> dict[str, float]:
    """By name; a row without a name adds nothing to it."""
    found: dict[str, float] = {}
    for row in rows:
        for name, value in row.items():
            found[name] = found.get(name, 0.0) + value
    return found
