"""ML Program operations -> torch, one small function each; names and semantics are Core ML's.

Source: the operation definitions of coremltools 9.0 (coremltools/converters/mil/mil/ops/defs).
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

Args = dict[str, Any]  # arguments by Core ML's names: tensors, numpy constants, strings

TYPES = {
    "fp32": torch.float32,
    "fp16": torch.float16,
    "int": torch.int32,
    "int32": torch.int32,
    "int16": torch.int16,
    "uint16": torch.int32,
    "int8": torch.int8,
    "uint8": torch.uint8,
    "bool": torch.bool,
}


def tensor(value: Any) -> Tensor:
    """A constant or a tensor -> a tensor; float16 is widened, so that all arithmetic is float32."""
    if isinstance(value, Tensor):
        found = value
    else:
        array = np.asarray(value)
        widened = array.astype(np.int32) if array.dtype in (np.uint16, np.uint32) else array
        found = torch.from_numpy(np.array(widened))
    return found.float() if found.dtype == torch.float16 else found


def declared(result: Tensor, out: Any) -> Tensor:
    """A result rounded to the type the program declares, its shape checked."""
    shape = tuple(int(size) for size in out.shape)
    if tuple(result.shape) != shape:
        raise ValueError(f"{out.name}: shape {tuple(result.shape)}, declared {shape}")
    name = getattr(out.dtype, "__name__", str(out.dtype))
    return result.to(TYPES.get(name, result.dtype))


def ints(value: Any) -> list[int]:
    """A constant of integers as a list."""
    return [int(one) for one in np.asarray(value).reshape(-1)]


def flags(value: Any, count: int) -> list[bool]:
    """A constant of booleans as a list; absent means none is set."""
    return [False] * count if value is None else [bool(v) for v in np.asarray(value).reshape(-1)]


def unary(function: Callable[[Tensor], Tensor]) -> Callable[[Args], Tensor]:
    return lambda a: function(tensor(a["x"]))


def binary(function: Callable[[Any, Any], Any]) -> Callable[[Args], Tensor]:
    return lambda a: function(tensor(a["x"]), tensor(a["y"]))


def reduction(function: Callable[..., Tensor]) -> Callable[[Args], Tensor]:
    def reduce(a: Args) -> Tensor:
        x = tensor(a["x"])
        axes = ints(a["axes"]) if a.get("axes") is not None else list(range(x.dim()))
        return function(x, axes, keepdim=bool(a.get("keep_dims", False)))

    return reduce


def cast(a: Args) -> Tensor:
    return tensor(a["x"]).to(TYPES[str(a["dtype"])])


def select(a: Args) -> Tensor:
    return torch.where(tensor(a["cond"]).bool(), tensor(a["a"]), tensor(a["b"]))


def clip(a: Args) -> Tensor:
    return tensor(a["x"]).clamp(float(a["alpha"]), float(a["beta"]))


def rsqrt(a: Args) -> Tensor:
    return (tensor(a["x"]) + float(a.get("epsilon", 0))).rsqrt()


def inverse(a: Args) -> Tensor:
    return 1 / (tensor(a["x"]) + float(a.get("epsilon", 0)))


def gelu(a: Args) -> Tensor:
    exact = "TANH" not in str(a.get("mode"))
    return F.gelu(tensor(a["x"]), approximate="none" if exact else "tanh")


def softmax(a: Args) -> Tensor:
    return tensor(a["x"]).softmax(int(a["axis"]))


def reshape(a: Args) -> Tensor:
    x = tensor(a["x"])
    return x.reshape([x.shape[i] if n == 0 else n for i, n in enumerate(ints(a["shape"]))])


def transpose(a: Args) -> Tensor:
    return tensor(a["x"]).permute(ints(a["perm"]))


def expand_dims(a: Args) -> Tensor:
    x, axes = tensor(a["x"]), ints(a["axes"])
    for axis in sorted(one % (x.dim() + len(axes)) for one in axes):
        x = x.unsqueeze(axis)
    return x


def squeeze(a: Args) -> Tensor:
    x = tensor(a["x"])
    return x.squeeze(tuple(ints(a["axes"]))) if a.get("axes") is not None else x.squeeze()


def concat(a: Args) -> Tensor:
    if a.get("interleave"):
        raise ValueError("interleaved concat is not evaluated")
    return torch.cat([tensor(one) for one in a["values"]], int(a["axis"]))


def stack(a: Args) -> Tensor:
    return torch.stack([tensor(one) for one in a["values"]], int(a["axis"]))


def split(a: Args) -> list[Tensor]:
    x, axis = tensor(a["x"]), int(a["axis"])
    if a.get("split_sizes") is not None:
        return list(x.split(ints(a["split_sizes"]), axis))
    return list(x.split(x.shape[axis] // int(a["num_splits"]), axis))


def tile(a: Args) -> Tensor:
    return tensor(a["x"]).repeat(ints(a["reps"]))


def slice_by_index(a: Args) -> Tensor:
    x = tensor(a["x"])
    n = x.dim()
    stride = ints(a["stride"]) if a.get("stride") is not None else [1] * n
    begin_mask, end_mask = flags(a.get("begin_mask"), n), flags(a.get("end_mask"), n)
    squeezed = flags(a.get("squeeze_mask"), n)
    begin, end = ints(a["begin"]), ints(a["end"])

    def one(i: int) -> Any:
        if squeezed[i]:
            return begin[i]
        if stride[i] < 0:
            raise ValueError("backward slices are not evaluated")
        first = None if begin_mask[i] else begin[i]
        return slice(first, None if end_mask[i] else end[i], stride[i])

    return x[tuple(one(i) for i in range(n))]


def slice_by_size(a: Args) -> Tensor:
    x = tensor(a["x"])
    for axis, (begin, size) in enumerate(zip(ints(a["begin"]), ints(a["size"]), strict=True)):
        x = x.narrow(axis, begin, x.shape[axis] - begin if size == -1 else size)
    return x


def gather(a: Args) -> Tensor:
    if int(a.get("batch_dims", 0)):
        raise ValueError("batched gather is not evaluated")
    x, axis, index = tensor(a["x"]), int(a.get("axis", 0)), tensor(a["indices"]).long()
    axis %= x.dim()
    flat = torch.index_select(x, axis, index.reshape(-1))
    return flat.reshape(*x.shape[:axis], *index.shape, *x.shape[axis + 1 :])


def pad(a: Args) -> Tensor:
    pairs = np.asarray(a["pad"]).reshape(-1, 2)[::-1].reshape(-1)
    mode = {"constant": "constant", "replicate": "replicate", "reflect": "reflect"}[str(a["mode"])]
    if mode != "constant":
        return F.pad(tensor(a["x"]), ints(pairs), mode)
    return F.pad(tensor(a["x"]), ints(pairs), mode, float(a["constant_val"]))


def linear(a: Args) -> Tensor:
    bias = None if a.get("bias") is None else tensor(a["bias"])
    return F.linear(tensor(a["x"]), tensor(a["weight"]), bias)


def matmul(a: Args) -> Tensor:
    x, y = tensor(a["x"]), tensor(a["y"])
    x = x.transpose(-1, -2) if a.get("transpose_x") else x
    return x @ (y.transpose(-1, -2) if a.get("transpose_y") else y)


def attention(a: Args) -> Tensor:
    mask = None if a.get("attn_mask") is None else tensor(a["attn_mask"])
    q, k, v = tensor(a["query"]), tensor(a["key"]), tensor(a["value"])
    return F.scaled_dot_product_attention(q, k, v, mask)


def conv(a: Args) -> Tensor:
    x, weight = tensor(a["x"]), tensor(a["weight"])
    axes, kind = x.dim() - 2, str(a["pad_type"])
    if kind not in ("valid", "custom"):
        raise ValueError(f"convolution padding {kind!r} is not evaluated")
    padding = ints(a["pad"]) if kind == "custom" else [0] * 2 * axes
    backwards = [padding[2 * i + side] for i in reversed(range(axes)) for side in (0, 1)]
    bias = None if a.get("bias") is None else tensor(a["bias"])
    function: Any = (F.conv1d, F.conv2d, F.conv3d)[axes - 1]
    stride, dilation = tuple(ints(a["strides"])), tuple(ints(a["dilations"]))
    padded = F.pad(x, backwards)
    result: Tensor = function(padded, weight, bias, stride, 0, dilation, int(a["groups"]))
    return result


def layer_norm(a: Args) -> Tensor:
    x = tensor(a["x"])
    axes = sorted(axis % x.dim() for axis in ints(a["axes"]))
    if axes != list(range(x.dim() - len(axes), x.dim())):
        raise ValueError("layer norm over other than the last axes is not evaluated")
    gamma, beta = (None if a.get(k) is None else tensor(a[k]) for k in ("gamma", "beta"))
    return F.layer_norm(x, [x.shape[i] for i in axes], gamma, beta, float(a["epsilon"]))


def resample(a: Args) -> Tensor:
    if str(a["coordinates_mode"]) != "normalized_minus_one_to_one":
        raise ValueError(f"resample in {a['coordinates_mode']} is not evaluated")
    modes = {"border": "border", "constant": "zeros", "reflection": "reflection"}
    padding = modes[str(a["padding_mode"])]
    if padding == "zeros" and float(a.get("padding_value", 0)):
        raise ValueError("resample with a padding value is not evaluated")
    return F.grid_sample(
        tensor(a["x"]),
        tensor(a["coordinates"]),
        mode=str(a["sampling_mode"]),
        padding_mode=padding,
        align_corners=bool(a["align_corners"]),
    )


def upsample_bilinear(a: Args) -> Tensor:
    x = tensor(a["x"])
    scales = (float(a["scale_factor_height"]), float(a["scale_factor_width"]))
    size = [int(n * scale) for n, scale in zip(x.shape[-2:], scales, strict=True)]
    corners, half = bool(a.get("align_corners")), a.get("half_pixel_centers")
    if not corners and half is not None and not bool(half):
        raise ValueError("bilinear without half-pixel centres is not evaluated")
    return F.interpolate(x, size=size, mode="bilinear", align_corners=corners)


def resize_bilinear(a: Args) -> Tensor:
    corners = {"UNALIGN_CORNERS": False, "STRICT_ALIGN_CORNERS": True}[str(a["sampling_mode"])]
    size = [int(a["target_size_height"]), int(a["target_size_width"])]
    return F.interpolate(tensor(a["x"]), size=size, mode="bilinear", align_corners=corners)


def upsample_nearest(a: Args) -> Tensor:
    x = tensor(a["x"])
    scales = (int(a["scale_factor_height"]), int(a["scale_factor_width"]))
    return x.repeat_interleave(scales[0], -2).repeat_interleave(scales[1], -1)


def pixel_shuffle(a: Args) -> Tensor:
    return F.pixel_shuffle(tensor(a["x"]), int(a["upscale_factor"]))


def pixel_unshuffle(a: Args) -> Tensor:
    return F.pixel_unshuffle(tensor(a["x"]), int(a["downscale_factor"]))


def avg_pool(a: Args) -> Tensor:
    if str(a["pad_type"]) != "valid" and any(ints(a["pad"])):
        raise ValueError("padded average pooling is not evaluated")
    return F.avg_pool2d(tensor(a["x"]), ints(a["kernel_sizes"]), ints(a["strides"]))


def expanded(values: Any, shape: tuple[int, ...]) -> Tensor:
    """A block-wise constant stretched over the data it scales."""
    array = np.asarray(values).astype(np.float32)
    blocks = [n // m for n, m in zip(shape, array.shape, strict=True)]
    return tensor(np.kron(array, np.ones(blocks, np.float32)))


def shift_scale(a: Args) -> Tensor:
    data = np.asarray(a["data"]).astype(np.float32)
    offset = 0 if a.get("offset") is None else expanded(a["offset"], data.shape)
    return (tensor(data) - offset) * expanded(a["scale"], data.shape)


def fill_like(a: Args) -> Tensor:
    return torch.full(tensor(a["ref_tensor"]).shape, float(a["value"]))


def look_up(a: Args) -> Tensor:
    index, lut = np.asarray(a["indices"]).astype(np.int64), np.asarray(a["lut"])
    if lut.shape[-1] != 1:
        raise ValueError("vector palettes are not evaluated")
    blocks = [index.shape[i] // lut.shape[i] for i in range(index.ndim)]
    ranges = [np.arange(n) // block for n, block in zip(index.shape, blocks, strict=True)]
    grid = np.meshgrid(*ranges, indexing="ij", sparse=True)
    return tensor(lut[(*grid, index, 0)])


OPERATIONS: dict[str, Callable[[Args], Any]] = {
    **{name: unary(getattr(torch, name)) for name in ("abs", "cos", "exp", "floor", "round")},
    **{name: unary(getattr(torch, name)) for name in ("sigmoid", "sin", "sqrt", "square", "tanh")},
    "silu": unary(F.silu),
    "relu": unary(F.relu),
    "logical_not": unary(torch.logical_not),
    "identity": unary(lambda x: x),
    "add": binary(operator.add),
    "sub": binary(operator.sub),
    "mul": binary(operator.mul),
    "real_div": binary(operator.truediv),
    "pow": binary(operator.pow),
    "maximum": binary(torch.maximum),
    "minimum": binary(torch.minimum),
    "greater": binary(operator.gt),
    "greater_equal": binary(operator.ge),
    "less": binary(operator.lt),
    "less_equal": binary(operator.le),
    "equal": binary(operator.eq),
    "not_equal": binary(operator.ne),
    "logical_and": binary(torch.logical_and),
    "logical_or": binary(torch.logical_or),
    "reduce_mean": reduction(torch.mean),
    "reduce_sum": reduction(torch.sum),
    "reduce_max": reduction(torch.amax),
    "reduce_min": reduction(torch.amin),
    "avg_pool": avg_pool,
    "cast": cast,
    "clip": clip,
    "concat": concat,
    "constexpr_blockwise_shift_scale": shift_scale,
    "constexpr_lut_to_dense": look_up,
    "conv": conv,
    "expand_dims": expand_dims,
    "fill_like": fill_like,
    "gather": gather,
    "gelu": gelu,
    "inverse": inverse,
    "layer_norm": layer_norm,
    "linear": linear,
    "matmul": matmul,
    "pad": pad,
    "pixel_shuffle": pixel_shuffle,
    "pixel_unshuffle": pixel_unshuffle,
    "resample": resample,
    "reshape": reshape,
    "resize_bilinear": resize_bilinear,
    "rsqrt": rsqrt,
    "scaled_dot_product_attention": attention,
    "select": select,
    "slice_by_index": slice_by_index,
    "slice_by_size": slice_by_size,
    "softmax": softmax,
    "split": split,
    "squeeze": squeeze,
    "stack": stack,
    "tile": tile,
    "transpose": transpose,
    "upsample_bilinear": upsample_bilinear,
    "upsample_nearest_neighbor": upsample_nearest,
}
