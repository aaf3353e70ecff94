"""Attention in products and a plain softmax is the same attention; to one key it is nothing."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from minuet.export.rewrites.attention import ExplicitAttention, OneKey
from minuet.export.rewrites.constants import FoldConstants
from tests.export.rewrites.rewriting import random, rewriting

Q, K = (2, 3, 5, 4), (2, 3, 7, 4)


@pytest.mark.parametrize("scale", [None, 0.3])
def test_unmasked_attention_becomes_two_products(scale: float | None) -> None:
    def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return F.scaled_dot_product_attention(q, k, v, scale=scale)

    done = rewriting(attend, (random(*Q), random(*K), random(*K)), ExplicitAttention())
    done.assert_equal()
    assert done.count("bmm") == 2 and done.count("scaled_dot") == 0


def test_causal_attention_stays_causal() -> None:
    def attend(q: Tensor) -> Tensor:
        return F.scaled_dot_product_attention(q, q, q, is_causal=True)

    done = rewriting(attend, (random(*Q),), ExplicitAttention())
    done.assert_equal()
    assert done.log.applied["explicit attention"] == 1


@pytest.mark.parametrize("kind", ["bool", "float"])
def test_a_constant_mask_is_kept(kind: str) -> None:
    def attend(q: Tensor, k: Tensor) -> Tensor:
        allowed = torch.arange(7) < 4
        mask = allowed if kind == "bool" else torch.zeros(7).masked_fill(~allowed, -torch.inf)
        mask = mask.to(q.dtype) if kind == "float" else mask
        return F.scaled_dot_product_attention(q, k, k, attn_mask=mask.expand(2, 1, 5, 7))

    done = rewriting(attend, (random(*Q), random(*K)), FoldConstants(), ExplicitAttention())
    done.assert_equal()
    assert done.count("scaled_dot") == 0


def test_a_mask_that_is_given_is_refused() -> None:
    def attend(q: Tensor, k: Tensor, mask: Tensor) -> Tensor:
        return F.scaled_dot_product_attention(q, k, k, attn_mask=mask)

    inputs = (random(*Q), random(*K), random(2, 1, 5, 7))
    done = rewriting(attend, inputs, ExplicitAttention(), OneKey())
    (place,) = done.log.refused
    assert place.refusal is not None and "not constant" in place.refusal.reason
    assert done.count("scaled_dot") == 1


def test_a_query_without_keys_is_refused() -> None:
    def attend(q: Tensor, k: Tensor) -> Tensor:
        return F.scaled_dot_product_attention(q, k, k, attn_mask=(torch.arange(7) > 9).expand(5, 7))

    done = rewriting(attend, (random(*Q), random(*K)), FoldConstants(), ExplicitAttention())
    (place,) = done.log.refused
    assert place.refusal is not None and "without keys" in place.refusal.reason


def test_attention_to_one_key_is_its_value() -> None:
    def attend(q: Tensor, image: Tensor) -> Tensor:
        return F.scaled_dot_product_attention(q.sin(), image, image.cos())

    done = rewriting(attend, (random(*Q), random(2, 3, 1, 4)), OneKey())
    done.assert_equal()
    assert (done.count("scaled_dot"), done.count("sin")) == (0, 0)


def test_attention_to_two_keys_is_left_alone() -> None:
    def attend(q: Tensor, image: Tensor) -> Tensor:
        return F.scaled_dot_product_attention(q, image, image)

    done = rewriting(attend, (random(*Q), random(2, 3, 2, 4)), OneKey())
    assert done.log.places == () and done.count("scaled_dot") == 1


def test_one_key_behind_a_mask_that_is_given_is_refused() -> None:
    def attend(q: Tensor, image: Tensor, mask: Tensor) -> Tensor:
        return F.scaled_dot_product_attention(q, image, image, attn_mask=mask)

    inputs = (random(*Q), random(2, 3, 1, 4), random(2, 1, 5, 1))
    done = rewriting(attend, inputs, OneKey())
    (place,) = done.log.refused
    assert place.refusal is not None and "only key" in place.refusal.reason
