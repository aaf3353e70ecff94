"""A decoder of colours learns transparency, and unlearns nothing."""

from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

from minuet.contracts.errors import RequestError
from minuet.distill.alpha import AlphaDecoding, add_alpha, premultiplied
from minuet.distill.predict import Condition
from tests.distill.squares import squares


@dataclass
class Pictures:
    x0: Tensor

    @property
    def condition(self) -> Condition:
        return {}


def decoder() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1), nn.SiLU(), nn.Conv2d(16, 3, 3, padding=1, bias=True)
    )


@torch.no_grad()
def test_colours_are_what_they_were_and_alpha_begins_as_their_mean() -> None:
    network, latents = decoder(), torch.randn(2, 3, 8, 8)
    before = network(latents)
    after = add_alpha(network)(latents)
    assert torch.equal(after[:, :3], before)
    assert_close(after[:, 3], before.mean(1))


@torch.no_grad()
def test_a_decoder_of_diffusers_gains_alpha_too() -> None:
    diffusers = pytest.importorskip("diffusers")
    vae = diffusers.AutoencoderKL(block_out_channels=(8,), norm_num_groups=4).eval()
    latents = torch.randn(1, 4, 8, 8)
    before = vae.decode(latents).sample
    add_alpha(vae.decoder)
    after = vae.decode(latents).sample
    assert after.shape[1] == 4
    assert_close(after[:, :3], before, atol=1e-5, rtol=1e-5)


def test_alpha_is_learnt_and_colours_are_kept() -> None:
    clips = squares(4, 16).clip_BTCHW
    network = add_alpha(decoder())
    objective, rng = AlphaDecoding(encode=lambda rgb: rgb), torch.Generator().manual_seed(0)
    optimizer = torch.optim.Adam(network.parameters(), 1e-2)
    first: dict[str, float] = {}
    for _ in range(250):
        loss, parts = objective(network, Pictures(clips), rng)
        first = first or {name: value.item() for name, value in parts.items()}
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert parts["alpha"] < 0.25 * first["alpha"] and parts["pixels"] < 0.25 * first["pixels"]
    with torch.no_grad():
        rgba = clips.flatten(0, 1) * 0.5 + 0.5
        shown = (rgba[:, :3] + 1 - rgba[:, 3:]) * 2 - 1
        assert (premultiplied(network(shown)) - rgba).abs().mean() < 0.08


def test_a_perfect_decoders_answer_is_the_sticker_itself() -> None:
    rgba = squares(1, 16).clean_NCHW
    over = torch.cat([rgba[:, :3] + 1 - rgba[:, 3:], rgba[:, 3:]], dim=1) * 2 - 1
    assert_close(premultiplied(over), rgba, atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("network", "told"),
    [(nn.Linear(3, 3), "there is none"), (nn.Conv2d(3, 4, 1), "'' gives 4")],
)
def test_what_gives_no_colours_gets_no_alpha(network: nn.Module, told: str) -> None:
    with pytest.raises(RequestError, match=told):
        add_alpha(network)
