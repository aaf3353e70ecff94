"""A folder becomes a teacher only if nothing in it has to be executed to read it."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from minuet.contracts.errors import DamagedError, RequestError
from minuet.distill.pipelines import text
from minuet.teaching import pipeline_teacher
from tests.pipelines import build

pytest.importorskip("diffusers")
STEPS = {"num_inference_steps": 2}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return build("sd", tmp_path / "sd")


def pickled(folder: Path) -> None:
    (weights,) = (folder / "unet").glob("*.safetensors")
    weights.rename(weights.with_suffix(".bin"))


def code(folder: Path) -> None:
    (folder / "pipeline.py").write_text("raise SystemExit('executed')")


def indexed(**entries: object) -> Callable[[Path], None]:
    def harm(folder: Path) -> None:
        index = json.loads((folder / "model_index.json").read_text())
        (folder / "model_index.json").write_text(json.dumps(index | entries))

    return harm


def remote(folder: Path) -> None:
    path = folder / "unet" / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"auto_map": {"A": "b.A"}}))


@pytest.mark.parametrize(
    ("harm", "told"),
    [
        (pickled, "a pickle, which can run code when it is read; refused"),
        (code, "code that came with the weights; it is not run"),
        (indexed(_class_name=["mine", "Pipeline"]), "asks for a custom pipeline, which is code"),
        (indexed(trust_remote_code=True), "asks for code that comes with the model"),
        (indexed(_class_name="MyPipeline"), "MyPipeline is in neither diffusers nor transformers"),
        (indexed(unet=["mine", "Net"]), "mine.Net is in neither diffusers nor transformers"),
        (remote, "asks for code that comes with the model"),
    ],
)
def test_what_would_have_to_be_executed_is_refused(
    folder: Path, harm: Callable[[Path], None], told: str
) -> None:
    harm(folder)
    with pytest.raises(RequestError, match=told):
        pipeline_teacher("sd", folder, STEPS)


def test_a_folder_that_is_not_there_or_not_whole_is_refused(folder: Path) -> None:
    with pytest.raises(RequestError, match="no such folder"):
        pipeline_teacher("sd", folder / "none", STEPS)
    for file in (folder / "vae").iterdir():
        file.unlink()
    (folder / "vae").rmdir()
    with pytest.raises(DamagedError, match="vae is missing"):
        pipeline_teacher("sd", folder, STEPS)


def test_a_whole_folder_is_a_teacher_signed_by_its_weights(folder: Path) -> None:
    one = pipeline_teacher("sd", folder, STEPS)
    noise = torch.randn(1, *one.space.shape, generator=torch.Generator().manual_seed(0))
    answer = one.predict(noise, torch.tensor([0.5]), {"text": text(["a red rabbit"])})
    assert answer.shape == noise.shape and one.name == "sd"
    again = pipeline_teacher("other", folder, STEPS)
    assert again.digest == one.digest
    assert pipeline_teacher("sd", folder, STEPS | {"guidance_scale": 2.0}).digest != one.digest
