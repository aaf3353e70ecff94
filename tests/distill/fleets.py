"""Real processes that train the tiny network together."""

import argparse
import os
import socket
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from minuet.distill.augment import Augment
from minuet.distill.batch import Batch
from minuet.distill.loop import Rivals, TrainConfig, Trainer
from minuet.distill.losses import Weights
from minuet.distill.objectives import FlowMatching
from minuet.distill.predict import Composed
from tests.distill.squares import MIRROR, draw
from tests.models.tiny import denoiser

ROOT = Path(__file__).parents[2]
PLAIN = FlowMatching(augment=Augment(), mirror=MIRROR, weights=Weights(), bfloat16=False)
BATCH = 4


class Critic(nn.Module):
    """How real the frames look (B,)."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Conv2d(4, 8, 3, stride=4)
        self.head = nn.Linear(8, 1)

    def forward(self, frames_BTCHW: Tensor) -> Tensor:
        """A number a clip: the mean over its frames."""
        clips, frames = frames_BTCHW.shape[:2]
        seen = self.head(F.silu(self.body(frames_BTCHW.flatten(0, 1))).mean((2, 3)))
        found: Tensor = seen.reshape(clips, frames).mean(1)
        return found


@dataclass(frozen=True)
class Duel:
    """Flow matching, and a critic that is to find the student's clips real."""

    rivals: Rivals

    def __call__(
        self, network: nn.Module, lesson: Batch, rng: torch.Generator
    ) -> tuple[Tensor, Mapping[str, Tensor]]:
        loss, parts = PLAIN(network, lesson, rng)
        fooled = -self.rivals.networks["critic"](self._made(network, lesson, rng)).mean()
        return loss + 0.1 * fooled, {**parts, "fooled": fooled}

    def against(
        self, network: nn.Module, lesson: Batch, rng: torch.Generator
    ) -> tuple[Tensor, Mapping[str, Tensor]]:
        """Hinge loss: real clips above 1, made ones below -1."""
        with torch.no_grad():
            made = self._made(network, lesson, rng)
        critic = self.rivals.networks["critic"]
        loss = F.relu(1 - critic(lesson.x0)).mean() + F.relu(1 + critic(made)).mean()
        return loss, {"hinge": loss}

    def _made(self, network: nn.Module, lesson: Batch, rng: torch.Generator) -> Tensor:
        noise = torch.randn(lesson.x0.shape, generator=rng)
        made: Tensor = Composed(network)(noise, torch.ones(lesson.clips), lesson.condition)  # type: ignore[arg-type]
        return made


def duel() -> Duel:
    """A seeded one."""
    torch.manual_seed(5)
    return Duel(Rivals(networks=nn.ModuleDict({"critic": Critic()}), learning_rate=1e-3, turns=2))


def made(
    folder: Path, steps: int, shares: int = 1, *, duels: bool = False, **more: float
) -> Trainer:
    """A trainer of the tiny network, and what it trains on."""
    settings = {"batch": BATCH, "warmup_clips": 4, "log_steps": 2, "save_seconds": 1e9} | more
    config = TrainConfig(clips=BATCH * steps, shares=shares, **settings)  # type: ignore[arg-type]
    rivals = duel().rivals if duels else None
    return Trainer(denoiser().train(), config, folder, rivals)


def go(one: Trainer) -> None:
    """Every step that is left."""
    one.resume()
    one.run(Duel(one.rivals) if one.rivals else PLAIN, draw)


def launched(
    folder: Path,
    world: int,
    *options: str,
    sharded: bool = False,
    module: str = "tests.distill.fleets",
) -> None:
    """Train in `world` processes, as a launcher starts them; raise what they say if one fails."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    shared = os.environ | {
        "WORLD_SIZE": str(world),
        "LOCAL_WORLD_SIZE": str(world),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "ACCELERATE_USE_CPU": "true",
        "ACCELERATE_USE_FSDP": str(sharded).lower(),
        "OMP_NUM_THREADS": "1",
    }
    command = [sys.executable, "-m", module, str(folder), *options]
    processes = [
        subprocess.Popen(
            command,
            cwd=ROOT,
            env=shared | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank in range(world)
    ]
    try:
        told = [process.communicate(timeout=240)[0] for process in processes]
    finally:
        for process in processes:
            process.kill()
    if any(process.returncode for process in processes):
        raise RuntimeError("\n".join(told))


def main() -> None:
    """One process of a training."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--until", type=int, default=10**9)
    parser.add_argument("--shares", type=int, default=1)
    parser.add_argument("--duels", action="store_true")
    parser.add_argument("--save-seconds", type=float, default=1e9)
    told = parser.parse_args()
    torch.set_num_threads(1)
    more = {"save_seconds": told.save_seconds}
    one = made(told.folder, told.steps, told.shares, duels=told.duels, **more)

    def tick(step: int) -> None:
        if step >= told.until:
            raise KeyboardInterrupt

    one.resume()
    objective = Duel(one.rivals) if one.rivals else PLAIN
    try:
        one.run(objective, draw, tick=tick)
    except KeyboardInterrupt:
        return
    if one.on.rank == 0:
        from safetensors.torch import save_file

        state = {name: value.contiguous() for name, value in one.average.state_dict().items()}
        save_file(state, told.folder / "average.safetensors")


if __name__ == "__main__":
    main()
