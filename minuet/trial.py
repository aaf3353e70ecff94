"""A size of network -> what one training step of it needs and how fast it is, on made-up clips."""

import functools
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from minuet import worlds
from minuet.distill.augment import Augment
from minuet.distill.batch import Batch, batch_from_arrays
from minuet.distill.losses import Weights, total
from minuet.distill.objectives import FlowMatching, all_losses, answer
from minuet.distill.path import generator
from minuet.distill.scale import blocks
from minuet.models.config import SIZES, DenoiserConfig
from minuet.models.denoiser import Denoiser


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """What training a network needs, counted on the meta device, which computes nothing."""

    parameters: int
    together: int  # those that FSDP2 gathers at once: the largest block, and what is in none
    clip_bytes: int  # kept of one clip for the backward pass, in float32
    recomputed_bytes: int  # the same where blocks keep their inputs alone


def made_up(config: DenoiserConfig, clips: int) -> Batch:
    """Clips of noise, of the shapes that a network of this size learns from."""
    shape = (clips, config.frames, config.side, config.side)
    anatomy = 2 * config.landmarks + 1 + config.traits if config.landmarks else 0
    return batch_from_arrays(
        frames=torch.randint(256, (*shape, 4), dtype=torch.uint8),
        part=torch.randint(config.parts, shape, dtype=torch.uint8),
        mask=torch.randint(2, shape, dtype=torch.uint8),
        affine=torch.zeros(clips, config.frames, config.parts, 2, 3),
        tokens=torch.ones(clips, config.tokens, dtype=torch.int32),
        noise=torch.full((clips,), -1),
        anatomy=torch.zeros(clips, anatomy),
    )


@functools.cache
def size_of(name: str) -> Size:
    """Everything about a size that can be known without computing."""
    with torch.device("meta"):
        network = Denoiser(SIZES[name])
        clip_bytes, recomputed_bytes = kept_bytes(network)
    inside = [sum(one.numel() for one in block.parameters()) for block in blocks(network)]
    every = sum(one.numel() for one in network.parameters())
    return Size(
        parameters=every,
        together=every - sum(inside) + max(inside, default=0),
        clip_bytes=clip_bytes,
        recomputed_bytes=recomputed_bytes,
    )


def kept_bytes(network: Denoiser) -> tuple[int, int]:
    """Bytes that a clip's forward pass keeps for its backward pass, but for the weights.

    Each storage counts once, for the block that was at work when it was first kept.

    Returns:
        Of all; and with blocks that keep their inputs alone, while the largest is computed again.
    """
    owner: dict[int, int] = {}  # storage -> block; -1: none
    bytes_of: dict[int, int] = {}
    alive: list[Any] = []  # else another storage takes the place of one, and its number
    at = [-1]

    def note(tensor: Tensor, block: int | None = None) -> Tensor:
        if not isinstance(tensor, nn.Parameter):
            storage = tensor.untyped_storage()
            alive.append(storage)
            bytes_of[storage._cdata] = storage.nbytes()
            owner.setdefault(storage._cdata, at[0] if block is None else block)
        return tensor

    for number, block in enumerate(blocks(network)):

        def enter(_: nn.Module, given: tuple[Any, ...], number: int = number) -> None:
            for one in given:
                if isinstance(one, Tensor):
                    note(one, -1)
            at[0] = number

        block.register_forward_pre_hook(enter)
        block.register_forward_hook(lambda *_: at.__setitem__(0, -1))
    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        loss = _loss(network, made_up(network.config, 1))
    shares = [0] * (len(blocks(network)) + 1)
    for storage, number in owner.items():
        shares[number] += bytes_of[storage]
    del loss
    return sum(shares), shares[-1] + max(shares[:-1], default=0)


def _loss(network: Denoiser, lesson: Batch) -> Tensor:
    t_B = torch.ones(lesson.clips)
    fields, context = answer(network, lesson.clip_BTCHW, t_B, lesson, bfloat16=False)
    return total(all_losses(fields, context, lesson, t_B), Weights())


def gigaflops(
    name: str, flop_a_clip: float, seconds: float, clock: Callable[[], float] = time.perf_counter
) -> float | None:
    """Effective GFLOP/s of training a size here: the median of real steps, one clip each.

    Args:
        flop_a_clip: of a training step.
        seconds: how long this may take; a first step, which warms up, is not counted.

    Returns:
        None where no step came to an end in that time.
    """
    torch.manual_seed(0)
    config = SIZES[name]
    network = Denoiser(config).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = torch.optim.AdamW(network.parameters(), 1e-6, fused=True)
    objective = FlowMatching(augment=Augment(), mirror=worlds.mirror(), weights=Weights())
    rng, lesson = generator(0), made_up(config, 1)
    times: list[float] = []
    end = clock() + seconds
    while len(times) < 20 and clock() + (times[-1] if times else 0.0) < end:
        start = clock()
        loss, _ = objective(network, lesson, rng)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        times.append(clock() - start)
    counted = sorted(times[1:])
    return flop_a_clip / counted[len(counted) // 2] / 1e9 if counted else None
