"""Weights are safetensors, whole and in their own folder; of others it is said how to get there."""

import json
import shlex
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from minuet.contracts.errors import DamagedError, RequestError
from minuet.export.sources.folder import read_folder
from minuet.export.sources.pipeline import load_pipeline
from minuet.export.sources.weights import check_weights, is_shard_index, shapes_in, variant_of
from tests.pipelines import build

pytest.importorskip("diffusers")


@pytest.mark.parametrize(
    "name",
    [
        "model.safetensors.index.json",
        "model.safetensors.index.fp16.json",
        "model.safetensors.index.fp16-ema.json",
        "model.safetensors.fp16.index.json",
    ],
)
def test_an_index_of_shards_may_be_a_variants(name: str) -> None:
    assert is_shard_index(name)


@pytest.mark.parametrize(
    "name", ["model.safetensors", "pytorch_model.bin.index.json", "index.json"]
)
def test_any_other_file_is_no_index_of_safetensors(name: str) -> None:
    assert not is_shard_index(name)


@pytest.mark.parametrize(
    ("name", "variant"),
    [
        ("model.safetensors", ""),
        ("model-00001-of-00002.safetensors", ""),
        ("unet/model.fp16.safetensors", "fp16"),
        ("model.fp16-00001-of-00013.safetensors", "fp16"),
        ("model-00001-of-00013.fp16.safetensors", "fp16"),
    ],
)
def test_a_shard_is_of_its_variant(name: str, variant: str) -> None:
    assert variant_of(name) == variant


def pickle(folder: Path, shards: int) -> None:
    """The weights of a component as torch used to write them, tied ones as one."""
    (safe,) = folder.glob("*.safetensors")
    weights = load_file(safe)
    first = next(iter(weights))
    weights["another_name"] = weights[first]
    safe.unlink()
    stem = "pytorch_model" if safe.stem == "model" else safe.stem
    names = list(weights)
    if shards == 1:
        torch.save(weights, folder / f"{stem}.bin")
        return
    files = [f"{stem}-{at + 1:05d}-of-{shards:05d}.bin" for at in range(shards)]
    for at, file in enumerate(files):
        torch.save({name: weights[name] for name in names[at::shards]}, folder / file)
    rows = {name: files[at % shards] for at, name in enumerate(names)}
    (folder / f"{stem}.bin.index.json").write_text(json.dumps({"weight_map": rows}))


@pytest.mark.slow
@pytest.mark.parametrize(("component", "shards"), [("text_encoder", 2), ("unet", 1)])
def test_the_advice_for_a_pickle_makes_a_pipeline_that_loads(
    tmp_path: Path, component: str, shards: int
) -> None:
    folder = build("sd", tmp_path / "a pipeline's folder")
    before = load_pipeline(read_folder(folder)).components[component].state_dict()
    pickle(folder / component, shards)
    with pytest.raises(RequestError, match="a pickle, which can run code") as refused:
        read_folder(folder)
    python, *rest = shlex.split(str(refused.value).partition("sandbox: ")[2])
    assert python == "python" and str(folder / component) in rest
    subprocess.run([sys.executable, *rest], check=True, cwd="/")
    after = load_pipeline(read_folder(folder)).components[component].state_dict()
    assert set(after) == set(before)
    assert all(torch.equal(after[name], before[name]) for name in before)


def test_a_variant_in_pickles_stays_one_and_other_libraries_write_anew(tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    for name, said in (
        ("x/model.fp16-00001-of-00002.bin", r"'model.fp16-\*-of-00002.bin' stem.fp16.safetensors"),
        ("x/tf_model.h5", "Get the weights as safetensors"),
    ):
        with pytest.raises(RequestError, match=said):
            check_weights(tmp_path, [name], "stem")


def header(shapes: dict[str, tuple[int, ...]]) -> bytes:
    rows: dict[str, Any] = {
        name: {"dtype": "U8", "shape": shape, "data_offsets": [0, 0]}
        for name, shape in shapes.items()
    }
    text = json.dumps(rows).encode()
    return struct.pack("<Q", len(text)) + text


def test_a_header_says_the_shapes(tmp_path: Path) -> None:
    (tmp_path / "x.safetensors").write_bytes(header({"w": (2, 3)}))
    assert shapes_in(tmp_path / "x.safetensors") == {"w": (2, 3)}


LIES = [
    b"",
    bytes(8),
    struct.pack("<Q", 1 << 40) + b"{}",
    struct.pack("<Q", 2) + b"[]",
    struct.pack("<Q", 2) + b"{x",
]


@pytest.mark.parametrize("data", LIES)
def test_a_header_that_lies_is_refused(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "x.safetensors").write_bytes(data)
    with pytest.raises(DamagedError, match=r"x\.safetensors"):
        shapes_in(tmp_path / "x.safetensors")
