"""Wide blocks -> the same through a narrow middle, trained with all weights, then merged.

Channel funnels: MobileVD (Ben Yahia et al. 2024, arXiv 2412.07583). W_down follows the
first layer of a block and W_up precedes the last; both are linear, so that at export their products
are narrow layers, and nothing of the funnel is left.
"""

# I channels within a block, R < I in the funnel.

import copy
from dataclasses import replace
from operator import attrgetter

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from minuet.contracts.errors import RequestError
from minuet.models.denoiser import Denoiser
from minuet.models.layers import ChannelNorm, ResBlock
from minuet.models.structure import Narrowable, narrowable


class Down(nn.Module):
    """A layer's weight -> W_down @ weight: fewer outputs."""

    def __init__(self, matrix_RI: Tensor) -> None:
        super().__init__()
        self.matrix = nn.Parameter(matrix_RI)

    def forward(self, weight: Tensor) -> Tensor:
        mixed: Tensor = torch.tensordot(self.matrix, weight, dims=1)
        return mixed


class Up(nn.Module):
    """A layer's weight -> weight @ W_up: fewer inputs."""

    def __init__(self, matrix_IR: Tensor) -> None:
        super().__init__()
        self.matrix = nn.Parameter(matrix_IR)

    def forward(self, weight: Tensor) -> Tensor:
        mixed: Tensor = torch.tensordot(weight, self.matrix, dims=([1], [0]))
        return mixed.movedim(-1, 1)


def coupled(first_IX: Tensor, last_YI: Tensor, width: int) -> tuple[Tensor, Tensor]:
    """W_down (R, I) and W_up (I, R) under which last @ first loses least.

    With last @ first = U S V': W_down = S^-1/2 U' last and W_up = first V S^-1/2, of the largest R,
    so that last W_up W_down first is the best approximation of rank R, and W_down W_up = 1. All of
    it happens in I dimensions: of both layers only the triangles of their QR matter.
    """
    a_II = torch.linalg.qr(last_YI.double())[1]
    b_II = torch.linalg.qr(first_IX.double().T)[1].T
    u, s, vh = torch.linalg.svd(a_II @ b_II)
    root = s[:width].clamp(min=s[0] * 1e-9).sqrt()
    down = (u[:, :width] / root).T @ a_II
    up = b_II @ (vh[:width].T / root)
    return down.to(first_IX), up.to(first_IX)


@torch.no_grad()
def funnelled(network: Denoiser, share: float = 0.5) -> Denoiser:
    """A copy whose every block has a funnel of a share of its width; `merged` makes it small.

    Raises:
        RequestError: the share is not within (0, 1).
    """
    if not 0 < share < 1:
        raise RequestError(f"a funnel's share is between 0 and 1, not {share}.")
    network = copy.deepcopy(network)
    widths = dict(network.config.widths)
    for name, block in narrowable(network).items():
        widths[name] = max(1, round(block.inner * share))
        _insert(block, widths[name])
    network.config = replace(network.config, widths=widths)
    return network


def _insert(block: Narrowable, width: int) -> None:
    first, last = block.ends
    scale_I1 = block.norm_out.weight[:, None] if isinstance(block, ResBlock) else 1.0
    last_YI = last.weight.transpose(0, 1).flatten(1).T
    down, up = coupled(scale_I1 * first.weight.flatten(1), last_YI, width)
    if isinstance(block, ResBlock):
        down = _through(block, down)
    assert first.bias is not None
    first.bias = nn.Parameter(down @ first.bias)
    first.__dict__["out_channels" if isinstance(first, nn.Conv2d) else "out_features"] = width
    last.__dict__["in_channels" if isinstance(last, nn.Conv2d) else "in_features"] = width
    parametrize.register_parametrization(first, "weight", Down(down), unsafe=True)
    parametrize.register_parametrization(last, "weight", Up(up), unsafe=True)


def _through(block: ResBlock, down_RI: Tensor) -> Tensor:
    """Norm and FiLM for mixtures of channels; returns W_down with the old norm's weight in it.

    A shift of channels is a shift of their mixtures, exactly; their scales become means weighted by
    the squares of the mixture. The new norm makes what it normalises as large as it was.
    """
    width, norm = len(down_RI), block.norm_out
    mixed_RI = down_RI * norm.weight
    block.norm_out = ChannelNorm(width)
    block.norm_out.weight.fill_(float(mixed_RI.norm()) / width**0.5)
    block.norm_out.bias.copy_(down_RI @ norm.bias)
    if block.film is not None:
        shares_RI = mixed_RI.square() / mixed_RI.square().sum(1, keepdim=True)
        scale, shift = block.film.weight.chunk(2)
        scale_b, shift_b = block.film.bias.chunk(2)
        film = nn.Linear(block.film.in_features, 2 * width)
        film.weight.copy_(torch.cat([shares_RI @ scale, down_RI @ shift]))
        film.bias.copy_(torch.cat([shares_RI @ scale_b, down_RI @ shift_b]))
        block.film = film
    return mixed_RI


@torch.no_grad()
def merged(network: Denoiser) -> Denoiser:
    """The network with its funnels multiplied into narrow layers; the given one is left."""
    small = Denoiser(network.config)
    small.load_state_dict({name: attrgetter(name)(network) for name in small.state_dict()})
    return small.train(network.training)
