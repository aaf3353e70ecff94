"""ML Program operations along axes: sums and their kin, order, running sums, normalisation."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from minuet.runtimes.mil.elementwise import by_channel
from minuet.runtimes.mil.tensors import Args, Handler, ints, number, optional, tensor


def reduction(function: Callable[..., Tensor]) -> Handler:
    def reduce(a: Args) -> Tensor:
        x = tensor(a["x"])
        axes = ints(a["axes"]) if a.get("axes") is not None else list(range(x.dim()))
        return function(x, axes, keepdim=bool(a.get("keep_dims", False)))

    return reduce


def place(function: Callable[..., Tensor]) -> Handler:
    """Where an extreme lies."""

    def find(a: Args) -> Tensor:
        axis, keep = int(a.get("axis", -1)), bool(a.get("keep_dims", False))
        return function(tensor(a["x"]), axis, keepdim=keep)

    return find


def product(x: Tensor, axes: list[int], keepdim: bool) -> Tensor:
    for axis in sorted((axis % x.dim() for axis in axes), reverse=True):
        x = x.prod(axis, keepdim=keepdim)
    return x


def sum_square(x: Tensor, axes: list[int], keepdim: bool) -> Tensor:
    return x.square().sum(axes, keepdim=keepdim)


def softmax(a: Args) -> Tensor:
    return tensor(a["x"]).softmax(int(a.get("axis", -1)))


def cumsum(a: Args) -> Tensor:
    x, axis = tensor(a["x"]), int(a.get("axis", 0))
    backwards = [axis] if a.get("reverse", False) else []
    x = x.flip(backwards)
    running = x.cumsum(axis) - (x if a.get("exclusive", False) else 0)
    return running.flip(backwards)


def argsort(a: Args) -> Tensor:
    falling = not a.get("ascending", False)
    return tensor(a["x"]).argsort(stable=True, dim=int(a.get("axis", -1)), descending=falling)


def topk(a: Args) -> Tensor | list[Tensor]:
    axis, largest = int(a.get("axis", -1)), not a.get("ascending", False)
    found = tensor(a["x"]).topk(int(a.get("k", 1)), axis, largest, sorted=True)
    return list(found) if a.get("return_indices", True) else found.values


def batch_norm(a: Args) -> Tensor:
    x = tensor(a["x"])
    gamma, beta = (1 if a.get(k) is None else by_channel(a[k], x) for k in ("gamma", "beta"))
    mean, variance = by_channel(a["mean"], x), by_channel(a["variance"], x)
    y = (x - mean) * (variance + number(a, "epsilon", 1e-5)).rsqrt() * gamma
    return y if a.get("beta") is None else y + beta


def instance_norm(a: Args) -> Tensor:
    weight, bias = optional(a, "gamma"), optional(a, "beta")
    eps = number(a, "epsilon", 1e-5)
    return F.instance_norm(tensor(a["x"]), weight=weight, bias=bias, eps=eps)


def layer_norm(a: Args) -> Tensor:
    x, eps = tensor(a["x"]), number(a, "epsilon", 1e-5)
    given = a.get("axes")
    axes = sorted(i % x.dim() for i in ints(given)) if given is not None else list(range(x.dim()))
    sizes = [n if i in axes else 1 for i, n in enumerate(x.shape)]
    centred = x - x.mean(axes, keepdim=True)
    y = centred * (centred.square().mean(axes, keepdim=True) + eps).rsqrt()
    if a.get("gamma") is not None:
        y = y * tensor(a["gamma"]).reshape(sizes)
    return y if a.get("beta") is None else y + tensor(a["beta"]).reshape(sizes)


def l2_norm(a: Args) -> Tensor:
    x = tensor(a["x"])
    return x * (x.square().sum((-3, -2, -1), keepdim=True) + number(a, "epsilon", 1e-6)).rsqrt()


def local_response_norm(a: Args) -> Tensor:
    alpha, beta = number(a, "alpha", 1e-4), number(a, "beta", 0.75)
    return F.local_response_norm(tensor(a["x"]), int(a["size"]), alpha, beta, number(a, "k", 1))


REDUCTIONS: dict[str, Handler] = {
    "argsort": argsort,
    "batch_norm": batch_norm,
    "cumsum": cumsum,
    "instance_norm": instance_norm,
    "l2_norm": l2_norm,
    "layer_norm": layer_norm,
    "local_response_norm": local_response_norm,
    "reduce_argmax": place(torch.argmax),
    "reduce_argmin": place(torch.argmin),
    "reduce_l1_norm": reduction(lambda x, axes, keepdim: x.abs().sum(axes, keepdim=keepdim)),
    "reduce_l2_norm": reduction(lambda x, axes, keepdim: sum_square(x, axes, keepdim).sqrt()),
    "reduce_log_sum": reduction(lambda x, axes, keepdim: x.sum(axes, keepdim=keepdim).log()),
    "reduce_log_sum_exp": reduction(torch.logsumexp),
    "reduce_max": reduction(torch.amax),
    "reduce_mean": reduction(torch.mean),
    "reduce_min": reduction(torch.amin),
    "reduce_prod": reduction(product),
    "reduce_sum": reduction(torch.sum),
    "reduce_sum_square": reduction(sum_square),
    "softmax": softmax,
    "topk": topk,
}
