"""A network and what its shape leaves out -> narrower blocks, and none where one was removed."""

# I channels inside a block, X weights of each. T frames, N = B * T.

import copy
from collections.abc import Iterable, Mapping
from typing import TypeVar

import torch
from torch import Tensor, nn

from minuet.contracts.errors import RequestError
from minuet.models.layers import Attention, FeedForward, ResBlock, TemporalConv

Narrowable = ResBlock | FeedForward
N = TypeVar("N", bound=nn.Module)
FRAMED = {"frame": 0, "place": 1}  # parameters with a row a frame, and along which axis


class Removed(nn.Module):
    """Where a residual block was: what comes in goes out."""

    def forward(self, x: Tensor, *_: Tensor | None) -> Tensor:
        return x


def narrowable(network: nn.Module) -> dict[str, Narrowable]:
    """Blocks with a width of their own inside, by name."""
    return {n: m for n, m in network.named_modules() if isinstance(m, ResBlock | FeedForward)}


def removable(network: nn.Module) -> dict[str, nn.Module]:
    """Residual blocks whose input and output have one shape, by name."""
    found: dict[str, nn.Module] = {}
    for name, module in network.named_modules():
        residual = isinstance(module, ResBlock) and isinstance(module.skip, nn.Identity)
        if residual or isinstance(module, Attention | TemporalConv):
            found[name] = module
    return found


def temporal(network: nn.Module) -> list[str]:
    """Names of the residual blocks that mix frames."""
    mixing = (n for n, m in network.named_modules() if isinstance(m, TemporalConv))
    return [*mixing, *(n for n in removable(network) if n.rpartition(".")[2] == "time")]


def shape(network: nn.Module, widths: Mapping[str, int], removed: Iterable[str]) -> None:
    """Narrow and remove blocks of a new network, whose weights mean nothing yet.

    Raises:
        RequestError: no such block, or a width that it cannot have.
    """
    leave_out(network, removed)
    for name, width in widths.items():
        block = narrowable(network).get(name)
        if block is None or width > block.inner:
            most = "no block that can be narrowed" if block is None else f"{block.inner} wide"
            raise RequestError(f"model config: widths: {name!r}: {width} asked; it is {most}.")
        block.narrow(torch.arange(width))


def leave_out(network: nn.Module, names: Iterable[str]) -> None:
    """Remove residual blocks, those within others first."""
    names = sorted(set(names), key=lambda name: (-name.count("."), name))
    if unknown := sorted(set(names) - set(removable(network))):
        raise RequestError(f"model config: removed: no block that can be left out: {unknown}.")
    for name in names:
        network.set_submodule(name, Removed())


def strongest(block: Narrowable, width: int) -> Tensor:
    """Which inner channels have the largest weights, in their order: (width,)."""
    norms_I: Tensor = torch.linalg.vector_norm(block.channels().detach(), dim=1)
    return norms_I.topk(width).indices.sort().values


def fill(small: N, given: nn.Module, kept: Mapping[str, Tensor]) -> N:
    """Weights of `given` that a narrower or shorter network of its family still has.

    Args:
        small: a new network with fewer blocks, channels within them, or frames.
        given: what it is cut out of; left as it was.
        kept: by block, which inner channels remain; of other blocks, the strongest.

    Raises:
        RequestError: `small` is no part of `given`.
    """
    given, inside = copy.deepcopy(given), narrowable(small)
    for name, block in narrowable(given).items():
        if name in inside and inside[name].inner < block.inner:
            chosen = kept[name] if name in kept else strongest(block, inside[name].inner)
            block.narrow(chosen.long())
    weights = given.state_dict()
    if missing := sorted(set(small.state_dict()) - set(weights)):
        raise RequestError(f"a network is cut out of one that has {missing} too; this one has not.")
    small.load_state_dict({n: thinned(weights[n], v, n) for n, v in small.state_dict().items()})
    return small


def thinned(value: Tensor, like: Tensor, name: str) -> Tensor:
    """The rows of every g-th frame, where there are fewer frames; else the value itself."""
    if value.shape == like.shape:
        return value
    axis = FRAMED.get(name.rpartition(".")[2], 0)
    many, few = value.shape[axis], like.shape[axis]
    rows = value.index_select(axis, torch.arange(0, many, max(many // few, 1), device=value.device))
    if many % few or rows.shape != like.shape or name.rpartition(".")[2] not in FRAMED:
        raise RequestError(f"{name}: {tuple(like.shape)} is no part of {tuple(value.shape)}.")
    return rows
