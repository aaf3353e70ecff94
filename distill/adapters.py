"""A network, small trained additions -> the network that they make: LoRA, and deltas stacked.

Hu et al. 2021 (arXiv 2106.09685), eq. 3, over convolutions too: W + scale * up @ down, with the
kernel's taps among the inputs. Stacking adds what two networks learned apart, from one beginning.
"""

# Shapes: O outputs, I inputs times taps, r rank.

from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn
from torch.nn.utils import parametrize

from minuet.contracts.errors import DamagedError, RequestError
from minuet.contracts.files import write_bytes

MAX_BYTES = 8 << 30  # of a file of deltas
Weights = Mapping[str, Tensor]


class LowRank(nn.Module):
    """weight -> weight + scale * up @ down, in any layout of the weight."""

    def __init__(self, weight: Tensor, rank: int, scale: float) -> None:
        super().__init__()
        outputs, inputs = len(weight), weight[0].numel()
        self.scale = scale
        self.down = nn.Parameter(torch.randn(rank, inputs).to(weight) * inputs**-0.5)
        self.up = nn.Parameter(torch.zeros(outputs, rank).to(weight))

    def forward(self, weight: Tensor) -> Tensor:
        """A new one changes no bit: it adds zeros."""
        return weight + (self.scale * self.up @ self.down).reshape(weight.shape)


def attach(
    network: nn.Module, patterns: Iterable[str], *, rank: int, scale: float = 1.0
) -> list[str]:
    """Add LoRA to the convolutions and linear layers whose names match; freeze everything else.

    Args:
        patterns: shell patterns of module names, such as "coarse*" or "*".

    Raises:
        RequestError: nothing matches, or the rank is not positive.
    """
    patterns = list(patterns)
    layers = {n: m for n, m in network.named_modules() if isinstance(m, nn.Conv2d | nn.Linear)}
    chosen = [name for name in layers if any(fnmatchcase(name, p) for p in patterns)]
    if not chosen or rank < 1:
        raise RequestError(
            f"LoRA of rank {rank} on {patterns}: a positive rank and a match among {list(layers)} "
            "are needed."
        )
    network.requires_grad_(False)
    for name in chosen:
        low_rank = LowRank(layers[name].weight, rank, scale)
        parametrize.register_parametrization(layers[name], "weight", low_rank)
    return chosen


def merge(network: nn.Module) -> None:
    """Fold every LoRA into its weight, in place: the network has its own names again."""
    for module in list(network.modules()):
        if parametrize.is_parametrized(module, "weight"):
            parametrize.remove_parametrizations(module, "weight", leave_parametrized=True)


def delta(tuned: Weights, base: Weights) -> dict[str, Tensor]:
    """What a fine-tuned network's weights have that its beginning's have not; equal ones left out.

    Raises:
        RequestError: the two are not of one architecture.
    """
    _same_names(tuned, base)
    return {k: tuned[k] - base[k] for k in base if not torch.equal(tuned[k], base[k])}


@torch.no_grad()
def stack(network: nn.Module, deltas: Iterable[Weights]) -> None:
    """Add deltas to the weights of the network they began from, in place.

    Raises:
        RequestError: a delta of another architecture.
    """
    weights = network.state_dict()
    for one in deltas:
        _same_names(one, weights, some=True)
        for name, value in one.items():
            weights[name].add_(value)


def _same_names(some_: Weights, all_: Weights, *, some: bool = False) -> None:
    unknown = sorted(set(some_) - set(all_))
    missing = [] if some else sorted(set(all_) - set(some_))
    other = sorted(k for k in set(some_) & set(all_) if some_[k].shape != all_[k].shape)
    if unknown or missing or other:
        raise RequestError(
            f"weights of another architecture: unknown {unknown[:5]}, missing {missing[:5]}, of "
            f"another shape {other[:5]}."
        )


def save_weights(path: Path, weights: Weights) -> None:
    """Deltas, or what is trained of a network, as safetensors: whole or not at all."""
    write_bytes(path, save({k: v.detach().contiguous() for k, v in weights.items()}))


def load_weights(path: Path) -> dict[str, Tensor]:
    """The reverse of save_weights.

    Raises:
        DamagedError: missing, too large, damaged, or not finite.
    """
    if not path.is_file() or path.stat().st_size > MAX_BYTES:
        raise DamagedError(f"{path}: missing, or larger than {MAX_BYTES >> 30} GiB.")
    try:
        found: dict[str, Tensor] = load(path.read_bytes())
    except SafetensorError as error:
        raise DamagedError(f"{path}: damaged ({error}); get a fresh copy.") from error
    if not all(torch.isfinite(value).all() for value in found.values()):
        raise DamagedError(f"{path}: holds values that are not finite; get a fresh copy.")
    return found


def trained(network: nn.Module) -> dict[str, Tensor]:
    """The parameters that training changes: of a network with LoRA, the LoRA alone."""
    return {name: p.detach() for name, p in network.named_parameters() if p.requires_grad}
