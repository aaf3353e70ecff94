"""The autoencoder learns its world, and a denoiser learns over its latents."""

from pathlib import Path

import pytest
import torch
from torch.testing import assert_close

from minuet.distill.codec import (
    LatentFlowMatching,
    LatentPredictor,
    Reconstruction,
    gradient_loss,
)
from minuet.distill.loop import Objective, TrainConfig, Trainer
from minuet.models.compose import premultiply
from minuet.models.latent import LatentAnimator
from tests.distill.squares import MIRROR, NOTHING, draw, squares
from tests.models.tiny import LATENT, autoencoder, denoiser


def losses(network: torch.nn.Module, objective: Objective, folder: Path, name: str) -> list[float]:
    config = TrainConfig(
        clips=120, batch=2, warmup_clips=4, log_steps=6, save_seconds=1e9, learning_rate=4e-3
    )
    found: list[float] = []
    trainer = Trainer(network.train(), config, folder)
    trainer.run(objective, draw, lambda progress: found.append(progress.losses[name]))
    return found


def test_the_gradient_loss_sees_edges_and_no_levels() -> None:
    flat, edge = torch.zeros(1, 1, 2, 4), torch.zeros(1, 1, 2, 4)
    edge[..., 2:] = 1
    assert gradient_loss(flat + 0.3, flat) == pytest.approx(0, abs=1e-6)
    assert gradient_loss(edge, flat) == pytest.approx(1 / 3)  # one of three steps across
    assert gradient_loss(1 - edge, edge) == pytest.approx(2 / 3)


def test_the_loss_is_the_sum_of_its_parts_and_nothing_for_a_perfect_codec() -> None:
    class Perfect(type(autoencoder())):  # type: ignore[misc]
        def encode(self, x_NCHW: torch.Tensor) -> torch.Tensor:
            return x_NCHW

        def decode(self, z_NZhw: torch.Tensor) -> torch.Tensor:
            return z_NZhw

    perfect = Perfect(autoencoder().config)
    objective = Reconstruction(augment=NOTHING, mirror=MIRROR, jitter=0.0, bfloat16=False)
    total, parts = objective(perfect, squares(), torch.Generator())
    assert float(total) == 0 and set(parts) == {"pixels", "edges", "alpha"}
    heavy = Reconstruction(augment=NOTHING, mirror=MIRROR, edges=2.0, alpha=3.0, bfloat16=False)
    total, parts = heavy(autoencoder(), squares(side=16), torch.Generator().manual_seed(0))
    assert_close(total, parts["pixels"] + 2 * parts["edges"] + 3 * parts["alpha"])


def test_an_autoencoder_learns_in_a_few_steps(tmp_path: Path) -> None:
    objective = Reconstruction(augment=NOTHING, mirror=MIRROR, bfloat16=False)
    found = losses(autoencoder(), objective, tmp_path, "pixels")
    assert found[-1] < 0.6 * found[0]


def test_a_denoiser_learns_over_latents_and_leaves_the_codec_alone(tmp_path: Path) -> None:
    codec = autoencoder().requires_grad_(False)
    before = {name: value.clone() for name, value in codec.state_dict().items()}
    network = denoiser(**LATENT, side=8)  # latents of 32-pixel frames
    objective = LatentFlowMatching(codec=codec, augment=NOTHING, mirror=MIRROR, bfloat16=False)
    rng = torch.Generator().manual_seed(0)
    batch = squares(side=32)
    assert objective.latents(batch).shape == (2, 4, 4, 8, 8)
    config = TrainConfig(clips=60, batch=2, warmup_clips=4, log_steps=6, learning_rate=4e-3)
    found: list[float] = []
    trainer = Trainer(network.train(), config, tmp_path)
    trainer.run(objective, lambda *_: batch, lambda progress: found.append(progress.losses["clip"]))
    assert found[-1] < 0.7 * found[0]
    assert all(torch.equal(before[k], v) for k, v in codec.state_dict().items())
    assert objective(network, batch, rng)[0].isfinite()


@torch.no_grad()
def test_a_latent_denoiser_is_asked_what_its_animator_asks() -> None:
    network, codec = denoiser(**LATENT), autoencoder()
    animator = LatentAnimator(network, codec, (0.7, 0.0)).eval()
    image, tokens, noisy = animator.example()
    sticker = premultiply(image)
    first = codec.encode(sticker)
    expected = animator.step(0, noisy, first, network.encode(first * 0.5 + 0.5, tokens))
    found = LatentPredictor(network, codec)(
        noisy, torch.tensor([0.7]), {"sticker": sticker, "tokens": tokens}
    )
    assert_close(found, expected, atol=1e-5, rtol=1e-5)
