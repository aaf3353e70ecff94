"""Core ML's resizing and resampling read each pixel where its documentation says."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from minuet.contracts.tensors import Array
from minuet.runtimes.mil.operations import OPERATIONS

RNG = np.random.default_rng(11)
X = RNG.standard_normal((2, 3, 5, 4)).astype(np.float32)
PLACES: dict[str, Callable[[int, int, int], float]] = {  # pixel, size before, size after
    "STRICT_ALIGN_CORNERS": lambda i, n, m: i * (n - 1) / (m - 1) if m > 1 else 0,
    "ALIGN_CORNERS": lambda i, n, m: i * (n - 1) / (m - 1) if m > 1 else (n - 1) / 2,
    "DEFAULT": lambda i, n, m: i * n / m,
    "OFFSET_CORNERS": lambda i, n, m: (i + 0.5) * max(1, n - 1) / m,
    "UNALIGN_CORNERS": lambda i, n, m: (i + 0.5) * n / m - 0.5,
}


def read(picture: Array, row: float, column: float) -> Array:
    """One pixel between four, the border repeated."""
    row, column = np.clip(row, 0, picture.shape[-2] - 1), np.clip(column, 0, picture.shape[-1] - 1)
    top, left = int(row), int(column)
    bottom, right = min(top + 1, picture.shape[-2] - 1), min(left + 1, picture.shape[-1] - 1)
    down, across = row - top, column - left
    upper = (1 - across) * picture[..., top, left] + across * picture[..., top, right]
    lower = (1 - across) * picture[..., bottom, left] + across * picture[..., bottom, right]
    found: Array = (1 - down) * upper + down * lower
    return found


def resized(sizes: tuple[int, int], mode: str) -> Array:
    found = np.zeros((*X.shape[:2], *sizes), np.float32)
    for i in range(sizes[0]):
        for j in range(sizes[1]):
            at = PLACES[mode](i, 5, sizes[0]), PLACES[mode](j, 4, sizes[1])
            found[..., i, j] = read(X, *at)
    return found


@pytest.mark.parametrize("sizes", [(10, 8), (3, 7), (1, 1)])
@pytest.mark.parametrize("mode", PLACES)
def test_a_size_may_be_asked_for(mode: str, sizes: tuple[int, int]) -> None:
    target = {"target_size_height": sizes[0], "target_size_width": sizes[1]}
    found = OPERATIONS["resize_bilinear"]({"x": X, "sampling_mode": mode, **target})
    np.testing.assert_allclose(found.numpy(), resized(sizes, mode), atol=1e-5)
    found = OPERATIONS["resize"](
        {"x": X, "shape": [9, *sizes], "resized_dims": 2, "sampling_mode": mode}
    )
    np.testing.assert_allclose(found.numpy(), resized(sizes, mode), atol=1e-5)


@pytest.mark.parametrize(
    ("flags", "mode"),
    [
        ({"align_corners": True}, "STRICT_ALIGN_CORNERS"),
        ({"align_corners": False}, "UNALIGN_CORNERS"),
        ({"align_corners": False, "half_pixel_centers": True}, "UNALIGN_CORNERS"),
        ({"align_corners": False, "half_pixel_centers": False}, "DEFAULT"),
    ],
)
def test_a_factor_may_be_asked_for(flags: dict[str, bool], mode: str) -> None:
    factors = {"scale_factor_height": np.float32(1.5), "scale_factor_width": 2}
    found = OPERATIONS["upsample_bilinear"]({"x": X, **factors, **flags})
    np.testing.assert_allclose(found.numpy(), resized((7, 8), mode), atol=1e-5)


def test_the_nearest_pixel_is_the_one_before() -> None:
    factors = {"scale_factor_height": 2, "scale_factor_width": np.float32(1.5)}
    found = OPERATIONS["upsample_nearest_neighbor"]({"x": X, **factors}).numpy()
    np.testing.assert_array_equal(found, X[:, :, np.arange(10) // 2][..., [0, 0, 1, 2, 2, 3]])
    target = {"target_size_height": 10, "target_size_width": 6}
    again = OPERATIONS["resize_nearest_neighbor"]({"x": X, **target}).numpy()
    np.testing.assert_array_equal(again, found)
    mode = {"interpolation_mode": "NEAREST_NEIGHBOR", "resized_dims": 2}
    np.testing.assert_array_equal(
        OPERATIONS["resize"]({"x": X, "shape": [0, 6], **mode}).numpy(),
        X[..., [0, 0, 1, 2, 2, 3]],
    )
    torch.testing.assert_close(
        torch.from_numpy(found), F.interpolate(torch.from_numpy(X), (10, 6), mode="nearest")
    )


def test_a_crop_takes_from_both_sides() -> None:
    found = OPERATIONS["crop"]({"x": X, "crop_height": [1, 2], "crop_width": [0, 1]})
    np.testing.assert_array_equal(found.numpy(), X[..., 1:-2, :-1])


def sampled(**how: Any) -> Array:
    usual = {
        "x": X,
        "sampling_mode": "bilinear",
        "padding_mode": "border",
        "padding_value": np.float32(0),
        "coordinates_mode": "normalized_minus_one_to_one",
        "align_corners": np.True_,
    }
    found: Array = OPERATIONS["resample"](usual | how).numpy()
    return found


GRID = RNG.uniform(-1.8, 1.8, (2, 6, 5, 2)).astype(np.float32)


@pytest.mark.parametrize("mode", ["bilinear", "nearest"])
@pytest.mark.parametrize("align", [False, True])
@pytest.mark.parametrize("padding", ["zeros", "border", "reflection"])
def test_resampling_is_torchs_grid_sample(padding: str, align: bool, mode: str) -> None:
    mirror = "reflection" if align else "symmetric"  # about centres, or about outer edges
    rule = {"zeros": "constant", "border": "border", "reflection": mirror}[padding]
    found = sampled(
        coordinates=GRID, padding_mode=rule, align_corners=np.bool_(align), sampling_mode=mode
    )
    x, grid = torch.from_numpy(X), torch.from_numpy(GRID)
    expected = F.grid_sample(x, grid, mode=mode, padding_mode=padding, align_corners=align)
    np.testing.assert_allclose(found, expected.numpy(), atol=1e-5)


def test_coordinates_may_be_pixels_or_shares() -> None:
    pixels = RNG.uniform(0, 3, (2, 6, 5, 2)).astype(np.float32)
    at_pixels = sampled(coordinates=pixels, coordinates_mode="unnormalized")
    expected = read(X[1], float(pixels[1, 2, 3, 1]), float(pixels[1, 2, 3, 0]))
    np.testing.assert_allclose(at_pixels[1, :, 2, 3], expected, atol=1e-5)
    shares = pixels / np.array([3, 4], np.float32)
    at_shares = sampled(coordinates=shares, coordinates_mode="normalized_zero_to_one")
    np.testing.assert_allclose(at_shares, at_pixels, atol=1e-5)


def test_the_picture_may_repeat_with_or_without_its_border() -> None:
    row = np.arange(1, 4, dtype=np.float32).reshape(1, 1, 1, 3)
    places = np.stack([np.arange(-3, 6), np.zeros(9)], -1).astype(np.float32)[None, None]
    how: dict[str, Any] = {"x": row, "coordinates": places, "coordinates_mode": "unnormalized"}
    # The examples of Core ML's documentation.
    reflected = sampled(**how, padding_mode="reflection")
    assert np.round(reflected[0, 0, 0]).tolist() == [2, 3, 2, 1, 2, 3, 2, 1, 2]
    symmetric = sampled(**how, padding_mode="symmetric")
    assert np.round(symmetric[0, 0, 0]).tolist() == [3, 2, 1, 1, 2, 3, 3, 2, 1]
    around = sampled(**how, padding_mode="constant", padding_value=np.float32(7))
    assert np.round(around[0, 0, 0]).tolist() == [7, 7, 7, 1, 2, 3, 7, 7, 7]


@pytest.mark.parametrize("align", [False, True])
def test_a_picture_seen_through_a_matrix(align: bool) -> None:
    theta = torch.tensor([[0.9, 0.2, 0.1, -0.1, 0.8, -0.2]])
    found = OPERATIONS["affine"](
        {"x": X[:1], "transform_matrix": theta, "output_height": 6, "output_width": 7}
        | {"align_corners": align}
    )
    grid = F.affine_grid(theta.reshape(1, 2, 3), [1, 3, 6, 7], align)
    expected = F.grid_sample(torch.from_numpy(X[:1]), grid, align_corners=align)
    torch.testing.assert_close(found, expected)
