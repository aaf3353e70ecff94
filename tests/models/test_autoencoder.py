"""The autoencoder's shapes and promises; what it learns is tested with its loss."""

import pytest
import torch
from torch.testing import assert_close

from minuet.contracts.errors import RequestError
from minuet.models.autoencoder import CODECS, Autoencoder, AutoencoderConfig
from tests.models.tiny import autoencoder


@pytest.mark.parametrize("name", CODECS)
def test_latents_are_smaller_by_the_factor_and_bounded(name: str) -> None:
    config = CODECS[name]
    codec = Autoencoder(config)
    frames = torch.rand(config.frames, 4, 32, 32)
    latents = codec.encode(frames)
    side = 32 // config.factor
    assert latents.shape == (config.frames, config.latent, side, side)
    assert latents.abs().max() < 1
    assert codec.decode(latents).shape == frames.shape


def test_a_latent_shows_its_own_frame_only() -> None:
    codec, frames = autoencoder(), torch.rand(4, 4, 16, 16)
    assert_close(codec.encode(frames)[2:3], codec.encode(frames[2:3]))


def test_decoding_uses_the_neighbours_around_the_loop() -> None:
    codec = autoencoder()
    latents = torch.rand(4, 4, 4, 4)
    other = latents.clone()
    other[0] = -1
    changed = (codec.decode(latents) - codec.decode(other)).abs().amax((1, 2, 3)) > 1e-6
    assert changed.tolist() == [True, True, False, True]


@pytest.mark.parametrize(("factor", "latent", "message"), [(3, 4, "not 3"), (4, 0, "at least one")])
def test_an_impossible_autoencoder_is_refused(factor: int, latent: int, message: str) -> None:
    with pytest.raises(RequestError, match=message):
        AutoencoderConfig(factor=factor, latent=latent)
