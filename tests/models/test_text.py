"""Captions: padding says nothing, words count alike."""

import torch
from torch.testing import assert_close

from minuet.models.text import CaptionEncoder, unconditional
from tests.models.tiny import shaken


def test_the_mean_is_over_the_words_and_not_the_padding() -> None:
    encoder = CaptionEncoder(16, length=6, width=8, depth=1)
    shaken(encoder)
    tokens = torch.tensor([[3, 5, 7, 0, 0, 0]], dtype=torch.int32)
    each, mean = encoder(tokens)
    assert_close(mean, each[:, :3].mean(1), rtol=1e-3, atol=1e-3)


def test_an_empty_caption_is_finite_and_says_nothing() -> None:
    encoder = CaptionEncoder(16, length=6, width=8, depth=1)
    tokens = torch.randint(1, 16, (2, 6), dtype=torch.int32)
    nothing = unconditional(tokens)
    assert nothing.dtype == torch.int32 and not nothing.any()
    each, mean = encoder(nothing)
    assert each.isfinite().all() and not mean.any()
