"""A network and names of its modules -> what went into them and came out, while it ran."""

from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from minuet.distill.predict import Predictor
from minuet.models.structure import narrowable, removable

Asked = Callable[[Any], Predictor]  # a network -> the question that all methods ask of it
Seen = dict[str, list[tuple[Tensor, Tensor]]]  # by module: first input and output of each call
HEADS = ("motions", "script", "out")  # what a denoiser says last


@contextmanager
def watched(network: nn.Module, names: Iterable[str]) -> Generator[Seen]:
    """Inputs and outputs of modules, call by call, as long as the block lasts."""
    seen: Seen = {name: [] for name in names}

    def hook(name: str) -> Callable[..., None]:
        return lambda module, given, made: seen[name].append((given[0], made))

    handles = [network.get_submodule(name).register_forward_hook(hook(name)) for name in seen]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


def shared(network: nn.Module, other: nn.Module) -> list[str]:
    """Names of the blocks and heads that both networks have."""
    mine, theirs = (set(narrowable(one)) | set(removable(one)) for one in (network, other))
    heads = {n for n in HEADS if getattr(network, n, None) and getattr(other, n, None)}
    return sorted((mine & theirs) | heads)
