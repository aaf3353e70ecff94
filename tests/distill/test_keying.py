"""A flat background becomes transparency; what is no flat background is refused."""

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from minuet.contracts.errors import Refusal
from minuet.distill.keying import keyed

SIDE = 48
WHITE = torch.ones(3)
GREEN = torch.tensor([0.1, 0.8, 0.2])


def disc(radius: float, x: float = 0.0, y: float = 0.0) -> Tensor:
    """Coverage of a disc, its edge one pixel wide."""
    line = (torch.arange(SIDE) + 0.5) / SIDE * 2 - 1
    away = ((line[None] - x) ** 2 + (line[:, None] - y) ** 2).sqrt()
    return ((radius - away) * SIDE / 2 + 0.5).clamp(0, 1)


def sticker() -> Tensor:
    """Flat art, premultiplied: a red disc with a dark spot and a white eye."""
    whole, spot, eye = disc(0.6), disc(0.2, -0.2), disc(0.15, 0.25)
    colour = torch.tensor([0.9, 0.2, 0.15])[:, None, None] * whole
    colour = colour * (1 - spot) + torch.tensor([0.2, 0.1, 0.1])[:, None, None] * spot
    colour = colour * (1 - eye) + eye
    return torch.cat([colour, whole[None]])


def over(rgba_CHW: Tensor, background: Tensor) -> Tensor:
    return (rgba_CHW[:3] + (1 - rgba_CHW[3:]) * background[:, None, None])[None]


@pytest.mark.parametrize("background", [WHITE, GREEN])
def test_flat_art_gets_the_alpha_it_was_drawn_with(background: Tensor) -> None:
    found = keyed(over(sticker(), background))
    assert isinstance(found, Tensor)
    error = (found[0] - sticker()).abs()
    assert error[3].mean() < 0.005 and error[3].max() < 0.2
    assert error[:3].mean() < 0.005
    assert not found[0, :, 0].any() and found[0, 3, 24, 24] == 1


def test_the_backgrounds_colour_inside_the_sticker_is_the_stickers() -> None:
    found = keyed(over(sticker(), WHITE))
    assert isinstance(found, Tensor)
    eye = disc(0.15, 0.25) == 1
    assert (found[0, :, eye] > 0.99).all()


def test_small_noise_in_the_background_is_background() -> None:
    rng = torch.Generator().manual_seed(0)
    frames = over(sticker(), WHITE).expand(2, -1, -1, -1)
    noisy = (frames - 0.03 * torch.rand(frames.shape, generator=rng)).clamp(0, 1)
    found = keyed(noisy)
    assert isinstance(found, Tensor)
    assert not found[:, 3, :4].any()
    assert_close(found[0, 3], sticker()[3], atol=0.25, rtol=0)


def test_a_landscape_is_refused_with_the_frame() -> None:
    rng = torch.Generator().manual_seed(0)
    frames = torch.cat([over(sticker(), WHITE), torch.rand(1, 3, SIDE, SIDE, generator=rng)])
    found = keyed(frames)
    assert isinstance(found, Refusal) and "frame 1 has no flat background" in str(found)
