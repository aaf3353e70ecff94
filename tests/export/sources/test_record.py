"""One cheap run of a real pipeline says what its components take and give."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from minuet.contracts.errors import DamagedError, RequestError
from minuet.export.sources.folder import read_folder
from minuet.export.sources.pipeline import components, load_pipeline
from minuet.export.sources.record import Request, arguments, picture
from tests.pipelines import CALLS, PIPELINES, build

pytest.importorskip("diffusers")

# What each is made of, as the pipeline itself calls it.
MADE_OF = {
    "sd": {"text_encoder", "unet", "vae_decoder"},
    "sdxl": {"text_encoder", "text_encoder_2", "unet", "vae_decoder"},
    "sd3": {"text_encoder", "text_encoder_2", "text_encoder_3", "transformer", "vae_decoder"},
    "flux": {"text_encoder", "text_encoder_2", "transformer", "vae_decoder"},
    "svd": {"image_encoder", "unet", "vae_decoder", "vae_encoder"},
    "i2vgen": {"image_encoder", "text_encoder", "unet", "vae_decoder", "vae_encoder"},
    "ltx_image": {"text_encoder", "transformer", "vae_decoder", "vae_encoder"},
}
SETTLED = ("prompt", "image", "height", "width", "num_frames", "guidance_scale")


def request(name: str, steps: int = 2) -> Request:
    """The cheap call of tests/pipelines.py, as the command line would ask for it."""
    call = dict(CALLS[name])
    more = {k: v for k, v in call.items() if k not in (*SETTLED, "num_inference_steps")}
    size = (call["height"], call["width"])
    guidance, frames = call.get("guidance_scale"), call.get("num_frames")
    return Request(size=size, frames=frames, guidance=guidance, steps=steps, more=more)


@pytest.mark.parametrize("name", ["sd", "flux", "svd"])
def test_components_are_found_by_running_the_pipeline(name: str) -> None:
    parts = components(read_folder(build(name)), request(name))
    assert {part.name for part in parts} == MADE_OF[name]
    assert all(1 <= len(part.cases) <= 2 for part in parts)


@pytest.mark.slow
@pytest.mark.parametrize("name", PIPELINES)
def test_every_component_of_every_pipeline_is_captured_and_equal(name: str) -> None:
    parts = components(read_folder(build(name)), request(name))
    assert {part.name for part in parts} == MADE_OF.get(name, {part.name for part in parts})
    for part in parts:
        run = part.program().exported.module()
        for case in part.cases:
            found = run(*(torch.from_numpy(case.inputs[s.name]) for s in part.signature.inputs))
            for spec, value in zip(part.signature.outputs, found, strict=True):
                expected = case.outputs[spec.name]
                worst = 1e-4 * max(float(np.abs(expected).max()), 1e-3)
                np.testing.assert_allclose(value.detach().numpy(), expected, atol=worst)


def test_the_two_golden_cases_of_a_denoiser_are_of_different_steps() -> None:
    (unet,) = components(read_folder(build("sd")), request("sd"), ["unet"])
    first, last = (case.inputs["timestep"] for case in unet.cases)
    assert first != last
    names = [spec.name for spec in unet.signature.inputs]
    assert names == ["sample", "timestep", "encoder_hidden_states"]
    assert unet.signature.inputs[0].shape[0] == 2  # guidance: with and without the prompt


def test_an_autoencoders_tensors_are_called_as_optimum_calls_them() -> None:
    parts = components(read_folder(build("svd")), request("svd"), ["vae_encoder", "vae_decoder"])
    names = {p.name: (p.signature.inputs[0].name, p.signature.outputs[0].name) for p in parts}
    assert names["vae_decoder"] == ("latent_sample", "sample")
    assert names["vae_encoder"] == ("sample", "latent_parameters")


def test_what_a_pipeline_has_not_is_refused_with_what_it_has() -> None:
    with pytest.raises(RequestError, match=r"does not call controlnet; its components are .*unet"):
        components(read_folder(build("sd")), request("sd"), ["controlnet"])


class Pipeline:
    """Only the signature of one."""

    def __call__(self, prompt: str, height: int = 8, mask: Any = None) -> None: ...


class Demanding:
    def __call__(self, prompt: str, control_image: Any, num_inference_steps: int = 2) -> None: ...


def test_arguments_are_chosen_by_the_names_of_parameters() -> None:
    real = load_pipeline(read_folder(build("sd")))
    given = arguments(real, Request(steps=3, size=(32, 64), more={"guidance_rescale": 0.5}))
    assert (given["height"], given["width"], given["num_inference_steps"]) == (32, 64, 3)
    assert given["guidance_rescale"] == 0.5 and given["output_type"] == "pt"
    assert "num_frames" not in given and "image" not in given


def test_the_second_example_has_another_prompt_picture_and_seed() -> None:
    one, other = (np.asarray(picture((32, 32), at)) for at in range(2))
    assert (one != other).any()
    real = load_pipeline(read_folder(build("sd")))
    first, second = (arguments(real, Request(), at) for at in range(2))
    assert first["prompt"] != second["prompt"]
    assert first["generator"].initial_seed() != second["generator"].initial_seed()


@pytest.mark.parametrize(
    ("kind", "request_", "message"),
    [
        (Pipeline, Request(frames=4), "Pipeline has no num_frames, num_inference_steps; it takes"),
        (Demanding, Request(), "Demanding needs control_image, of which no example is known"),
    ],
)
def test_a_call_that_cannot_be_made_up_is_refused(
    kind: type, request_: Request, message: str
) -> None:
    with pytest.raises(RequestError, match=message):
        arguments(kind(), request_)


@pytest.mark.parametrize(
    "more",
    [{"size": (9000, 8)}, {"size": (0, 8)}, {"frames": 5000}, {"steps": 5000}],
)
def test_absurd_sizes_are_refused(more: dict[str, Any]) -> None:
    with pytest.raises(RequestError, match="not"):
        Request(**more)


def spoiled(tmp_path: Path, name: str, **config: Any) -> Path:
    import json

    folder = build("sd", tmp_path / "sd")
    path = folder / name / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | config))
    return folder


@pytest.mark.parametrize(
    ("component", "config", "message"),
    [
        ("unet", {"cross_attention_dim": 64}, "could not be loaded .*must belong together"),
        ("text_encoder", {"num_hidden_layers": 3}, "is in none of its weight files|could not be"),
    ],
)
def test_a_configuration_that_does_not_fit_its_weights_is_refused(
    tmp_path: Path, component: str, config: dict[str, Any], message: str
) -> None:
    with pytest.raises(DamagedError, match=message):
        load_pipeline(read_folder(spoiled(tmp_path, component, **config)))


def test_components_that_do_not_fit_one_another_are_refused(tmp_path: Path) -> None:
    import shutil

    folder = build("sd", tmp_path / "sd")
    shutil.rmtree(folder / "text_encoder")
    shutil.copytree(build("sd3") / "text_encoder_3", folder / "text_encoder")
    import json

    index = json.loads((folder / "model_index.json").read_text())
    index["text_encoder"] = ["transformers", "T5EncoderModel"]
    (folder / "model_index.json").write_text(json.dumps(index))
    with pytest.raises(RequestError, match=r"could not be run with .*fit one another"):
        components(read_folder(folder), request("sd"))
