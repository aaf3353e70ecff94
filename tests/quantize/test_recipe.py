"""A recipe on disk and back, and everything that can be wrong with one."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from minuet.contracts.errors import DamagedError, RequestError
from minuet.quantize.palettes import palettize, to_arrays
from minuet.quantize.recipe import (
    RANGES,
    RECIPE,
    TENSORS,
    is_quantized,
    read_recipe,
    treatments,
    write_recipe,
)
from minuet.quantize.schemes import check_scheme
from tests.quantize.tiny import LAYERS, recipe

RANGES_SEEN = {"stem@0.in": (-1.0, 1.0)}
WEIGHTS = "0" * 64


def test_a_recipe_and_its_ranges_come_back(tmp_path: Path) -> None:
    assert not is_quantized(tmp_path)
    written = write_recipe(tmp_path, recipe(("out",), ("film",)), RANGES_SEEN)
    assert is_quantized(tmp_path) and len(written.ranges_sha256) == 64
    found = read_recipe(tmp_path, WEIGHTS)
    assert (found.recipe, found.ranges, found.tensors) == (written, RANGES_SEEN, {})


def test_the_same_recipe_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_recipe(tmp_path / name, recipe(), RANGES_SEEN)
    for name in (RECIPE, RANGES):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_float_wins_over_weights_and_the_rest_is_int8() -> None:
    found = treatments(LAYERS, ["out"], ["out", "film"])
    assert found == {"stem": "int8", "mlp": "int8", "film": "weights", "out": "float"}


def test_a_recipe_that_quantizes_nothing_is_refused() -> None:
    with pytest.raises(RequestError, match="nothing is quantized: 4 layers"):
        treatments(LAYERS, ["*"], [])


def test_an_unknown_scheme_names_those_there_are() -> None:
    with pytest.raises(RequestError, match="'int3' is not known; choose from int8"):
        replace(recipe(), scheme="int3")
    with pytest.raises(RequestError, match="int8-dynamic is not made for coreml"):
        check_scheme("int8-dynamic", ("onnx", "coreml"))


def test_ranges_of_other_weights_are_refused(tmp_path: Path) -> None:
    write_recipe(tmp_path, recipe(), RANGES_SEEN)
    with pytest.raises(DamagedError, match="other weights"):
        read_recipe(tmp_path, "f" * 64)


def test_ranges_that_were_changed_are_refused(tmp_path: Path) -> None:
    write_recipe(tmp_path, recipe(), RANGES_SEEN)
    data = bytearray((tmp_path / RANGES).read_bytes())
    data[-1] ^= 1
    (tmp_path / RANGES).write_bytes(data)
    with pytest.raises(DamagedError, match="its hash is not the one"):
        read_recipe(tmp_path, WEIGHTS)
    (tmp_path / RANGES).unlink()
    with pytest.raises(DamagedError, match="missing"):
        read_recipe(tmp_path, WEIGHTS)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"schema": 99}, "newer minuet"),
        ({"method": {"colour": "red"}}, "damaged recipe"),
        ({"layers": None}, "damaged recipe"),
        ({"seed": ...}, "damaged recipe"),
    ],
)
def test_a_recipe_that_is_none_is_refused(
    tmp_path: Path, change: dict[str, object], words: str
) -> None:
    write_recipe(tmp_path, recipe(), RANGES_SEEN)
    value = json.loads((tmp_path / RECIPE).read_text()) | change
    kept = {name: one for name, one in value.items() if one is not ...}
    (tmp_path / RECIPE).write_text(json.dumps(kept))
    with pytest.raises(DamagedError, match=words):
        read_recipe(tmp_path, WEIGHTS)


def test_palettes_are_stored_as_codes_and_come_back_as_weights(tmp_path: Path) -> None:
    weight = np.random.default_rng(0).standard_normal((16, 3, 3, 3)).astype(np.float32)
    palette, bias = palettize(weight, 3), np.ones(3, np.float32)
    kept = {**to_arrays({"stem.weight": palette}), "out.bias": bias}
    write_recipe(tmp_path, recipe(), {}, kept)
    assert (tmp_path / TENSORS).stat().st_size < weight.nbytes
    found = read_recipe(tmp_path, WEIGHTS).tensors
    assert sorted(found) == ["out.bias", "stem.weight"]
    np.testing.assert_array_equal(found["stem.weight"], palette.unpack())
    kept["stem.weight.codes"] = np.full_like(palette.codes, 8)
    write_recipe(tmp_path, recipe(), {}, kept)
    with pytest.raises(DamagedError, match=r"codes of stem\.weight point outside their table"):
        read_recipe(tmp_path, WEIGHTS)
