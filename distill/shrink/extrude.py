"""Inner channels to be lost -> a pull that grows until nothing of them is left, then their end.

Random sub-networks as trainable ones: RST (Bai et al. 2022, arXiv 2203.04248), structured:
whole channels within blocks, so that what is removed is gone from every kernel.
"""

# I channels within a block, X weights of each.

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from minuet.contracts.errors import RequestError
from minuet.distill.loop import Objective
from minuet.models.denoiser import Denoiser, rebuilt
from minuet.models.layers import ResBlock
from minuet.models.structure import narrowable, strongest

NOTHING = 1e-3  # share of the channels' norm below which the masked ones are gone
MULTIPLE = 4  # widths stay multiples of it, as kernels like them

Kept = Mapping[str, Tensor]  # by block, which inner channels remain, ascending


def by_chance(network: nn.Module, share: float, rng: torch.Generator) -> Kept:
    """A random share of every block's inner channels."""
    return {
        name: torch.randperm(block.inner, generator=rng)[: _width(block.inner, share)].sort().values
        for name, block in narrowable(network).items()
    }


def by_norm(network: nn.Module, share: float) -> Kept:
    """The share of every block's inner channels that has the largest weights."""
    return {
        name: strongest(block, _width(block.inner, share))
        for name, block in narrowable(network).items()
    }


def _width(inner: int, share: float) -> int:
    if not 0 < share <= 1:
        raise RequestError(f"the share of channels that remain is in (0, 1], not {share}.")
    return min(inner, max(MULTIPLE, round(inner * share / MULTIPLE) * MULTIPLE))


def masked(network: nn.Module, kept: Kept) -> Tensor:
    """The squares of all weights of the channels that go, as one number."""
    found = [next(network.parameters()).new_zeros(())]
    for name, block in narrowable(network).items():
        if name in kept:
            channels_IX = block.channels()
            goes_I = torch.ones(block.inner, dtype=torch.bool)
            goes_I[kept[name]] = False
            rows = goes_I.argwhere()[:, 0].to(channels_IX.device)
            found.append(channels_IX[rows].square().sum())
    return torch.stack(found).sum()


@torch.no_grad()
def left(network: nn.Module, kept: Kept) -> float:
    """What is left of the masked channels: their norm, as a share of all channels' norm."""
    blocks = narrowable(network)
    whole = torch.stack([blocks[name].channels().square().sum() for name in kept]).sum()
    return float((masked(network, kept) / whole).sqrt())


@dataclass(frozen=True, slots=True, kw_only=True)
class Extrusion:
    """A task, and a pull on the masked channels that grows step by step up to a ceiling.

    The pull's gradient is reg * w; reg grows by `growth` every `every` steps.
    """

    task: Objective
    kept: Kept
    step: Callable[[], int]  # how many steps are done: the trainer's own count, which is on disk
    growth: float = 1e-4
    every: int = 5
    ceiling: float = 1.0

    @property
    def strength(self) -> float:
        """reg, now."""
        return min(self.ceiling, self.growth * (self.step() // self.every))

    def __call__(
        self, network: nn.Module, lesson: object, rng: torch.Generator
    ) -> tuple[Tensor, Mapping[str, Tensor]]:
        loss, parts = self.task(network, lesson, rng)
        squares = masked(network, self.kept)
        return loss + self.strength / 2 * squares, {**parts, "masked": squares.detach()}


@torch.no_grad()
def extruded(network: Denoiser, kept: Kept, nothing: float = NOTHING) -> Denoiser:
    """The network without its masked channels.

    A channel norm still counted them, as zeros: among n channels the remaining k were larger by
    (n / k) ** 0.5 than they are among themselves, which its weight takes over.

    Raises:
        RequestError: more than nothing is left of them.
    """
    if (share := left(network, kept)) >= nothing:
        raise RequestError(
            f"of the channels to be removed {share:.2g} of the norm is left, and {nothing:.2g} "
            "is allowed; train on with a stronger pull."
        )
    widths = {name: len(rows) for name, rows in kept.items()}
    config = replace(network.config, widths={**network.config.widths, **widths})
    small, before = rebuilt(network, config, kept), narrowable(network)
    for name, block in narrowable(small).items():
        if isinstance(block, ResBlock):
            block.norm_out.weight.mul_((before[name].inner / block.inner) ** 0.5)
    return small
