"""ML Program operations that resample pictures: resize, upsample, crop, resample, affine."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from minuet.runtimes.mil.tensors import Args, Handler, bounded, ints, tensor

Points = Callable[[int, int], Tensor]  # size before, size after -> where each pixel is read


def corners(n: int, m: int) -> Tensor:
    return torch.arange(m) * ((n - 1) / max(1, m - 1))


def aligned(n: int, m: int) -> Tensor:
    return corners(n, m) if m > 1 else torch.tensor([(n - 1) / 2])


def centres(n: int, m: int) -> Tensor:
    return (torch.arange(m) + 0.5) * (n / m) - 0.5


def scaled(n: int, m: int) -> Tensor:
    return torch.arange(m) * (n / m)


def offset(n: int, m: int) -> Tensor:
    return (torch.arange(m) + 0.5) * (max(1, n - 1) / m)


# Where output pixel i lies in the input, by coremltools' formulas for resize_bilinear.
SAMPLING: dict[str, Points] = {
    "STRICT_ALIGN_CORNERS": corners,
    "ALIGN_CORNERS": aligned,
    "UNALIGN_CORNERS": centres,
    "DEFAULT": scaled,
    "OFFSET_CORNERS": offset,
}


def resized(x: Tensor, sizes: list[int], points: Points) -> Tensor:
    """Linear interpolation along the last axes, one after the other."""
    bounded([*x.shape[: -len(sizes)], *sizes])
    if x.dim() == 4 and points in (corners, centres):
        return F.interpolate(x, size=sizes, mode="bilinear", align_corners=points is corners)
    for axis, size in enumerate(sizes, x.dim() - len(sizes)):
        x = _interpolated(x, axis, points(x.shape[axis], size))
    return x


def _interpolated(x: Tensor, axis: int, points: Tensor) -> Tensor:
    points = points.clamp(0, x.shape[axis] - 1)
    low = points.floor().long()
    high = (low + 1).clamp(max=x.shape[axis] - 1)
    share = (points - low).reshape(-1, *[1] * (x.dim() - axis - 1))
    return torch.lerp(x.index_select(axis, low), x.index_select(axis, high), share)


def nearest(x: Tensor, sizes: list[int]) -> Tensor:
    """The pixel at floor(i * before / after)."""
    bounded([*x.shape[: -len(sizes)], *sizes])
    for axis, size in enumerate(sizes, x.dim() - len(sizes)):
        index = torch.arange(size) * x.shape[axis] // size
        x = x.index_select(axis, index)
    return x


def by_factor(a: Args) -> list[int]:
    """Sizes that scale factors ask for."""
    sizes = tensor(a["x"]).shape[-2:]
    names = ("scale_factor_height", "scale_factor_width")
    return [math.floor(n * float(a.get(name, 1))) for n, name in zip(sizes, names, strict=True)]


def upsample_bilinear(a: Args) -> Tensor:
    align = bool(a.get("align_corners", True))
    half = not align if a.get("half_pixel_centers") is None else bool(a["half_pixel_centers"])
    if align and half:
        raise ValueError("aligned corners with half-pixel centres are not evaluated")
    points = corners if align else centres if half else scaled
    return resized(tensor(a["x"]), by_factor(a), points)


def upsample_nearest(a: Args) -> Tensor:
    return nearest(tensor(a["x"]), by_factor(a))


def by_target(a: Args) -> list[int]:
    return [int(a.get("target_size_height", 1)), int(a.get("target_size_width", 1))]


def resize_bilinear(a: Args) -> Tensor:
    points = SAMPLING[str(a.get("sampling_mode", "DEFAULT"))]
    return resized(tensor(a["x"]), by_target(a), points)


def resize_nearest(a: Args) -> Tensor:
    return nearest(tensor(a["x"]), by_target(a))


def resize(a: Args) -> Tensor:
    x, count = tensor(a["x"]), int(a["resized_dims"])
    mode = str(a.get("sampling_mode", "DEFAULT"))
    wanted = ints(a["shape"])[-count:]
    sizes = [n or x.shape[i - count] for i, n in enumerate(wanted)]
    if str(a.get("interpolation_mode", "LINEAR")) == "LINEAR":
        return resized(x, sizes, SAMPLING[mode])
    if mode != "DEFAULT":
        raise ValueError(f"nearest neighbours sampled as {mode} are not evaluated")
    return nearest(x, sizes)


def crop(a: Args) -> Tensor:
    x, (top, bottom), (left, right) = tensor(a["x"]), ints(a["crop_height"]), ints(a["crop_width"])
    return x[..., top : x.shape[-2] - bottom, left : x.shape[-1] - right]


def resample(a: Args) -> Tensor:
    """Pixels at given places; places beyond the picture by one of four rules."""
    x, rule = tensor(a["x"]), str(a["padding_mode"])
    value = float(a.get("padding_value", 0)) if rule == "constant" else 0.0
    points = _in_pixels(a, tensor(a["coordinates"]).float(), x.shape)
    if rule in ("reflection", "symmetric"):
        points = _mirrored(points, x.shape, about=0.0 if rule == "reflection" else 0.5)
    last = torch.tensor([x.shape[3] - 1, x.shape[2] - 1]).clamp(min=1)
    found = F.grid_sample(
        x - value,
        2 * points / last - 1,
        mode=str(a["sampling_mode"]),
        padding_mode="zeros" if rule == "constant" else "border",
        align_corners=True,
    )
    return found + value


def _in_pixels(a: Args, at: Tensor, shape: torch.Size) -> Tensor:
    """Coordinates (x, y) as places between the centres of the first and the last pixel."""
    kind = str(a["coordinates_mode"])
    if kind == "unnormalized":
        return at
    share = (at + 1) / 2 if kind == "normalized_minus_one_to_one" else at
    sizes = torch.tensor([shape[3], shape[2]])
    return share * (sizes - 1) if bool(a["align_corners"]) else share * sizes - 0.5


def _mirrored(at: Tensor, shape: torch.Size, about: float) -> Tensor:
    """Places reflected at the centres (about 0) or the outer edges (about 0.5) of border pixels."""
    span = torch.tensor([shape[3], shape[2]]) - 1 + 2 * about
    period = (2 * span).clamp(min=1e-9)
    folded = (at + about).remainder(period)
    return torch.minimum(folded, period - folded) - about


def affine(a: Args) -> Tensor:
    """A picture seen through x' = a0 x + a1 y + a2, y' = b0 x + b1 y + b2; zeros around it."""
    x = tensor(a["x"])
    sizes = bounded([*x.shape[:2], int(a["output_height"]), int(a["output_width"])])
    align = bool(a["align_corners"])
    theta = tensor(a["transform_matrix"]).reshape(-1, 2, 3).expand(x.shape[0], 2, 3)
    return F.grid_sample(x, F.affine_grid(theta, sizes, align), align_corners=align)


IMAGES: dict[str, Handler] = {
    "affine": affine,
    "crop": crop,
    "resample": resample,
    "resize": resize,
    "resize_bilinear": resize_bilinear,
    "resize_nearest_neighbor": resize_nearest,
    "upsample_bilinear": upsample_bilinear,
    "upsample_nearest_neighbor": upsample_nearest,
}
