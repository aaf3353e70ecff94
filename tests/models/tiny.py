"""Networks small enough for every test, with every weight away from zero."""

from dataclasses import replace

import torch
from torch import Tensor, nn

from minuet.models.autoencoder import Autoencoder, AutoencoderConfig
from minuet.models.config import DenoiserConfig
from minuet.models.denoiser import Denoiser

TINY = DenoiserConfig(
    fine=8,
    coarse=16,
    depth=1,
    encoder=8,
    text=16,
    text_depth=1,
    film=16,
    shuffle=8,
    script=8,
    landmarks=2,
    traits=2,
    puppet=True,
    parts=3,
    frames=4,
    side=16,
    vocabulary=32,
)
CODEC = AutoencoderConfig(factor=4, latent=4, width=8, blocks=1, frames=4)
LEVELS = (1.0, 0.7, 0.0)
LATENT: dict[str, int | str | bool] = {"head": "latent", "landmarks": 0, "puppet": False}


def shaken(module: nn.Module, size: float = 0.05) -> None:
    """Add a little to every weight: what starts at zero would hide mistakes."""
    rng = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=rng), alpha=size)


def denoiser(**changes: int | str | bool) -> Denoiser:
    """A seeded tiny denoiser."""
    torch.manual_seed(0)
    network = Denoiser(replace(TINY, **changes))  # type: ignore[arg-type]
    shaken(network)
    return network.eval()


def autoencoder() -> Autoencoder:
    """A seeded tiny autoencoder."""
    torch.manual_seed(0)
    codec = Autoencoder(CODEC)
    shaken(codec)
    return codec.eval()


def ranks(program: torch.export.ExportedProgram) -> dict[str, int]:
    """The rank of every tensor in a captured program."""
    values = {f"{node.name}: {node.target}": node.meta.get("val") for node in program.graph.nodes}
    return {name: value.ndim for name, value in values.items() if isinstance(value, Tensor)}
