"""ML Program operations with weights and windows: convolution, pooling, products, attention."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from minuet.runtimes.mil.tensors import Args, Handler, ints, optional, several, tensor

CONVOLUTIONS: Any = (F.conv1d, F.conv2d, F.conv3d)
TRANSPOSED: Any = (F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d)
AVERAGES: Any = (F.avg_pool1d, F.avg_pool2d, F.avg_pool3d)
MAXIMA: Any = (F.max_pool1d, F.max_pool2d, F.max_pool3d)

Pairs = list[tuple[int, int]]  # before and after, one an axis of space


def per_axis(a: Args, name: str, axes: int) -> list[int]:
    """A stride or a dilation an axis; 1 where left out."""
    return [1] * axes if a.get(name) is None else ints(a[name])


def padding(a: Args, sizes: list[int], reach: list[int], stride: list[int]) -> Pairs:
    """What is added around each axis, in one of the four ways to say it."""
    kind = str(a.get("pad_type", "valid"))
    if kind == "valid":
        return [(0, 0)] * len(sizes)
    if kind == "custom":
        given = ints(a["pad"])
        return list(zip(given[::2], given[1::2], strict=True))
    pairs: Pairs = []
    for n, k, s in zip(sizes, reach, stride, strict=True):
        total = max(0, (math.ceil(n / s) - 1) * s + k - n)
        small, large = total // 2, total - total // 2
        pairs.append((large, small) if kind == "same_lower" else (small, large))
    return pairs


def padded(x: Tensor, pairs: Pairs, value: float = 0.0) -> Tensor:
    backwards = [one for pair in reversed(pairs) for one in pair]
    return F.pad(x, backwards, value=value) if any(backwards) else x


def reach_of(kernel: list[int], dilation: list[int]) -> list[int]:
    return [(k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True)]


def conv(a: Args) -> Tensor:
    x, weight = tensor(a["x"]), tensor(a["weight"])
    axes = x.dim() - 2
    stride, dilation = per_axis(a, "strides", axes), per_axis(a, "dilations", axes)
    pairs = padding(a, list(x.shape[2:]), reach_of(list(weight.shape[2:]), dilation), stride)
    even = all(before == after for before, after in pairs)
    inside = [before for before, _ in pairs] if even else 0  # spares a copy of x
    x = x if even else padded(x, pairs)
    bias, groups = optional(a, "bias"), int(a.get("groups", 1))
    result: Tensor = CONVOLUTIONS[axes - 1](x, weight, bias, stride, inside, dilation, groups)
    return result


def conv_transpose(a: Args) -> Tensor:
    x, weight = tensor(a["x"]), tensor(a["weight"])
    axes = x.dim() - 2
    stride, dilation = per_axis(a, "strides", axes), per_axis(a, "dilations", axes)
    reach = reach_of(list(weight.shape[2:]), dilation)
    whole = [(n - 1) * s + k for n, s, k in zip(x.shape[2:], stride, reach, strict=True)]
    sizes, begins = _kept(a, whole, list(x.shape[2:]), stride)
    more = [max(0, b + n - w) for b, n, w in zip(begins, sizes, whole, strict=True)]
    arguments = (optional(a, "bias"), stride, 0, more, int(a.get("groups", 1)), dilation)
    result: Tensor = TRANSPOSED[axes - 1](x, weight, *arguments)
    for axis, (begin, size) in enumerate(zip(begins, sizes, strict=True)):
        result = result.narrow(axis + 2, begin, size)
    return result


def _kept(
    a: Args, whole: list[int], source: list[int], stride: list[int]
) -> tuple[list[int], list[int]]:
    """Sizes of a transposed convolution and where in its whole result they begin."""
    kind = str(a.get("pad_type", "valid"))
    pairs = [(0, 0)] * len(whole)
    if kind == "custom":
        given = ints(a["pad"])
        pairs = list(zip(given[::2], given[1::2], strict=True))
    sizes = [w - before - after for w, (before, after) in zip(whole, pairs, strict=True)]
    if kind == "same":
        sizes = [n * s for n, s in zip(source, stride, strict=True)]
    if a.get("output_shape") is not None:
        sizes = ints(a["output_shape"])[2:]
    if kind != "same":
        return sizes, [before for before, _ in pairs]
    return sizes, [max(0, w - n) // 2 for w, n in zip(whole, sizes, strict=True)]


def max_pool(a: Args) -> Tensor:
    x, kernel, stride, pairs = _window(a)
    x = padded(x, pairs, -math.inf)
    result: Tensor = MAXIMA[len(kernel) - 1](_filled(a, x, kernel, stride, pairs), kernel, stride)
    return result


def avg_pool(a: Args) -> Tensor:
    """Sums over counts; zeros of the padding count unless they are excluded."""
    x, kernel, stride, pairs = _window(a)
    pool = AVERAGES[len(kernel) - 1]
    ones = torch.ones_like(x[:1, :1])
    counted = 0.0 if a.get("exclude_padding_from_average", False) else 1.0
    sums = pool(_filled(a, padded(x, pairs), kernel, stride, pairs, 0.0), kernel, stride)
    counts = _filled(a, padded(ones, pairs, counted), kernel, stride, pairs, 0.0)
    result: Tensor = sums / pool(counts, kernel, stride)
    return result


def l2_pool(a: Args) -> Tensor:
    x, kernel, stride, pairs = _window(a)
    squares = padded(x, pairs).square()
    result: Tensor = AVERAGES[len(kernel) - 1](squares, kernel, stride) * math.prod(kernel)
    return result.sqrt()


def _window(a: Args) -> tuple[Tensor, list[int], list[int], Pairs]:
    x, kernel = tensor(a["x"]), ints(a["kernel_sizes"])
    stride = per_axis(a, "strides", len(kernel))
    return x, kernel, stride, padding(a, list(x.shape[2:]), kernel, stride)


def _filled(
    a: Args, x: Tensor, kernel: list[int], stride: list[int], pairs: Pairs, value: float = -math.inf
) -> Tensor:
    """With ceil_mode: room for the last window, unless it would begin in the padding after x."""
    if not a.get("ceil_mode", False):
        return x
    room: Pairs = []
    for n, k, s, (_, after) in zip(x.shape[2:], kernel, stride, pairs, strict=True):
        count = -(-(n - k) // s) + 1
        if (count - 1) * s >= n - after and after:
            count -= 1
        room.append((0, max(0, (count - 1) * s + k - n)))
    return padded(x, room, value)


def linear(a: Args) -> Tensor:
    return F.linear(tensor(a["x"]), tensor(a["weight"]), optional(a, "bias"))


def matmul(a: Args) -> Tensor:
    x, y = tensor(a["x"]), tensor(a["y"])
    x = x.transpose(-1, -2) if a.get("transpose_x", False) else x
    return x @ (y.transpose(-1, -2) if a.get("transpose_y", False) else y)


def einsum(a: Args) -> Tensor:
    return torch.einsum(str(a["equation"]), *several(a["values"]))


def attention(a: Args) -> Tensor:
    """softmax(q k^T / sqrt(d) + mask) v; a boolean mask keeps what is true."""
    q, k, v = (tensor(a[name]) for name in ("query", "key", "value"))
    return F.scaled_dot_product_attention(q, k, v, optional(a, "attn_mask"))


NETWORK: dict[str, Handler] = {
    "avg_pool": avg_pool,
    "conv": conv,
    "conv_transpose": conv_transpose,
    "einsum": einsum,
    "l2_pool": l2_pool,
    "linear": linear,
    "matmul": matmul,
    "max_pool": max_pool,
    "scaled_dot_product_attention": attention,
}
