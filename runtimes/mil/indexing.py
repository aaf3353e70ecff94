"""ML Program operations that look up or put down elements by index: gather, scatter, non_zero."""

from __future__ import annotations

import torch
from torch import Tensor

from minuet.runtimes.mil.tensors import Args, Handler, tensor

# How an element that is put down meets the one that lies there. What is subtracted or divided by
# is put down with the opposite sign or inverted.
MODES = {"add": "sum", "sub": "sum", "mul": "prod", "div": "prod", "max": "amax", "min": "amin"}


def positive(index: Tensor, size: int | Tensor) -> Tensor:
    """Indices counted from the end -> from the beginning; what lies beyond stays beyond."""
    index = index.long()
    return torch.where(index < 0, index + size, index)


def gather(a: Args) -> Tensor:
    x, index = tensor(a["x"]), tensor(a["indices"])
    axis, batch = int(a.get("axis", 0)) % x.dim(), int(a.get("batch_dims", 0))
    rows, picks = x.flatten(0, batch - 1) if batch else x[None], index
    picks = picks.flatten(0, batch - 1) if batch else picks[None]
    inner = axis - batch if batch else axis
    found = [_gathered(row, pick, inner) for row, pick in zip(rows, picks, strict=True)]
    return _unflattened(torch.stack(found), x.shape[:batch]) if batch else found[0]


def _unflattened(x: Tensor, sizes: torch.Size) -> Tensor:
    return x.reshape((*sizes, *x.shape[1:]))


def _gathered(x: Tensor, index: Tensor, axis: int) -> Tensor:
    flat = x.index_select(axis, positive(index, x.shape[axis]).reshape(-1))
    return flat.reshape((*x.shape[:axis], *index.shape, *x.shape[axis + 1 :]))


def gather_along_axis(a: Args) -> Tensor:
    x, axis = tensor(a["x"]), int(a.get("axis", 0))
    index = positive(tensor(a["indices"]), x.shape[axis])
    axis %= x.dim()
    sizes = [n if i == axis else index.shape[i] for i, n in enumerate(x.shape)]
    return x.expand(sizes).gather(axis, index)


def gather_nd(a: Args) -> Tensor:
    x, index, batch = tensor(a["x"]), tensor(a["indices"]), int(a.get("batch_dims", 0))
    if not batch:
        return x[_coordinates(x, index)]
    rows, picks = x.flatten(0, batch - 1), index.flatten(0, batch - 1)
    found = [row[_coordinates(row, pick)] for row, pick in zip(rows, picks, strict=True)]
    return _unflattened(torch.stack(found), x.shape[:batch])


def _coordinates(x: Tensor, index: Tensor) -> tuple[Tensor, ...]:
    parts = index.unbind(-1)
    return tuple(positive(one, size) for one, size in zip(parts, x.shape, strict=False))


def scatter(a: Args) -> Tensor:
    places = _places(a)
    axis = int(a.get("axis", 0)) % places.dim()
    index = positive(tensor(a["indices"]), places.shape[axis]).reshape(-1)
    return _put(a, places.index_select(axis, index))


def scatter_along_axis(a: Args) -> Tensor:
    places = _places(a)
    axis = int(a.get("axis", 0)) % places.dim()
    index = positive(tensor(a["indices"]), places.shape[axis])
    return _put(a, places.gather(axis, index))


def scatter_nd(a: Args) -> Tensor:
    places = _places(a)
    return _put(a, places[_coordinates(places, tensor(a["indices"]))])


def _places(a: Args) -> Tensor:
    """The place of each element of the data, in the data's shape."""
    data = tensor(a["data"])
    return torch.arange(data.numel()).reshape(data.shape)


def _put(a: Args, places: Tensor) -> Tensor:
    data, mode = tensor(a["data"]), str(a.get("mode", "add"))
    updates = tensor(a["updates"]).to(data.dtype).expand(places.shape).reshape(-1)
    flat, places = data.reshape(-1).clone(), places.reshape(-1)
    if mode == "update":
        return flat.scatter(0, places, updates).reshape(data.shape)
    if mode == "sub":
        updates = -updates
    if mode == "div":
        updates = updates.reciprocal()
    return flat.scatter_reduce(0, places, updates, MODES[mode]).reshape(data.shape)


def non_zero(a: Args) -> Tensor:
    return tensor(a["x"]).nonzero()


INDEXING: dict[str, Handler] = {
    "gather": gather,
    "gather_along_axis": gather_along_axis,
    "gather_nd": gather_nd,
    "non_zero": non_zero,
    "scatter": scatter,
    "scatter_along_axis": scatter_along_axis,
    "scatter_nd": scatter_nd,
}
