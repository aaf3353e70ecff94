"""Temporal blocks and how many may stay -> gates that learn which, and a network without the rest.

MobileVD (Ben Yahia et al. 2024, arXiv 2412.07583): a gate a block, open or shut, learnt
with the weights through a straight-through estimate (Bengio et al. 2013, arXiv 1308.3432).
"""

import copy
from dataclasses import replace

import torch
from torch import Tensor, nn

from minuet.contracts.errors import RequestError
from minuet.models.denoiser import Denoiser
from minuet.models.structure import leave_out, removable, temporal


class Gates(nn.Module):
    """A number a block; the largest `keep` are open."""

    def __init__(self, names: tuple[str, ...], keep: int) -> None:
        super().__init__()
        self.names, self.keep = names, keep
        self.wish = nn.Parameter(torch.zeros(len(names)))

    def open(self) -> Tensor:
        """1 for an open gate and 0 for a shut one; the gradient is that of a sigmoid."""
        soft = torch.sigmoid(self.wish)
        order = torch.argsort(self.wish.detach(), descending=True, stable=True)
        hard = torch.zeros_like(soft).index_fill(0, order[: self.keep], 1.0)
        return hard + soft - soft.detach()


class Gated(nn.Module):
    """x + g (block(x) - x): the block, or nothing."""

    def __init__(self, block: nn.Module, gates: Gates, place: int) -> None:
        super().__init__()
        self.block, self.place = block, place
        self._gates = (gates,)  # a tuple, so that its parameters are the network's, once

    def forward(self, x: Tensor, *rest: Tensor | None) -> Tensor:
        gate = self._gates[0].open()[self.place]
        gated: Tensor = x + gate * (self.block(x, *rest) - x)
        return gated


def gated(network: Denoiser, keep: int, names: tuple[str, ...] = ()) -> Denoiser:
    """A copy with a gate around each named block (all temporal ones), of which `keep` stay open.

    Raises:
        RequestError: there are not more blocks than are to be kept.
    """
    network = copy.deepcopy(network)
    names = names or tuple(temporal(network))
    if not 0 <= keep < len(names):
        raise RequestError(f"{keep} of {len(names)} gated blocks cannot be kept; keep fewer.")
    network.add_module("gates", Gates(names, keep))
    for place, name in enumerate(names):
        block = removable(network)[name]
        network.set_submodule(name, Gated(block, _gates(network), place))
    return network


def ungated(network: Denoiser) -> Denoiser:
    """The network without gates, and without the blocks behind shut ones; the given one is left."""
    network = copy.deepcopy(network)
    gates = _gates(network)
    del network.gates
    for name in gates.names:
        network.set_submodule(name, network.get_submodule(name).block)  # type: ignore[arg-type]
    shut = tuple(n for n, g in zip(gates.names, gates.open().tolist(), strict=True) if g < 0.5)
    leave_out(network, shut)
    small = Denoiser(replace(network.config, removed=(*network.config.removed, *shut)))
    small.load_state_dict(network.state_dict())
    return small.train(network.training)


def _gates(network: nn.Module) -> Gates:
    found = network.get_submodule("gates")
    assert isinstance(found, Gates)
    return found


def by_size(network: nn.Module, keep: int) -> tuple[str, ...]:
    """The temporal blocks that go if the mean size of weights decides (L1): the usual baseline."""
    blocks = removable(network)

    def size(name: str) -> float:
        weights = torch.cat([p.detach().flatten() for p in blocks[name].parameters()])
        return float(weights.abs().mean())

    order = sorted(temporal(network), key=lambda name: (-size(name), name))
    return tuple(order[keep:])
