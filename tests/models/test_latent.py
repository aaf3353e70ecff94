"""The latent animator answers the same call as the composing one."""

import pytest
import torch
from torch.export import ExportedProgram
from torch.testing import assert_close

from minuet.contracts.errors import RequestError
from minuet.models.compose import premultiply, unpremultiply
from minuet.models.latent import LatentAnimator
from tests.models.tiny import LATENT, LEVELS, autoencoder, denoiser, ranks

MAX_RANK = 5
PIXEL_STEP = 1


@pytest.fixture(scope="module")
def animator() -> LatentAnimator:
    return LatentAnimator(denoiser(**LATENT), autoencoder(), LEVELS).eval()


@torch.no_grad()
def test_frame_zero_is_the_image(animator: LatentAnimator) -> None:
    image, tokens, noise = animator.example()
    assert animator.side == 64 and noise.shape == (1, 4, 4, 16, 16)
    frames = animator(image, tokens, noise)
    assert frames.dtype == torch.uint8 and frames.shape == (4, 4, 64, 64)
    seen = image[0, 3] >= 1 / 255  # nothing shows what colour the rest has
    error = (frames[0].float() - (image[0] * 255).round()).abs()
    assert error[:, seen].max() <= PIXEL_STEP
    animator.signature().outputs[0].check(frames.numpy())


@torch.no_grad()
def test_a_network_that_says_nothing_gives_the_reconstruction(animator: LatentAnimator) -> None:
    still = LatentAnimator(denoiser(**LATENT), animator.codec, LEVELS)
    torch.nn.init.zeros_(still.network.out.weight)
    torch.nn.init.zeros_(still.network.out.bias)  # type: ignore[arg-type]
    image, tokens, noise = still.example()
    again = animator.codec(premultiply(image).expand(4, -1, -1, -1))
    expected = (unpremultiply(again) * 255).round()[1:]
    assert (still(image, tokens, noise)[1:].float() - expected).abs().max() <= PIXEL_STEP


@pytest.fixture(scope="module")
def program(animator: LatentAnimator) -> ExportedProgram:
    with torch.no_grad():
        return torch.export.export(animator, animator.example(), strict=False)


@torch.no_grad()
def test_the_captured_program_equals_eager(
    animator: LatentAnimator, program: ExportedProgram
) -> None:
    again = animator.example(seed=1)
    assert_close(program.module()(*again), animator(*again), atol=PIXEL_STEP, rtol=0)


def test_no_tensor_in_the_program_has_more_than_five_axes(program: ExportedProgram) -> None:
    found = ranks(program)
    assert len(found) > 100
    assert not {name: rank for name, rank in found.items() if rank > MAX_RANK}


def test_a_network_that_does_not_fit_the_latents_is_refused() -> None:
    with pytest.raises(RequestError, match="head 'latent' over 4 channels"):
        LatentAnimator(denoiser(), autoencoder(), LEVELS)
    with pytest.raises(RequestError, match="8 and 4"):
        LatentAnimator(denoiser(**LATENT, channels=8), autoencoder(), LEVELS)
