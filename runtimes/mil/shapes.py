"""ML Program operations that move elements and make none: shapes, parts, repetition, fills."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from minuet.runtimes.mil.tensors import Args, Handler, bounded, flags, ints, several, tensor


def reshape(a: Args) -> Tensor:
    x = tensor(a["x"])
    return x.reshape([x.shape[i] if n == 0 else n for i, n in enumerate(ints(a["shape"]))])


def reshape_like(a: Args) -> Tensor:
    """Axes begins[i]:ends[i] of reference i, one after the other."""
    sizes: list[int] = []
    masked = flags(a.get("end_masks"), len(ints(a["begins"])))
    parts = zip(several(a["ref_tensors"]), ints(a["begins"]), ints(a["ends"]), masked, strict=True)
    for reference, begin, end, whole in parts:
        sizes += reference.shape[begin : None if whole else end]
    return tensor(a["x"]).reshape(sizes)


def expand_dims(a: Args) -> Tensor:
    x, axes = tensor(a["x"]), ints(a["axes"])
    for axis in sorted(one % (x.dim() + len(axes)) for one in axes):
        x = x.unsqueeze(axis)
    return x


def squeeze(a: Args) -> Tensor:
    x = tensor(a["x"])
    return x.squeeze(tuple(ints(a["axes"]))) if a.get("axes") is not None else x.squeeze()


def transpose(a: Args) -> Tensor:
    return tensor(a["x"]).permute(ints(a["perm"]))


def shape(a: Args) -> Tensor:
    return torch.tensor(tensor(a["x"]).shape, dtype=torch.int32)


def flatten2d(a: Args) -> Tensor:
    x, axis = tensor(a["x"]), int(a.get("axis", 1))
    return x.reshape(x.shape[:axis].numel(), -1)


def concat(a: Args) -> Tensor:
    """Scalars become a vector, as sizes do that are put together to a shape."""
    parts, axis = [one if one.dim() else one[None] for one in several(a["values"])], int(a["axis"])
    if not a.get("interleave", False):
        return torch.cat(parts, axis)
    axis %= parts[0].dim()
    return torch.stack(parts, axis + 1).flatten(axis, axis + 1)


def stack(a: Args) -> Tensor:
    return torch.stack(several(a["values"]), int(a["axis"]))


def split(a: Args) -> list[Tensor]:
    x, axis = tensor(a["x"]), int(a["axis"])
    if a.get("split_sizes") is not None:
        return list(x.split(ints(a["split_sizes"]), axis))
    return list(x.split(x.shape[axis] // int(a["num_splits"]), axis))


def tile(a: Args) -> Tensor:
    x, reps = tensor(a["x"]), ints(a["reps"])
    bounded([n * rep for n, rep in zip(x.shape, reps, strict=True)])
    return x.repeat(reps)


def reverse(a: Args) -> Tensor:
    x = tensor(a["x"])
    return x.flip(ints(a["axes"]) if a.get("axes") is not None else tuple(range(x.dim())))


def reverse_sequence(a: Args) -> Tensor:
    x, along = tensor(a["x"]), int(a.get("seq_axis", 0))
    rows = int(a.get("batch_axis", 0))
    order = torch.arange(x.shape[along])
    lengths = tensor(a["lengths"]).long().reshape(-1, 1)
    index = torch.where(order < lengths, lengths - 1 - order, order)
    sizes = [1] * x.dim()
    sizes[rows], sizes[along] = index.shape
    turned = index if rows < along else index.T
    return x.gather(along, turned.reshape(sizes).expand(x.shape))


def slice_by_index(a: Args) -> Tensor:
    """numpy's x[begin:end:stride]; a mask leaves an end open, or takes one and drops the axis."""
    x = tensor(a["x"])
    n = x.dim()
    begin, end = ints(a["begin"]), ints(a["end"])
    stride = ints(a["stride"]) if a.get("stride") is not None else [1] * n
    open_begin, open_end = flags(a.get("begin_mask"), n), flags(a.get("end_mask"), n)
    squeezed = flags(a.get("squeeze_mask"), n)
    for axis in reversed(range(n)):
        if squeezed[axis]:
            x = x.select(axis, 0 if open_begin[axis] else begin[axis])
            continue
        first = None if open_begin[axis] else begin[axis]
        last = None if open_end[axis] else end[axis]
        taken = range(x.shape[axis])[slice(first, last, stride[axis])]
        x = _taken(x, axis, taken)
    return x


def _taken(x: Tensor, axis: int, taken: range) -> Tensor:
    if taken.step == 1:
        return x.narrow(axis, taken.start, len(taken))
    return x.index_select(axis, torch.tensor(taken, dtype=torch.int64))


def slice_by_size(a: Args) -> Tensor:
    x = tensor(a["x"])
    for axis, (begin, size) in enumerate(zip(ints(a["begin"]), ints(a["size"]), strict=True)):
        start = begin % x.shape[axis] if begin < 0 else begin
        x = x.narrow(axis, start, x.shape[axis] - start if size == -1 else size)
    return x


def slice_update(a: Args) -> Tensor:
    """A copy of x in which slice_by_index's part is another tensor."""
    x = tensor(a["x"])
    places = torch.arange(x.numel()).reshape(x.shape)
    chosen = slice_by_index({**a, "x": places}).reshape(-1)
    return x.reshape(-1).scatter(0, chosen, tensor(a["update"]).reshape(-1)).reshape(x.shape)


def pad(a: Args) -> Tensor:
    """Pairs of (before, after) for the last axes."""
    x, mode = tensor(a["x"]), str(a.get("mode", "constant"))
    given = ints(a["pad"])
    pairs = list(zip(given[::2], given[1::2], strict=True))
    axes = range(x.dim() - len(pairs), x.dim())
    bounded(
        [*x.shape[: axes.start], *(x.shape[i] + sum(p) for i, p in zip(axes, pairs, strict=True))]
    )
    if mode == "constant":
        backwards = [one for pair in reversed(pairs) for one in pair]
        return F.pad(x, backwards, value=tensor(a.get("constant_val", 0.0)).item())
    for axis, (before, after) in zip(axes, pairs, strict=True):
        if before or after:
            x = x.index_select(axis, _beyond(x.shape[axis], before, after, mode))
    return x


def _beyond(n: int, before: int, after: int, mode: str) -> Tensor:
    """Which element stands at -before ... n + after."""
    index = torch.arange(-before, n + after)
    if mode == "replicate":
        return index.clamp(0, n - 1)
    if mode != "reflect":
        raise ValueError(f"padding {mode!r} is not evaluated")
    period = max(1, 2 * (n - 1))
    index = index % period
    return torch.minimum(index, period - index)


def fill(a: Args) -> Tensor:
    return tensor(a.get("value", 0.0)).expand(bounded(ints(a["shape"])))


def fill_like(a: Args) -> Tensor:
    return tensor(a.get("value", 0.0)).expand(tensor(a["ref_tensor"]).shape)


def range_1d(a: Args) -> Tensor:
    start, end, step = (tensor(a[name]) for name in ("start", "end", "step"))
    count = int(torch.ceil((end - start).double() / step.double()).clamp(min=0))
    return start + torch.arange(*bounded([count])).to(start.dtype) * step


def one_hot(a: Args) -> Tensor:
    index, size = tensor(a["indices"]).long(), int(a["one_hot_vector_size"])
    bounded([*index.shape, size])
    chosen = index.unsqueeze(-1) == torch.arange(size)
    on, off = tensor(a.get("on_value", 1)), tensor(a.get("off_value", 0))
    return torch.where(chosen, on, off).movedim(-1, int(a.get("axis", -1)))


def band_part(a: Args) -> Tensor:
    x, lower, upper = tensor(a["x"]), int(a.get("lower", -1)), int(a.get("upper", -1))
    below = torch.arange(x.shape[-2])[:, None] - torch.arange(x.shape[-1])
    kept = ((lower < 0) | (below <= lower)) & ((upper < 0) | (-below <= upper))
    return torch.where(kept, x, torch.zeros((), dtype=x.dtype))


def pixel_shuffle(a: Args) -> Tensor:
    return F.pixel_shuffle(tensor(a["x"]), int(a["upscale_factor"]))


def pixel_unshuffle(a: Args) -> Tensor:
    return F.pixel_unshuffle(tensor(a["x"]), int(a["downscale_factor"]))


def depth_to_space(a: Args) -> Tensor:
    """Channels are (row in block, column in block, channel): unlike pixel_shuffle's."""
    x, s = tensor(a["x"]), int(a["block_size"])
    n, c, h, w = x.shape
    parts = x.reshape(n, s, s, c // s**2, h, w)
    return parts.permute(0, 3, 4, 1, 5, 2).reshape(n, c // s**2, h * s, w * s)


def space_to_depth(a: Args) -> Tensor:
    x, s = tensor(a["x"]), int(a["block_size"])
    n, c, h, w = x.shape
    parts = x.reshape(n, c, h // s, s, w // s, s)
    return parts.permute(0, 3, 5, 1, 2, 4).reshape(n, c * s**2, h // s, w // s)


def space_to_batch(a: Args) -> Tensor:
    (top, bottom), (left, right) = (ints(row) for row in tensor(a["paddings"]))
    x = F.pad(tensor(a["x"]), [left, right, top, bottom])
    (p, q), (n, c, h, w) = ints(a["block_shape"]), x.shape
    parts = x.reshape(n, c, h // p, p, w // q, q)
    return parts.permute(3, 5, 0, 1, 2, 4).reshape(n * p * q, c, h // p, w // q)


def batch_to_space(a: Args) -> Tensor:
    x = tensor(a["x"])
    (top, bottom), (left, right) = (ints(row) for row in tensor(a["crops"]))
    (p, q), (n, c, h, w) = ints(a["block_shape"]), x.shape
    parts = x.reshape(p, q, n // (p * q), c, h, w).permute(2, 3, 4, 0, 5, 1)
    y = parts.reshape(n // (p * q), c, h * p, w * q)
    return y[:, :, top : h * p - bottom, left : w * q - right]


def sliding_windows(a: Args) -> Tensor:
    x, axis = tensor(a["x"]), int(a["axis"])
    windows = x.unfold(axis, int(a["size"]), int(a.get("stride", 1)))
    return windows.movedim(-1, axis % x.dim() + 1)


SHAPES: dict[str, Handler] = {
    "band_part": band_part,
    "batch_to_space": batch_to_space,
    "concat": concat,
    "depth_to_space": depth_to_space,
    "expand_dims": expand_dims,
    "fill": fill,
    "fill_like": fill_like,
    "flatten2d": flatten2d,
    "one_hot": one_hot,
    "pad": pad,
    "pixel_shuffle": pixel_shuffle,
    "pixel_unshuffle": pixel_unshuffle,
    "range_1d": range_1d,
    "reshape": reshape,
    "reshape_like": reshape_like,
    "reverse": reverse,
    "reverse_sequence": reverse_sequence,
    "shape": shape,
    "slice_by_index": slice_by_index,
    "slice_by_size": slice_by_size,
    "slice_update": slice_update,
    "sliding_windows": sliding_windows,
    "space_to_batch": space_to_batch,
    "space_to_depth": space_to_depth,
    "split": split,
    "squeeze": squeeze,
    "stack": stack,
    "tile": tile,
    "transpose": transpose,
}
