"""What is written for optimum.onnxruntime runs there, and makes the pictures that torch makes."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch

from minuet.contracts.errors import RequestError
from minuet.export.optimum_layout import Written, write_optimum
from tests import pipelines

SAME = 1e-4  # of pixels in 0..1: two runtimes' sums in another order


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, tuple[Written, ...]]:
    out = tmp_path_factory.mktemp("optimum") / "sd"
    return out, write_optimum(pipelines.build("sd"), out)


def pictures(pipeline: Any, name: str, **more: Any) -> np.ndarray:
    given = pipelines.arguments(name) | {"generator": torch.Generator().manual_seed(3)}
    pipeline.set_progress_bar_config(disable=True)
    found: np.ndarray = pipeline(**given | {"output_type": "np"} | more).images
    return found


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_optimums_pipeline_makes_the_same_pictures(
    written: tuple[Path, tuple[Written, ...]],
) -> None:
    optimum = pytest.importorskip("optimum.onnxruntime")
    import diffusers

    theirs = optimum.ORTStableDiffusionPipeline.from_pretrained(written[0])
    ours = diffusers.DiffusionPipeline.from_pretrained(pipelines.build("sd"))
    # Another number of pictures and another shape than the example's: the axes are open.
    for more in ({}, {"num_images_per_prompt": 2, "height": 48, "width": 64}):
        expected = pictures(ours, "sd", **more)
        assert expected.std() > 0.01
        np.testing.assert_allclose(pictures(theirs, "sd", **more), expected, atol=SAME)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("name", "kind"),
    [("sdxl", "ORTStableDiffusionXLPipeline"), ("flux", "ORTFluxPipeline")],
)
def test_two_text_encoders_and_packed_latents_run_there_too(
    tmp_path: Path, name: str, kind: str
) -> None:
    optimum = pytest.importorskip("optimum.onnxruntime")
    import diffusers

    write_optimum(pipelines.build(name), tmp_path / name)
    theirs = getattr(optimum, kind).from_pretrained(tmp_path / name)
    ours = diffusers.DiffusionPipeline.from_pretrained(pipelines.build(name))
    expected = pictures(ours, name, height=48, width=64)
    assert expected.std() > 0.01
    np.testing.assert_allclose(pictures(theirs, name, height=48, width=64), expected, atol=SAME)


@pytest.mark.slow
def test_names_and_open_axes_are_optimums(written: tuple[Path, tuple[Written, ...]]) -> None:
    folder, rows = written
    assert {row.folder for row in rows} == {"text_encoder", "unet", "vae_encoder", "vae_decoder"}
    assert not any(row.fixed for row in rows)
    graph = onnx.load(str(folder / "unet/model.onnx")).graph
    assert [v.name for v in graph.input] == ["sample", "timestep", "encoder_hidden_states"]
    assert [v.name for v in graph.output] == ["out_sample"]
    assert not graph.input[1].type.tensor_type.shape.dim
    assert (folder / "unet/config.json").is_file() and (folder / "tokenizer").is_dir()


def test_a_pipeline_without_a_class_there_is_refused(tmp_path: Path) -> None:
    source = tmp_path / "wan"
    shutil.copytree(pipelines.build("sd"), source)
    index = source / "model_index.json"
    index.write_text(index.read_text().replace("StableDiffusionPipeline", "WanPipeline"))
    with pytest.raises(RequestError, match=r"has no WanPipeline; export it as a bundle"):
        write_optimum(source, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_pipeline_is_not_replaced_and_least_of_all_the_source(tmp_path: Path) -> None:
    source, other = tmp_path / "sd", tmp_path / "other"
    shutil.copytree(pipelines.build("sd"), source)
    shutil.copytree(source, other)
    (tmp_path / "link").symlink_to(source)
    for out, message in (
        (other, "is no folder of --optimum alone"),
        (source, "is or holds the source itself"),
        (tmp_path / "link", "is or holds the source itself"),
        (tmp_path, "is or holds the source itself"),
    ):
        before = sorted(out.rglob("*"))
        with pytest.raises(RequestError, match=message):
            write_optimum(source, out)
        assert sorted(out.rglob("*")) == before


def test_weights_beside_networks_of_ours_are_kept(tmp_path: Path) -> None:
    out = tmp_path / "mixed"
    (out / "unet").mkdir(parents=True)
    (out / "model_index.json").write_text("{}")
    (out / "unet/model.onnx").write_bytes(b"x")
    for name in ("unet/diffusion_pytorch_model.safetensors", "unet/pytorch_model.bin"):
        (out / name).write_bytes(b"years of training")
        with pytest.raises(RequestError, match="is no folder of --optimum alone"):
            write_optimum(pipelines.build("sd"), out)
        (out / name).unlink()


@pytest.mark.slow
def test_what_was_written_here_is_replaced(
    written: tuple[Path, tuple[Written, ...]], tmp_path: Path
) -> None:
    out = Path(shutil.copytree(written[0], tmp_path / "sd"))
    (out / "unet/model.onnx").write_bytes(b"old")
    write_optimum(pipelines.build("sd"), out)
    assert (out / "unet/model.onnx").read_bytes() == (written[0] / "unet/model.onnx").read_bytes()
