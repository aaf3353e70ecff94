"""A bare loop and the trainer, taking turns on one network -> steps a second of both, side by side.

python scripts/training_speed.py [SIZE] [--rounds N] [--steps N] [--batch N]

Each round is bare, trainer, trainer, bare (ABBA), so that a machine that slows down slows both. The
bare loop does what learning cannot do without: draw, losses, gradients, clipping, AdamW, average.
"""

import argparse
import copy
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from minuet import worlds
from minuet.distill.augment import Augment
from minuet.distill.batch import Batch
from minuet.distill.loop import TrainConfig, Trainer
from minuet.distill.losses import Weights
from minuet.distill.objectives import FlowMatching
from minuet.distill.path import generator
from minuet.distill.store import ClipStore
from minuet.models.config import SIZES
from minuet.models.denoiser import Denoiser

CLIPS = 32  # rendered; a training draws them again and again
RATE, DECAY, KEPT = 1e-4, 0.01, 0.998


def main() -> None:
    """Measure, and print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("size", nargs="?", default="pocket", choices=sorted(SIZES))
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--batch", type=int, default=12)
    told = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for _ in worlds.fill_store(Path(folder) / "world", CLIPS, seed=7):
            pass
        store = ClipStore(Path(folder) / "world", CLIPS)
        print(json.dumps(compared(told, store, Path(folder)), indent=1))


def compared(told: argparse.Namespace, store: ClipStore, folder: Path) -> dict[str, object]:
    """Seconds a step of both, the ratio of the two in each round, and what drawing takes."""
    drawing = [0.0]

    def draw(size: int, rng: torch.Generator) -> Batch:
        start = time.perf_counter()
        lesson = store.draw(size, rng)
        drawing[0] += time.perf_counter() - start
        return lesson

    both = bare(told, draw), trained(told, draw, folder)
    for one in both:  # memory formats are found and memory is claimed
        one(1)
    rounds = []
    drawing[0], start = 0.0, time.perf_counter()
    for _ in range(told.rounds):
        a, b, c, d = (both[at](told.steps) for at in (0, 1, 1, 0))
        rounds.append((a + d, b + c))
    whole = time.perf_counter() - start
    ratios = np.array([loop / plain for plain, loop in rounds])
    low, high = np.quantile(resampled(np.log(ratios)), (0.025, 0.975))
    count = 2 * told.steps
    return {
        "size": told.size,
        "batch": told.batch,
        "steps": 2 * count * told.rounds,
        "bare_steps_per_second": count / float(np.median([plain for plain, _ in rounds])),
        "trainer_steps_per_second": count / float(np.median([loop for _, loop in rounds])),
        "trainer_over_bare_time": float(np.exp(np.log(ratios).mean())),
        "interval_95": [float(np.exp(low)), float(np.exp(high))],
        "drawing_share_of_a_step": drawing[0] / whole,
        "threads": torch.get_num_threads(),
    }


def resampled(values: np.ndarray, times: int = 10_000) -> np.ndarray:
    """Means of samples drawn from these with replacement: the bootstrap."""
    chosen = np.random.default_rng(0).integers(len(values), size=(times, len(values)))
    return np.asarray(values[chosen].mean(1))


def objective() -> FlowMatching:
    """What a teacher learns."""
    return FlowMatching(augment=Augment(), mirror=worlds.mirror(), weights=Weights())


def bare(
    told: argparse.Namespace, draw: Callable[[int, torch.Generator], Batch]
) -> Callable[[int], float]:
    """A loop as one writes it by hand; it does some steps and says how long they took."""
    torch.manual_seed(0)
    network = Denoiser(SIZES[told.size]).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    average = copy.deepcopy(network)
    optimizer = torch.optim.AdamW(
        network.parameters(), RATE, betas=(0.9, 0.98), weight_decay=DECAY, fused=True
    )
    learn, done = objective(), [0]

    def steps(count: int) -> float:
        start = time.perf_counter()
        for _ in range(count):
            rng = generator(0, done[0])
            loss, _ = learn(network, draw(told.batch, rng), rng)
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimizer.step()
            with torch.no_grad():
                for kept, new in zip(average.parameters(), network.parameters(), strict=True):
                    kept.lerp_(new, 1 - KEPT)
            done[0] += 1
        return time.perf_counter() - start

    return steps


def trained(
    told: argparse.Namespace, draw: Callable[[int, torch.Generator], Batch], folder: Path
) -> Callable[[int], float]:
    """The same steps by the trainer, with its checks and its log; saving is left out."""
    torch.manual_seed(0)
    config = TrainConfig(clips=told.batch * 10**6, batch=told.batch, learning_rate=RATE, ema=KEPT)
    one, learn = Trainer(Denoiser(SIZES[told.size]), config, folder / "run"), objective()

    def steps(count: int) -> float:
        start = time.perf_counter()
        for _ in range(count):
            one.learn(learn, draw)
        return time.perf_counter() - start

    return steps


if __name__ == "__main__":
    main()
