"""A pipeline's whole denoising as one program is the pipeline, or is refused."""

from typing import Any

import numpy as np
import pytest
import torch

from minuet.contracts.errors import RequestError
from minuet.export.sources.folder import read_folder
from minuet.export.sources.fused import fused
from minuet.export.sources.part import Part
from minuet.export.sources.pipeline import load_pipeline
from minuet.export.sources.record import Request
from tests.pipelines import CALLS, PIPELINES, build

pytest.importorskip("diffusers")


def loaded(name: str) -> Any:
    return load_pipeline(read_folder(build(name)))


def request(name: str, steps: int = 2) -> Request:
    call = dict(CALLS[name])
    size = (call.pop("height"), call.pop("width"))
    frames, guidance = call.pop("num_frames", None), call.pop("guidance_scale", None)
    more = {k: v for k, v in call.items() if k in ("max_sequence_length",)}
    return Request(size=size, frames=frames, guidance=guidance, steps=steps, more=more)


def names(part: Part) -> list[str]:
    return [spec.name for spec in part.signature.inputs]


@pytest.mark.parametrize(
    ("name", "inputs"),
    [
        ("lcm", ["prompt_embeds", "noise_0", "noise_1"]),
        ("flux", ["prompt_embeds", "pooled_prompt_embeds", "text_ids", "noise_0"]),
        ("svd", ["image_embeddings", "image_latents", "noise_1"]),
    ],
)
def test_conditioning_and_noise_are_the_inputs_and_nothing_else(
    name: str, inputs: list[str]
) -> None:
    part = fused(loaded(name), request(name))
    assert names(part) == inputs and part.about["steps"] == 2
    first, second = part.cases
    assert (first.inputs[inputs[0]] != second.inputs[inputs[0]]).any()


def test_the_program_gives_what_the_pipeline_gives() -> None:
    pipeline = loaded("sd_turbo")
    part = fused(pipeline, request("sd_turbo", steps=1))
    run = part.program().exported.module()
    for case in part.cases:
        found = run(*(torch.from_numpy(case.inputs[name]) for name in names(part)))
        np.testing.assert_allclose(found[0].numpy(), case.outputs["images"], atol=1e-5)
    generator = torch.Generator().manual_seed(0)
    from minuet.export.sources.record import PROMPTS

    (real,) = pipeline(
        PROMPTS[0], 32, 32, 1, guidance_scale=0.0, generator=generator, output_type="pt",
        return_dict=False,
    )[:1]  # fmt: skip
    np.testing.assert_array_equal(real.numpy(), part.cases[0].outputs["images"])


@pytest.mark.slow
@pytest.mark.parametrize("name", PIPELINES)
def test_every_pipeline_is_captured_whole_and_equal(name: str) -> None:
    part = fused(loaded(name), request(name))
    run = part.program().exported.module()
    for case in part.cases:
        found = run(*(torch.from_numpy(case.inputs[one]) for one in names(part)))
        (output,) = part.signature.outputs
        np.testing.assert_allclose(found[0].numpy(), case.outputs[output.name], atol=3e-4)


def test_a_pipeline_is_as_it_was_afterwards() -> None:
    pipeline = loaded("lcm")
    scheduler = pipeline.scheduler
    fused(pipeline, request("lcm"))
    assert pipeline.scheduler is scheduler
    hidden = [vars(pipeline), vars(scheduler), vars(pipeline.text_encoder)]
    assert not any({"encode_prompt", "step", "forward"} & set(one) for one in hidden)


def test_more_steps_than_a_program_may_have_are_refused() -> None:
    with pytest.raises(RequestError, match=r"1 to 8 steps, not 9; export the components"):
        fused(loaded("lcm"), request("lcm", steps=9))


def test_a_scheduler_that_clips_is_refused() -> None:
    pipeline = loaded("sd2")
    pipeline.scheduler.register_to_config(clip_sample=True)
    with pytest.raises(RequestError, match=r"DDIMScheduler is not linear .*clip_sample is on"):
        fused(pipeline, request("sd2"))


def test_something_of_the_first_example_left_in_the_program_is_found_by_the_second() -> None:
    pipeline, seen = loaded("lcm"), {"letters": 0}
    decode = pipeline.vae.decode
    pipeline.check_inputs = lambda prompt, *_, **__: seen.update(letters=len(prompt))
    pipeline.vae.decode = lambda z, *a, **k: decode(z + seen["letters"], *a, **k)
    with pytest.raises(RequestError, match=r"LatentConsistencyModelPipeline as one .*differs"):
        fused(pipeline, request("lcm"))


def test_a_choice_that_depends_on_the_example_is_refused_with_its_line() -> None:
    pipeline = loaded("lcm")
    decode = pipeline.vae.decode

    def chosen(z: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        if float(z.flatten()[0]):  # a value of the noise
            z = -z
        return decode(z, *args, **kwargs)

    pipeline.vae.decode = chosen
    with pytest.raises(RequestError, match=r"goes another way .* at .*test_fused\.py:\d+"):
        fused(pipeline, request("lcm"))
