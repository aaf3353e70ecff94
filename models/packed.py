"""Weights -> fewer bytes and back: half precision, or int8 with a scale a row."""

import torch
from torch import Tensor

from minuet.contracts.errors import RequestError

STORAGES = ("half", "int8")
SCALE = ".scale"  # the suffix of an int8 tensor's scales
SMALLEST = 4096  # elements below which int8 saves nothing worth its error


def packed(tensors: dict[str, Tensor], storage: str) -> dict[str, Tensor]:
    """Tensors as they are stored.

    int8: each row w of a large matrix or kernel becomes round(w / s) with s = max |w| / 127 in
    float32 (Jacob et al. 2018, arXiv 1712.05877, sec. 2.1, with the zero point held at 0). What is
    small stays in half precision.

    Raises:
        RequestError: an unknown storage, or a value that does not fit.
    """
    if storage not in STORAGES:
        raise RequestError(f"weights are stored as {' or '.join(STORAGES)}, not {storage!r}.")
    found: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        tensor = tensor.detach().float()
        if storage == "int8" and tensor.ndim >= 2 and tensor.numel() >= SMALLEST:
            rows = tensor.reshape(len(tensor), -1)
            scale = rows.abs().amax(1).clamp(min=1e-12) / 127
            codes = (rows / scale[:, None]).round().to(torch.int8)
            found[name], found[name + SCALE] = codes.reshape(tensor.shape), scale
        else:
            found[name] = tensor.half().contiguous()
    if lost := [name for name, tensor in found.items() if not tensor.float().isfinite().all()]:
        name = lost[0] if lost[0] in tensors else lost[0].removesuffix(SCALE)
        raise RequestError(f"{name}: not finite in half precision; nothing was saved.")
    return found


def unpacked(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Stored tensors in float32."""
    found: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        if tensor.dtype == torch.int8:
            scale = tensors[name + SCALE].reshape(-1, *([1] * (tensor.ndim - 1)))
            found[name] = tensor.float() * scale
        elif not (name.endswith(SCALE) and name.removesuffix(SCALE) in tensors):
            found[name] = tensor.float()
    return found
