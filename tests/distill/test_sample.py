"""The sampler against its steps written out."""

import torch
from torch.testing import assert_close

from minuet.distill.path import generator, noise
from minuet.distill.sample import sample
from minuet.models.compose import compose
from tests.distill.squares import squares
from tests.models.tiny import LEVELS, denoiser


def test_sampling_is_guided_euler_steps() -> None:
    network, batch = denoiser(), squares(side=16)
    sticker, tokens = batch.sticker_BCHW, torch.randint(1, 32, (2, 16), dtype=torch.int32)
    z = start = noise(0, 0, (2, 4, 4, 16, 16))
    got = sample(network, sticker, tokens, start, LEVELS, guidance=2.0, bfloat16=False)
    with torch.no_grad():
        said, empty = network.encode(sticker, tokens), network.encode(sticker, tokens * 0)
        for t, s in ((1.0, 0.7), (0.7, 0.0)):
            level = torch.full((2,), t)
            with_words = network.fields(z, level, sticker, said)
            without = network.fields(z, level, sticker, empty)
            fields = without + (with_words + without * -1.0) * 2.0
            clean = compose(sticker, fields, 4).reshape(z.shape) * 2 - 1
            z = z + (s - t) * (z - clean) / t
    assert_close(got.affine_NK6, fields.affine_NK6, atol=1e-5, rtol=1e-4)
    assert_close(got.paint_NCHW, fields.paint_NCHW, atol=1e-5, rtol=1e-4)


def test_without_guidance_an_empty_caption_is_like_any_other() -> None:
    network, batch = denoiser(), squares(side=16)
    tokens = torch.zeros(2, 16, dtype=torch.int32)
    start = noise(0, 0, (2, 4, 4, 16, 16))
    args = (network, batch.sticker_BCHW, tokens, start, LEVELS)
    once = sample(*args, guidance=1.0, bfloat16=False)
    twice = sample(*args, guidance=3.0, bfloat16=False)
    assert_close(once.affine_NK6, twice.affine_NK6, atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_noising_anew_starts_each_step_from_the_last_estimate_alone() -> None:
    network, batch = denoiser(scales=1), squares(side=16)
    sticker, tokens = batch.sticker_BCHW, torch.randint(1, 32, (2, 16), dtype=torch.int32)
    start = noise(0, 0, (2, 4, 4, 16, 16))
    given = (network, sticker, tokens, start, LEVELS)
    got = sample(*given, scales=(2.0,), fresh=generator(7), bfloat16=False)
    said = network.encode(sticker, tokens, torch.full((2, 1), 2.0))
    first = network.fields(start, torch.ones(2), sticker, said)
    clean = compose(sticker, first, 4).reshape(start.shape) * 2 - 1
    z = 0.3 * clean + 0.7 * torch.randn(start.shape, generator=generator(7))
    fields = network.fields(z, torch.full((2,), 0.7), sticker, said)
    assert_close(got.affine_NK6, fields.affine_NK6, atol=1e-5, rtol=1e-4)
    assert_close(got.paint_NCHW, fields.paint_NCHW, atol=1e-5, rtol=1e-4)
