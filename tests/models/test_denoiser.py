"""The denoiser: sizes as named, frames and clips kept apart, the given frame given."""

from dataclasses import replace

import pytest
import torch
from torch.testing import assert_close

from minuet.contracts.errors import RequestError
from minuet.models.compose import compose
from minuet.models.config import SIZES, DenoiserConfig
from minuet.models.denoiser import Denoiser, first_frame
from tests.models.tiny import LATENT, TINY, denoiser

PARAMETERS = {"demo": 0.6e6, "phone-60m": 60e6, "phone-300m": 300e6}
NAMED_WITHIN = 0.1  # a size's name is a round number


def inputs(clips: int = 2) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    rng = torch.Generator().manual_seed(2)
    noisy = torch.randn(clips, 4, 4, 16, 16, generator=rng)
    sticker = torch.rand(clips, 4, 16, 16, generator=rng)
    tokens = torch.randint(1, 32, (clips, 16), generator=rng, dtype=torch.int32)
    return noisy, sticker, tokens


@pytest.mark.parametrize("name", PARAMETERS)
def test_a_size_has_about_the_parameters_in_its_name(name: str) -> None:
    with torch.device("meta"):
        network = Denoiser(SIZES[name])
    count = sum(parameter.numel() for parameter in network.parameters())
    assert count == pytest.approx(PARAMETERS[name], rel=NAMED_WITHIN)


def test_a_new_network_leaves_the_sticker_still() -> None:
    network = Denoiser(TINY)
    noisy, sticker, tokens = inputs()
    fields = network.fields(
        noisy, torch.tensor([0.9, 0.2]), sticker, network.encode(sticker, tokens)
    )
    assert not fields.affine_NK6.any() and not fields.dense_N2HW.any()


def test_the_given_frame_is_given_whatever_the_weights() -> None:
    network = denoiser()
    noisy, sticker, tokens = inputs()
    fields = network.fields(
        noisy, torch.tensor([0.9, 0.2]), sticker, network.encode(sticker, tokens)
    )
    assert fields.affine_NK6.reshape(2, 4, -1)[:, 1:].abs().min() > 0
    frames = compose(sticker, fields, 4).reshape(2, 4, 4, 16, 16)
    assert_close(frames[:, 0], sticker, atol=1e-5, rtol=0)


def test_a_clip_does_not_depend_on_its_neighbours_in_the_batch() -> None:
    network = denoiser()
    noisy, sticker, tokens = inputs()
    t = torch.tensor([0.9, 0.2])
    both = network.fields(noisy, t, sticker, network.encode(sticker, tokens))
    context = network.encode(sticker[1:], tokens[1:])
    alone = network.fields(noisy[1:], t[1:], sticker[1:], context)
    assert_close(both.affine_NK6[4:], alone.affine_NK6, atol=1e-5, rtol=1e-4)
    assert_close(both.paint_NCHW[4:], alone.paint_NCHW, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("what", ["noise", "sticker", "words", "level"])
def test_the_answer_depends_on_everything_that_is_known(what: str) -> None:
    network = denoiser()
    noisy, sticker, tokens = inputs(1)
    t = torch.tensor([0.5])
    before = network.fields(noisy, t, sticker, network.encode(sticker, tokens))
    if what == "noise":
        noisy = noisy + 1
    elif what == "sticker":
        sticker = sticker.flip(-1)
    elif what == "words":
        tokens = 31 - tokens
    else:
        t = t / 2
    after = network.fields(noisy, t, sticker, network.encode(sticker, tokens))
    assert (before.affine_NK6 - after.affine_NK6).abs().max() > 1e-6


def test_the_latent_heads_residual_leaves_the_given_frame() -> None:
    network = denoiser(**LATENT)
    noisy, sticker, tokens = inputs()
    t = torch.tensor([0.9, 0.2])
    residual = network.residual(noisy, t, sticker, network.encode(sticker, tokens))
    assert residual.shape == noisy.shape
    assert not residual[:, 0].any() and (residual[:, 1:].abs().amax((2, 3, 4)) > 0).all()


def test_first_frame_marks_the_first() -> None:
    assert first_frame(4).tolist() == [1.0, 0.0, 0.0, 0.0]


def test_a_config_survives_json() -> None:
    assert DenoiserConfig.from_json(TINY.to_json()) == TINY


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"head": "wings"}, "head is 'compose' or 'latent', not 'wings'"),
        ({"side": 20}, "side 20 must divide by 8"),
        ({"coarse": 18}, "coarse 18"),
        ({"encoder": 7}, "encoder 7"),
        ({"fine": 10**9}, r"\['fine'\] must be whole numbers"),
        ({"heads": 0}, r"\['heads'\] must be whole numbers"),
        ({"landmarks": -1}, "landmarks -1 is 0 or in"),
        ({"script": 0}, "landmarks need a script"),
        ({"puppet": "yes"}, "puppet 'yes' is true or false"),
        ({"head": "latent"}, "needs the head 'compose'"),
        ({"depth": "2"}, r"\['depth'\] must be whole numbers"),
        ({"wheels": 4}, r"unknown fields \['wheels'\]; upgrade minuet"),
    ],
)
def test_an_impossible_config_is_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(RequestError, match=message):
        DenoiserConfig.from_json(TINY.to_json() | change)


def test_changes_are_checked_like_everything_else() -> None:
    with pytest.raises(RequestError, match="must divide"):
        replace(TINY, heads=5)
