"""A pipeline is loaded from weights that are all there, whatever their files are called."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from minuet.contracts.errors import DamagedError
from minuet.export.sources.folder import read_folder
from minuet.export.sources.pipeline import load_pipeline
from tests.pipelines import build

pytest.importorskip("diffusers")
Weights = dict[str, torch.Tensor]


def changed(folder: Path, change: Callable[[Weights], Weights]) -> Path:
    """The pipeline's folder with other weights in one component."""
    (path,) = folder.glob("*.safetensors")
    save_file(change(load_file(path)), path, {"format": "pt"})
    return folder.parent


def without(name: str) -> Callable[[Weights], Weights]:
    return lambda weights: {k: v for k, v in weights.items() if k != name}


@pytest.mark.parametrize(
    ("pipeline", "component", "lost"),
    [("flux", "transformer", "proj_out.weight"), ("sd", "unet", "conv_norm_out.bias")],
)
def test_a_weight_that_only_others_end_like_is_missing(
    tmp_path: Path, pipeline: str, component: str, lost: str
) -> None:
    path = changed(build(pipeline, tmp_path / "made") / component, without(lost))
    with pytest.raises(DamagedError, match=f"{lost} is in none of its weight files"):
        load_pipeline(read_folder(path))


def test_the_prefix_that_a_library_knows_may_stand_before_every_name(tmp_path: Path) -> None:
    folder = build("sd", tmp_path / "made")
    expected = load_pipeline(read_folder(folder)).text_encoder.state_dict()
    changed(folder / "text_encoder", lambda rows: {f"clip.{k}": w for k, w in rows.items()})
    found = load_pipeline(read_folder(folder)).text_encoder.state_dict()
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_a_prefix_that_it_does_not_know_is_none(tmp_path: Path) -> None:
    path = changed(
        build("sd", tmp_path / "made") / "text_encoder",
        lambda rows: {k.removeprefix("text_model."): w for k, w in rows.items()},
    )
    with pytest.raises(DamagedError, match=r"text_model.* is in none of its weight files"):
        load_pipeline(read_folder(path))


def test_attention_that_is_called_as_it_once_was_is_there(tmp_path: Path) -> None:
    old = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}

    def renamed(weights: Weights) -> Weights:
        for new, name in old.items():
            weights = {key.replace(f".{new}.", f".{name}."): w for key, w in weights.items()}
        return weights

    path = changed(build("sd", tmp_path / "made") / "vae", renamed)
    assert not load_pipeline(read_folder(path)).vae.encoder.conv_in.weight.is_meta


def test_shards_of_a_variant_are_one_variant(tmp_path: Path) -> None:
    folder = build("sd", tmp_path / "made")
    (whole,) = (folder / "unet").glob("*.safetensors")
    weights = load_file(whole)
    rows: dict[str, str] = {}
    whole.unlink()
    for at in range(2):
        name = f"diffusion_pytorch_model.fp16-{at + 1:05d}-of-00002.safetensors"
        some: dict[str, Any] = {key: weights[key] for key in list(weights)[at::2]}
        save_file(some, whole.with_name(name), {"format": "pt"})
        rows |= dict.fromkeys(some, name)
    index = whole.with_name("diffusion_pytorch_model.safetensors.index.fp16.json")
    index.write_text(json.dumps({"metadata": {"total_size": 0}, "weight_map": rows}))
    found = load_pipeline(read_folder(folder)).unet.state_dict()
    assert all(torch.equal(found[name], weights[name]) for name in weights)
