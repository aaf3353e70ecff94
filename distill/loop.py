"""The training story, told once: a network, an objective and a stream of batches -> weights."""

import copy
import json
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol

import torch
from safetensors.torch import load_file, save
from torch import Tensor, nn

from minuet.contracts.errors import DamagedError, RequestError
from minuet.contracts.files import write_bytes
from minuet.distill.batch import Batch
from minuet.distill.path import generator

MOMENTS = ["exp_avg", "exp_avg_sq", "step"]  # AdamW's, of each parameter


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainConfig:
    """How long, how fast, and from which seed."""

    clips: int  # how many clips are seen in all
    batch: int = 12
    learning_rate: float = 1.2e-3
    floor: float = 0.02  # share of the rate that is left at the end
    warmup_clips: int = 720
    weight_decay: float = 0.01
    ema: float = 0.998
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
    """What a step learns: named losses and their sum."""

    def __call__(
        self, network: nn.Module, batch: Batch, rng: torch.Generator
    ) -> tuple[Tensor, Mapping[str, Tensor]]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """What is known after a step."""

    step: int
    steps: int
    clips: int
    losses: Mapping[str, float]
    clips_per_second: float


class Trainer:
    """A network, its average and its optimiser; everything needed to go on after a kill."""

    def __init__(self, network: nn.Module, config: TrainConfig, folder: Path) -> None:
        self.config, self.folder = config, folder
        # Channel norms permute to channels-last: in that memory format they move nothing.
        self.network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.average = copy.deepcopy(network).requires_grad_(False).eval()
        self.optimizer = torch.optim.AdamW(
            network.parameters(),
            config.learning_rate,
            betas=(0.9, 0.98),
            weight_decay=config.weight_decay,
            fused=True,
        )
        self.step = 0

    @property
    def checkpoint(self) -> Path:
        """Where an interrupted run goes on from."""
        return self.folder / "checkpoint.safetensors"

    def save(self) -> None:
        """Network, average, moments and step, whole or not at all."""
        tensors = {f"network.{k}": v for k, v in self.network.state_dict().items()}
        tensors |= {f"average.{k}": v for k, v in self.average.state_dict().items()}
        for name, parameter in self.network.named_parameters():
            state = self.optimizer.state[parameter]
            tensors |= {f"moments.{name}.{k}": v for k, v in state.items()}
        tensors = {k: v.detach().clone().contiguous() for k, v in tensors.items()}
        about = {"step": str(self.step), "config": json.dumps(asdict(self.config))}
        write_bytes(self.checkpoint, save(tensors, about))

    def resume(self) -> bool:
        """Go on from the checkpoint, if there is one."""
        if not self.checkpoint.exists():
            return False
        from safetensors import SafetensorError, safe_open

        try:
            tensors = load_file(self.checkpoint)
            with safe_open(self.checkpoint, "pt") as file:
                self.step = int(file.metadata()["step"])
            self.network.load_state_dict(_under(tensors, "network."))
            self.average.load_state_dict(_under(tensors, "average."))
            self._recall(tensors)
        except (SafetensorError, RuntimeError, KeyError, TypeError, ValueError) as error:
            raise DamagedError(
                f"{self.checkpoint}: cannot go on from it ({error}); remove it to begin again."
            ) from error
        return True

    def _recall(self, tensors: Mapping[str, Tensor]) -> None:
        """The optimiser's moments. A parameter that no step has reached has none, as it had."""
        known = _under(tensors, "moments.")
        for name, parameter in self.network.named_parameters():
            moments = _under(known, f"{name}.")
            if moments and sorted(moments) != MOMENTS:
                raise KeyError(f"of the moments of {name} there are {sorted(moments)}")
            self.optimizer.state[parameter] = {k: _like(parameter, v) for k, v in moments.items()}
        if self.step and not known:
            raise KeyError("no moments")

    def rate(self) -> float:
        """Linear warm-up, then a cosine down to the floor."""
        c = self.config
        seen = self.step * c.batch
        warm = min(1.0, (seen + c.batch) / max(c.warmup_clips, c.batch))
        cosine = 0.5 + 0.5 * math.cos(math.pi * min(1.0, seen / c.clips))
        return c.learning_rate * warm * (c.floor + (1 - c.floor) * cosine)

    def learn(self, objective: Objective, batch: Batch, rng: torch.Generator) -> dict[str, float]:
        """One step: losses, gradients, weights, average."""
        for group in self.optimizer.param_groups:
            group["lr"] = self.rate()
        loss, parts = objective(self.network, batch, rng)
        self._must_be_finite("loss", loss)
        self.optimizer.zero_grad()
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(self.network.parameters(), self.config.clip_norm)
        self._must_be_finite("gradient's norm", norm)
        self.optimizer.step()
        self.step += 1
        decay = min(self.config.ema, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            for kept, new in zip(self.average.parameters(), self.network.parameters(), strict=True):
                kept.lerp_(new, 1 - decay)
        return {"loss": loss.item()} | {name: part.item() for name, part in parts.items()}

    def _must_be_finite(self, what: str, value: Tensor) -> None:
        """Stop before anything that is not a number reaches weights or checkpoint."""
        if not torch.isfinite(value):
            raise RequestError(
                f"step {self.step}: the {what} is {value.item()}; lower the learning rate. "
                f"The last good state is in {self.checkpoint}."
            )

    def run(
        self,
        objective: Objective,
        draw: Callable[[int, torch.Generator], Batch],
        report: Callable[[Progress], None] = lambda progress: None,
        tick: Callable[[int], None] = lambda step: None,
    ) -> None:
        """Every step that is left. Batch and noise of a step depend on (seed, step) alone.

        Args:
            report: told of every `log_steps` steps.
            tick: told of every step; a KeyboardInterrupt that it raises finds all of it saved.
        """
        c = self.config
        self.folder.mkdir(parents=True, exist_ok=True)
        saved = logged = time.monotonic()
        sums: dict[str, float] = {}
        since = self.step
        while self.step < c.steps:
            rng = generator(c.seed, self.step)
            losses = self.learn(objective, draw(c.batch, rng), rng)
            sums = {name: sums.get(name, 0.0) + value for name, value in losses.items()}
            now = time.monotonic()
            if self.step - since >= c.log_steps or self.step == c.steps:
                count = self.step - since
                means = {name: value / count for name, value in sums.items()}
                speed = count * c.batch / (now - logged)
                progress = Progress(
                    step=self.step,
                    steps=c.steps,
                    clips=self.step * c.batch,
                    losses=means,
                    clips_per_second=speed,
                )
                self._log(progress)
                report(progress)
                sums, since, logged = {}, self.step, now
            if now - saved > c.save_seconds:
                self.save()
                saved = now
            try:
                tick(self.step)
            except KeyboardInterrupt:
                self.save()
                raise
        self.save()

    def _log(self, progress: Progress) -> None:
        """One JSON line a report."""
        with (self.folder / "log.jsonl").open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(asdict(progress), sort_keys=True) + "\n")


def _like(parameter: Tensor, value: Tensor) -> Tensor:
    """A moment in its parameter's memory layout: the fused optimiser walks both as raw memory."""
    if value.shape != parameter.shape:
        return value.clone()  # the step count
    return torch.empty_like(parameter, requires_grad=False).copy_(value)


def _under(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The entries below a prefix, without it."""
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
