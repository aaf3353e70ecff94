"""Convolutions, pools and products of Core ML, against sums over windows and torch."""

import itertools
import math
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from minuet.contracts.tensors import Array
from minuet.runtimes.mil.operations import OPERATIONS

RNG = np.random.default_rng(7)


def drawn(*shape: int) -> Array:
    return RNG.standard_normal(shape).astype(np.float32)


def windows(x: Array, kernel: int, stride: int) -> list[tuple[int, int]]:
    rows, columns = (range(0, n - kernel + 1, stride) for n in x.shape[-2:])
    return list(itertools.product(rows, columns))


def convolved(x: Array, weight: Array, stride: int) -> Array:
    """A sum over each window."""
    k = weight.shape[-1]
    rows = [
        np.einsum("ncij,ocij->no", x[:, :, i : i + k, j : j + k], weight)
        for i, j in windows(x, k, stride)
    ]
    side = (x.shape[-2] - k) // stride + 1
    return np.stack(rows, -1).reshape(x.shape[0], weight.shape[0], side, -1)


@pytest.mark.parametrize(
    ("kind", "size", "stride", "pads"),
    [
        ("valid", 7, 2, (0, 0)),
        ("same", 7, 1, (1, 1)),
        ("same", 8, 2, (0, 1)),  # one row is added: after
        ("same_lower", 8, 2, (1, 0)),  # before
        ("custom", 7, 2, (2, 1)),
    ],
)
def test_a_convolution_pads_in_four_ways(
    kind: str, size: int, stride: int, pads: tuple[int, int]
) -> None:
    x, weight, bias = drawn(2, 3, size, size), drawn(4, 3, 3, 3), drawn(4)
    arguments = {"x": x, "weight": weight, "bias": bias, "pad_type": kind}
    found = OPERATIONS["conv"](
        {**arguments, "pad": [*pads, *pads], "strides": [stride, stride], "groups": 1}
    )
    expected = convolved(np.pad(x, [(0, 0), (0, 0), pads, pads]), weight, stride)
    np.testing.assert_allclose(found.numpy(), expected + bias[:, None, None], atol=1e-4)


@pytest.mark.parametrize("axes", [1, 2, 3])
def test_a_convolution_has_one_to_three_axes(axes: int) -> None:
    x, weight = torch.randn(1, 4, *[6] * axes), torch.randn(6, 2, *[3] * axes)
    found = OPERATIONS["conv"](
        {"x": x, "weight": weight, "pad_type": "custom", "pad": [1, 2] * axes}
        | {"dilations": [2] * axes, "groups": 2}
    )
    function: Any = (F.conv1d, F.conv2d, F.conv3d)[axes - 1]
    expected = function(F.pad(x, [1, 2] * axes), weight, None, 1, 0, 2, 2)
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("axes", [1, 2, 3])
@pytest.mark.parametrize(("pad", "more"), [((0, 0), 0), ((1, 1), 1), ((2, 1), 0)])
def test_a_transposed_convolution_spreads_and_crops(
    axes: int, pad: tuple[int, int], more: int
) -> None:
    x, weight, bias = torch.randn(1, 4, *[3] * axes), torch.randn(4, 2, *[3] * axes), torch.randn(4)
    arguments = {"x": x, "weight": weight, "bias": bias, "groups": 2, "strides": [2] * axes}
    side = 2 * 2 + 3 - sum(pad) + more
    arguments |= {"pad_type": "custom", "pad": list(pad) * axes}
    found = OPERATIONS["conv_transpose"](
        arguments | ({"output_shape": [1, 4, *[side] * axes]} if more else {})
    )
    function: Any = (F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d)[axes - 1]
    whole = function(x, weight, bias, 2, 0, 1 if more else 0, 2)
    kept = (slice(pad[0], pad[0] + side),) * axes
    torch.testing.assert_close(found, whole[(..., *kept)])
    if pad[0] == pad[1]:
        torch.testing.assert_close(found, function(x, weight, bias, 2, pad[0], more, 2))


def test_a_transposed_convolution_may_keep_the_stride_times_the_size() -> None:
    x, weight = torch.randn(1, 2, 3, 3), torch.randn(2, 2, 4, 4)
    found = OPERATIONS["conv_transpose"](
        {"x": x, "weight": weight, "pad_type": "same", "strides": [2, 2]}
    )
    torch.testing.assert_close(found, F.conv_transpose2d(x, weight, None, 2, 1))


@pytest.mark.parametrize("ceil", [False, True])
@pytest.mark.parametrize(("size", "pad"), [(7, 0), (8, 0), (8, 1), (9, 1)])
@pytest.mark.parametrize("axes", [1, 2])
def test_a_pool_is_torchs(axes: int, size: int, pad: int, ceil: bool) -> None:
    x = torch.randn(1, 2, *[size] * axes)
    arguments = {"x": x, "kernel_sizes": [3] * axes, "strides": [2] * axes, "ceil_mode": ceil}
    arguments |= {"pad_type": "custom", "pad": [pad] * 2 * axes}
    highest: Any = (F.max_pool1d, F.max_pool2d)[axes - 1]
    torch.testing.assert_close(
        OPERATIONS["max_pool"](arguments), highest(x, 3, 2, pad, ceil_mode=ceil)
    )
    mean: Any = (F.avg_pool1d, F.avg_pool2d)[axes - 1]
    for excluded in (False, True):
        found = OPERATIONS["avg_pool"](arguments | {"exclude_padding_from_average": excluded})
        expected = mean(x, 3, 2, pad, ceil_mode=ceil, count_include_pad=not excluded)
        torch.testing.assert_close(found, expected)


def test_a_pool_over_three_axes_and_uneven_padding() -> None:
    x = drawn(1, 1, 4, 4, 4)
    arguments = {"x": x, "kernel_sizes": [2, 2, 2], "strides": [2, 2, 2], "pad_type": "valid"}
    parts = x.reshape(2, 2, 2, 2, 2, 2)
    found = OPERATIONS["max_pool"](arguments).numpy()
    np.testing.assert_array_equal(found[0, 0], parts.max((1, 3, 5)))
    found = OPERATIONS["avg_pool"](
        {"x": x[..., 0], "kernel_sizes": [2, 2], "pad_type": "custom", "pad": [1, 0, 0, 1]}
    )
    expected = F.avg_pool2d(F.pad(torch.from_numpy(x[..., 0]), [0, 1, 1, 0]), 2, 1)
    torch.testing.assert_close(found, expected)


def test_an_l2_pool_is_a_length() -> None:
    x = drawn(1, 2, 4, 4)
    found = OPERATIONS["l2_pool"](
        {"x": x, "kernel_sizes": [2, 2], "strides": [2, 2], "pad_type": "valid"}
    )
    squares = (x * x).reshape(1, 2, 2, 2, 2, 2).sum((3, 5))
    np.testing.assert_allclose(found.numpy(), np.sqrt(squares), rtol=1e-5)


def test_products_are_numpys() -> None:
    x, y = drawn(2, 3, 4), drawn(5, 4)
    np.testing.assert_allclose(
        OPERATIONS["linear"]({"x": x, "weight": y, "bias": drawn(5) * 0}).numpy(),
        x @ y.T,
        atol=1e-5,
    )
    turned: dict[str, Any] = {"x": x, "y": drawn(2, 6, 3), "transpose_x": True, "transpose_y": True}
    expected = x.transpose(0, 2, 1) @ turned["y"].transpose(0, 2, 1)
    np.testing.assert_allclose(OPERATIONS["matmul"](turned).numpy(), expected, atol=1e-5)
    a, b = drawn(2, 3, 4, 5), drawn(2, 5, 4, 6)
    found = OPERATIONS["einsum"]({"equation": "nchw,nwhu->nchu", "values": [a, b]})
    np.testing.assert_allclose(found.numpy(), np.einsum("nchw,nwhu->nchu", a, b), atol=1e-4)


@pytest.mark.parametrize("mask", ["none", "bool", "float"])
def test_attention_is_its_formula(mask: str) -> None:
    q, k, v = drawn(1, 2, 3, 4), drawn(1, 2, 5, 4), drawn(1, 2, 5, 4)
    scores = q @ k.transpose(0, 1, 3, 2) / math.sqrt(4)
    arguments: dict[str, Any] = {"query": q, "key": k, "value": v}
    if mask == "float":
        arguments["attn_mask"] = bias = drawn(3, 5)
        scores = scores + bias
    if mask == "bool":
        arguments["attn_mask"] = kept = np.tril(np.ones((3, 5), bool))
        scores = np.where(kept, scores, -np.inf)
    weights = np.exp(scores) / np.exp(scores).sum(-1, keepdims=True)
    found = OPERATIONS["scaled_dot_product_attention"](arguments)
    np.testing.assert_allclose(found.numpy(), weights @ v, atol=1e-5)
