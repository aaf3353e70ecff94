"""A pipeline's folder is looked at before anything in it is loaded, and nothing in it is run."""

import json
import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from minuet.contracts.errors import DamagedError, MinuetError, RequestError
from minuet.export.sources.folder import read_folder

pytest.importorskip("diffusers")

INDEX = {
    "_class_name": "StableDiffusionPipeline",
    "_diffusers_version": "0.39.0",
    "unet": ["diffusers", "UNet2DConditionModel"],
    "safety_checker": [None, None],
    "requires_safety_checker": False,
}


def made(path: Path) -> Path:
    """Looks like a pipeline; there are no weights to speak of."""
    (path / "unet").mkdir(parents=True)
    (path / "model_index.json").write_text(json.dumps(INDEX))
    (path / "unet/config.json").write_text('{"_class_name": "UNet2DConditionModel"}')
    (path / "unet/diffusion_pytorch_model.safetensors").write_bytes(safetensors({"w": (2, 3)}))
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return made(tmp_path / "pipeline")


def safetensors(shapes: dict[str, tuple[int, ...]]) -> bytes:
    rows = {
        name: {"dtype": "U8", "shape": shape, "data_offsets": [0, 0]}
        for name, shape in shapes.items()
    }
    header = json.dumps(rows).encode()
    return struct.pack("<Q", len(header)) + header


def index(**changes: Any) -> Callable[[Path], None]:
    def spoil(path: Path) -> None:
        rows = {k: v for k, v in (INDEX | changes).items() if v is not ...}
        (path / "model_index.json").write_text(json.dumps(rows))

    return spoil


def config(**changes: Any) -> Callable[[Path], None]:
    return lambda path: write(path / "unet/config.json", json.dumps(changes))


def write(path: Path, text: str) -> None:
    path.write_text(text)


def pickled(path: Path) -> None:
    weights = path / "unet/diffusion_pytorch_model.safetensors"
    weights.rename(weights.with_suffix(".bin"))


def shards(*names: str, ending: str = "index.json") -> Callable[[Path], None]:
    rows = {"weight_map": {f"w{at}": name for at, name in enumerate(names)}}
    place = f"unet/diffusion_pytorch_model.safetensors.{ending}"
    return lambda path: write(path / place, json.dumps(rows))


def symlinked(path: Path) -> None:
    outside = path.parent / "secret.safetensors"
    outside.write_bytes(b"x")
    (path / "unet/more.safetensors").symlink_to(outside)


def linked_folder(path: Path) -> None:
    (path / "vae").symlink_to("unet")
    index(vae=["diffusers", "AutoencoderKL"])(path)


def cached(path: Path) -> None:
    """As the cache of the Hugging Face hub has it."""
    blobs = path.parent / "blobs"
    blobs.mkdir()
    for file in [file for file in path.rglob("*") if file.is_file()]:
        file.rename(blobs / file.name)
        file.symlink_to(blobs / file.name)


def hard_linked(path: Path) -> None:
    outside = path.parent / "secret.safetensors"
    outside.write_bytes(b"x")
    os.link(outside, path / "unet/more.safetensors")


def piped(path: Path) -> None:
    os.mkfifo(path / "unet/pipe.json")


REQUESTS: dict[str, tuple[Callable[[Path], None], str]] = {
    "no pipeline": (lambda p: (p / "model_index.json").unlink(), "neither a student"),
    "code beside the weights": (lambda p: write(p / "unet/model.py", ""), "model.py: code"),
    "a custom pipeline": (index(_class_name=["pipeline", "Mine"]), "custom.*package.module:fac"),
    "a custom pipeline by name": (index(custom_pipeline="me/mine"), "custom.*package.module:fac"),
    "remote code for all": (index(auto_map={"X": "x.Y"}), "model_index.json: asks for code"),
    "trusted remote code for all": (index(trust_remote_code=True), "model_index.json: asks for"),
    "a network for a pipeline": (index(_class_name="AutoencoderKL"), "is no pipeline of diffusers"),
    "a function for a component": (
        index(unet=["transformers", "pipeline"]),
        "unet: transformers.pipeline is no class that from_pretrained loads; name",
    ),
    "a pipeline of one's own": (index(_class_name="MyPipeline"), "MyPipeline is in neither"),
    "a component of one's own": (index(unet=["my_code", "UNet"]), "unet: my_code.UNet"),
    "remote code": (config(auto_map={"AutoModel": "x.Y"}), "auto_map.*Remove the entry.*:factory"),
    "trusted remote code": (config(trust_remote_code=True), "trust_remote_code"),
    "pickled weights": (pickled, r"a pickle.*safetensors.torch.*weights_only=True"),
    "a shard that is a pickle": (shards("config.json"), "no safetensors file.*Save"),
}
DAMAGES: dict[str, tuple[Callable[[Path], None], str]] = {
    "no class": (index(_class_name=...), "names no pipeline class"),
    "a class with a path": (index(_class_name="os.system"), "names no pipeline class"),
    "half an index": (lambda p: write(p / "model_index.json", "{"), "not readable"),
    "a component that is missing": (
        index(vae=["diffusers", "AutoencoderKL"]),
        "vae is missing from the folder",
    ),
    "a component named like a path": (index(**{"../x": ["diffusers", "X"]}), "not a component"),
    "nothing at all": (index(unet=...), "any component is missing"),
    "a shard outside": (shards("../../secret.safetensors"), "points outside its folder"),
    "a shard of a variant outside": (
        shards("../../secret.safetensors", ending="index.fp16.json"),
        "points outside its folder",
    ),
    "a shard of an older variant outside": (
        shards("../../secret.safetensors", ending="fp16.index.json"),
        "points outside its folder",
    ),
    "an absolute shard": (shards("/etc/passwd"), "points outside its folder"),
    "a shard that is missing": (shards("model-00001-of-00002.safetensors"), "a shard that is"),
    "an index of shards without shards": (shards(), "has no weight_map"),
    "a symbolic link": (symlinked, "more.safetensors: a link.*cp -rL"),
    "a link to a folder inside": (linked_folder, "vae: a link.*cp -rL"),
    "the cache of a hub": (cached, "a link.*cp -rL"),
    "a hard link": (hard_linked, "more.safetensors: a link.*cp -rL"),
    "a pipe": (piped, "neither a file nor a folder; remove it"),
}


def test_a_sound_folder_is_known_by_its_components_and_its_hash(folder: Path) -> None:
    found = read_folder(folder)
    assert found.pipeline == "StableDiffusionPipeline"
    assert found.components == {"unet": ("diffusers", "UNet2DConditionModel")}
    (folder / "unet/config.json").write_text('{"sample_size": 8}')
    assert read_folder(folder).sha256 != found.sha256


@pytest.mark.parametrize(("kind", "rows"), [(RequestError, REQUESTS), (DamagedError, DAMAGES)])
def test_a_hostile_or_broken_folder_is_refused_in_one_message(
    kind: type[MinuetError], rows: dict[str, Any], tmp_path: Path
) -> None:
    for at, (spoil, message) in enumerate(rows.values()):
        path = made(tmp_path / str(at) / "pipeline")
        spoil(path)
        with pytest.raises(kind, match=message):
            read_folder(path)


def test_a_file_beyond_any_model_is_refused(folder: Path) -> None:
    huge = folder / "unet/huge.safetensors"
    with huge.open("wb") as stream:
        stream.truncate(65 << 30)  # a hole: takes no room
    with pytest.raises(DamagedError, match="larger than 64 GiB; save it in shards"):
        read_folder(folder)


def test_nowhere_is_said(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="no such folder"):
        read_folder(tmp_path / "nowhere")
