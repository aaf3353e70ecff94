"""Compressed weights -> weights, and numbers -> codes and back: constexpr_*, (de)quantize."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from minuet.contracts.tensors import Array
from minuet.runtimes.mil.tensors import TORCH, Args, Handler, array, ints, tensor
from minuet.runtimes.mil.values import Type, unpacked

RANGES = {"int8": (-128, 127), "uint8": (0, 255)}


def along(value: Array, x: Array | Tensor, axis: object) -> Array:
    """A scalar, or one value for each slice along an axis, to be broadcast over x."""
    if value.ndim == 0 or axis is None:
        return value
    sizes = [1] * x.ndim
    sizes[int(np.asarray(axis))] = -1
    return value.reshape(sizes)


def stretched(values: Array, shape: tuple[int, ...]) -> Array:
    """One value a block -> one an element."""
    for axis, (n, m) in enumerate(zip(shape, values.shape, strict=True)):
        values = values if n == m else np.repeat(values, n // m, axis)
    return values


def affine_dequantize(a: Args) -> Tensor:
    data = array(a["quantized_data"]).astype(np.float32)
    zero, scale = (along(array(a[k]), data, a.get("axis")) for k in ("zero_point", "scale"))
    return tensor((data - zero.astype(np.float32)) * scale.astype(np.float32))


def shift_scale(a: Args) -> Tensor:
    return tensor(_shift_scaled(array(a["data"]), a))


def _shift_scaled(data: Array, a: Args) -> Array:
    data = data.astype(np.float32)
    if a.get("offset") is not None:
        data = data - stretched(array(a["offset"]).astype(np.float32), data.shape)
    return data * stretched(array(a["scale"]).astype(np.float32), data.shape)


def look_up(a: Args) -> Tensor:
    indices, palettes = array(a["indices"]), array(a["lut"])
    if a.get("shape") is not None:  # iOS 16: one palette, indices packed into bytes
        shape = tuple(ints(a["shape"]))
        kind = Type("index", "uint8", int(math.log2(palettes.size)), signed=False)
        return tensor(
            palettes.reshape(-1)[unpacked(indices, kind, math.prod(shape))].reshape(shape)
        )
    return tensor(_from_palettes(indices, palettes, a.get("vector_axis")))


def _from_palettes(indices: Array, palettes: Array, vector_axis: object) -> Array:
    """Each index -> the vector that the palette of its block holds, laid along vector_axis."""
    blocks = [n // m for n, m in zip(indices.shape, palettes.shape[:-2], strict=True)]
    places = [np.arange(n) // block for n, block in zip(indices.shape, blocks, strict=True)]
    grid = np.meshgrid(*places, indexing="ij", sparse=True)
    found: Array = palettes[(*grid, indices.astype(np.int64))]
    if found.shape[-1] == 1:
        return found.reshape(indices.shape)
    axis = int(np.asarray(vector_axis)) % indices.ndim
    spread = np.moveaxis(found, -1, axis + 1)
    return spread.reshape(
        [n * found.shape[-1] if i == axis else n for i, n in enumerate(indices.shape)]
    )


def sparse_to_dense(a: Args) -> Tensor:
    mask = array(a["mask"])
    if a.get("shape") is not None:  # iOS 16: a bit an element
        shape = tuple(ints(a["shape"]))
        mask = unpacked(mask, Type("bit", "uint8", 1, signed=False), math.prod(shape)).reshape(
            shape
        )
    return tensor(_dense(array(a["nonzero_data"]), mask))


def _dense(values: Array, mask: Array) -> Array:
    dense = np.zeros(mask.shape, values.dtype)
    dense[mask != 0] = values
    return dense


def lut_to_sparse(a: Args) -> list[Tensor]:
    """The mask, stretched where the palette holds vectors; the values it keeps."""
    mask, palettes = array(a["indices_mask"]), array(a["lut"])
    indices = _dense(array(a["indices_nonzero_data"]), mask)
    dense = _from_palettes(indices, palettes, a.get("vector_axis"))
    if palettes.shape[-1] > 1:
        mask = np.repeat(mask, palettes.shape[-1], int(np.asarray(a["vector_axis"])))
    return [tensor(mask), tensor(dense[mask != 0])]


def sparse_shift_scale(a: Args) -> list[Tensor]:
    mask = array(a["data_mask"])
    dense = _shift_scaled(_dense(array(a["nonzero_data"]), mask), a)
    return [tensor(mask), tensor(dense[mask != 0])]


def constexpr_cast(a: Args) -> Tensor:
    return tensor(a["source_val"]).to(TORCH[str(a["output_dtype"])])


def quantize(a: Args) -> Tensor:
    """clip(round(x / scale) + zero point)."""
    x, name = tensor(a["input"]), str(a["output_dtype"])
    scale, zero = _scale(a, x)
    return ((x / scale).round() + zero).clamp(*RANGES[name]).to(TORCH[name])


def dequantize(a: Args) -> Tensor:
    x = tensor(a["input"]).float()
    scale, zero = _scale(a, x)
    return (x - zero) * scale


def _scale(a: Args, x: Tensor) -> tuple[Tensor, Tensor]:
    zero = np.zeros(()) if a.get("zero_point") is None else array(a["zero_point"])
    pair = (along(one.astype(np.float32), x, a.get("axis")) for one in (array(a["scale"]), zero))
    scale, offset = (torch.from_numpy(one) for one in pair)
    return scale, offset


WEIGHTS: dict[str, Handler] = {
    "constexpr_affine_dequantize": affine_dequantize,
    "constexpr_blockwise_shift_scale": shift_scale,
    "constexpr_cast": constexpr_cast,
    "constexpr_lut_to_dense": look_up,
    "constexpr_lut_to_sparse": lut_to_sparse,
    "constexpr_sparse_blockwise_shift_scale": sparse_shift_scale,
    "constexpr_sparse_to_dense": sparse_to_dense,
    "dequantize": dequantize,
    "quantize": quantize,
}
