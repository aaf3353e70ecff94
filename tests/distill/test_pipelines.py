"""Any diffusers pipeline is a teacher: asked at a level it says what its own sampler believes."""

import functools
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from minuet.contracts.errors import RequestError
from minuet.distill.diffusion import schedule_of
from minuet.distill.path import euler
from minuet.distill.pipelines import PipelineTeacher, text
from minuet.distill.predict import Condition, Guided
from minuet.distill.teacher import Space, insist_same_space
from tests.pipelines import CALLS, PIPELINES, SIDE, _save, _scheduler, _sd, _unet, build

diffusers = pytest.importorskip("diffusers")
SLOW, LARGE = pytest.mark.slow, ("animatediff", "i2vgen", "svd")
TWO = ("image_guidance_scale", "guidance_scale")


def instruct_pix2pix(folder: Path) -> Path:
    """Edits a picture by words, with a guidance scale for each."""
    parts = _sd() | {
        "unet": _unet(in_channels=8),
        "scheduler": _scheduler("DDIMScheduler", clip_sample=False),
    }
    torch.manual_seed(0)
    _save(folder, "StableDiffusionInstructPix2PixPipeline", parts)
    return folder


@functools.cache
def opened(name: str) -> Any:
    """The pipeline of a name in tests/pipelines.py; its folder is our own."""
    return diffusers.DiffusionPipeline.from_pretrained(build(name))


def teacher(name: str, pipeline: Any = None, **given: Any) -> PipelineTeacher:
    arguments = {k: v for k, v in CALLS[name].items() if k not in ("prompt", "image")}
    return PipelineTeacher(name, pipeline or opened(name), arguments | given, weights=name)


@pytest.fixture(scope="session")
def editor(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = instruct_pix2pix(tmp_path_factory.mktemp("pix2pix") / "made")
    return diffusers.DiffusionPipeline.from_pretrained(folder)


def asked(one: PipelineTeacher, count: int = 2, seed: int = 0) -> tuple[Tensor, Condition]:
    rng = torch.Generator().manual_seed(seed)
    noise = torch.randn(count, *one.space.shape, generator=rng)
    words = text(["a red rabbit", "the snow", "paw"][:count])
    return noise, {"text": words, "image": torch.rand(count, 3, SIDE, SIDE, generator=rng)}


def stepped(one: PipelineTeacher, noise: Tensor, condition: Condition) -> Tensor:
    """Our Euler steps through the very levels of the pipeline's own run."""
    scheduler = diffusers.__dict__[type(one.pipeline.scheduler).__name__].from_config(
        one.pipeline.scheduler.config
    )
    levels, begin = own_levels(one, scheduler)
    noisy = noise * begin
    for t, s in pairwise(levels):
        clean = one.predict(noisy, torch.full((len(noise),), t), condition)
        noisy = euler(noisy, clean, t, s)
    return noisy


def own_levels(one: PipelineTeacher, scheduler: Any) -> tuple[list[float], float]:
    """A run's levels from the scheduler itself, and what noise is multiplied by to begin it."""
    steps = one.arguments["num_inference_steps"]
    scheduler.set_timesteps(steps)
    if type(scheduler).__name__ == "FlowMatchEulerDiscreteScheduler":
        return scheduler.sigmas.tolist(), 1.0
    if hasattr(scheduler, "sigmas"):
        levels = [float(sigma / (1 + sigma)) for sigma in scheduler.sigmas]
        return levels, float(scheduler.init_noise_sigma) * (1 - levels[0])
    kept = scheduler.alphas_cumprod[scheduler.timesteps].double()
    signal, spread = kept.sqrt(), (1 - kept).sqrt()
    levels = [*(spread / (signal + spread)).tolist(), 0.0]
    return levels, 1 / float(signal[0] + spread[0])


@pytest.mark.parametrize(
    ("name", "scheduler", "given"),
    [
        ("sd", "DDIMScheduler", {"clip_sample": False, "set_alpha_to_one": True}),  # epsilon
        ("sd_turbo", None, {}),  # epsilon, sigmas
        ("sd2", None, {}),  # v
        pytest.param("animatediff", None, {}, marks=SLOW),  # epsilon, frames
        pytest.param("i2vgen", None, {}, marks=SLOW),  # epsilon, frames after a picture
        pytest.param("svd", None, {}, marks=SLOW),  # v, Karras, guidance a frame
        ("sd3", None, {}),  # flow
        ("wan", None, {}),  # flow, frames
        ("cogvideox", None, {}),  # v, zero terminal SNR
    ],
)
def test_our_steps_through_its_answers_end_where_its_own_sampler_ends(
    name: str, scheduler: str | None, given: dict[str, Any]
) -> None:
    more = {"guidance_scale": 3.0} if "guidance_scale" not in CALLS[name] and name != "svd" else {}
    more |= {"noise_aug_strength": 0.0} if name == "svd" else {}
    more |= {"max_guidance_scale": 2.5} if name == "svd" else {}
    one = teacher(name, num_inference_steps=3, **more)
    before = one.pipeline.scheduler
    if scheduler:
        made = getattr(diffusers, scheduler).from_config(before.config, **given)
        one.pipeline.scheduler = made
        one.schedule = schedule_of(made)
    try:
        noise, condition = asked(one, 1)
        expected = one.sample(noise, condition)
        found = stepped(one, noise, condition)
        assert expected.std() > 0.1
        assert_close(found, expected, atol=5e-3 * float(expected.std()), rtol=5e-3)
    finally:
        one.pipeline.scheduler = before


@pytest.mark.parametrize("name", ["flux", "ltx", "ltx_image"])
def test_so_they_do_where_the_pipeline_shifts_its_own_levels(name: str) -> None:
    one = teacher(name, num_inference_steps=3)
    noise, condition = asked(one, 1)
    seen: list[list[float]] = []
    real = one.pipeline.scheduler.set_timesteps
    kind = type(one.pipeline.scheduler)

    @functools.wraps(real)
    def noted(self: Any, *args: Any, **kwargs: Any) -> None:
        real.__func__(self, *args, **kwargs)
        seen.append(self.sigmas.tolist())

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kind, "set_timesteps", noted)
        expected = one.sample(noise, condition)
    noisy = noise
    for t, s in pairwise(seen[0]):
        clean = one.predict(noisy, torch.tensor([t]), condition)
        noisy = euler(noisy, clean, t, s)
    free = slice(None) if one.held is None else ~one.held
    assert_close(noisy[0][free], expected[0][free], atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=SLOW if name in LARGE else []) for name in sorted(PIPELINES)],
)
def test_every_kind_of_pipeline_is_asked_and_sampled(name: str) -> None:
    one = teacher(name)
    noise, condition = asked(one)
    answer = one.predict(noise, torch.tensor([0.5, 0.7]), condition)
    ends = one.sample(noise, condition)
    assert answer.shape == ends.shape == noise.shape and answer.dtype == torch.float32
    assert answer.isfinite().all() and ends.isfinite().all() and not answer.requires_grad
    alone = {key: value[1:] for key, value in condition.items()}
    assert_close(
        one.predict(noise[1:], torch.tensor([0.7]), alone)[0], answer[1], atol=1e-3, rtol=0
    )
    assert_close(one.sample(noise[1:], alone)[0], ends[1], atol=1e-3, rtol=0)


def test_an_answer_depends_on_words_level_and_scale() -> None:
    one = teacher("sd")
    noise, condition = asked(one, 1)
    t_B = torch.tensor([0.5])
    usual = one.predict(noise, t_B, condition)
    for other in (
        one.predict(noise, t_B, {"text": text(["the snow"])}),
        one.predict(noise, torch.tensor([0.8]), condition),
        one.predict(noise, t_B, {**condition, "scales": torch.tensor([[2.0]])}),
    ):
        assert (other - usual).abs().max() > 1e-4


def test_our_guidance_over_its_unguided_answers_is_its_own_guidance() -> None:
    one, plain = teacher("sd"), teacher("sd", guidance_scale=1.0)
    noise, condition = asked(one, 1)
    expected = one.predict(noise, torch.tensor([0.5]), condition)
    found = Guided(predictor=plain.predict, scales={"text": 7.5})(
        noise, torch.tensor([0.5]), {"text": condition["text"]}
    )
    assert_close(found, expected, atol=1e-4, rtol=1e-4)


def test_an_editor_has_a_scale_for_its_picture_and_one_for_its_words(editor: Any) -> None:
    given = {"num_inference_steps": 3, "guidance_scale": 3.0, "image_guidance_scale": 1.5}
    one = PipelineTeacher("edit", editor, given, weights="", scales=TWO, size=(SIDE, SIDE))
    noise, condition = asked(one, 1)
    t_B = torch.tensor([0.6])
    usual = one.predict(noise, t_B, condition)
    told = {**condition, "scales": torch.tensor([[1.5, 3.0]])}
    assert torch.equal(one.predict(noise, t_B, told), usual)
    for scales in ([2.5, 3.0], [1.5, 6.0]):
        told["scales"] = torch.tensor([scales])
        assert (one.predict(noise, t_B, told) - usual).abs().max() > 1e-5
    expected = one.sample(noise, condition)
    assert_close(stepped(one, noise, condition), expected, atol=1e-3, rtol=1e-3)


def test_a_picture_that_stands_in_the_latents_stays_there() -> None:
    one = teacher("ltx_image")
    assert one.held is not None and 0 < one.held.float().mean() < 1
    noise, condition = asked(one, 1)
    first = one.predict(noise, torch.tensor([0.5]), condition)[0][one.held]
    condition = {**condition, "image": 1 - condition["image"]}
    other = one.predict(noise, torch.tensor([0.5]), condition)[0][one.held]
    assert (first - other).abs().max() > 1e-3
    assert teacher("svd").held is None and teacher("ltx").held is None


def test_a_film_has_frames_of_red_green_and_blue() -> None:
    one = teacher("animatediff")
    _, condition = asked(one)
    frames = one.film(condition, seed=3, numbers=[7, 8])
    assert frames.shape == (2, 2, 3, SIDE, SIDE) and 0 <= frames.min() and frames.max() <= 1
    again = one.film({key: value[1:] for key, value in condition.items()}, seed=3, numbers=[8])
    assert_close(again[0], frames[1], atol=1e-3, rtol=0)
    assert teacher("sd").film(condition, 3, [7, 8]).shape == (2, 1, 3, SIDE, SIDE)


def test_a_sticker_is_shown_over_the_backdrop_and_words_are_spelt() -> None:
    one = teacher("svd", noise_aug_strength=0.0)
    noise, condition = asked(one, 1)
    rgb = condition["image"]
    alpha = torch.zeros_like(rgb[:, :1])
    alpha[..., :16] = 1
    sticker = torch.cat([rgb * alpha, alpha], dim=1)
    over = rgb * alpha + 1 - alpha
    found = one.predict(noise, torch.tensor([0.5]), {"image": sticker})
    assert torch.equal(found, one.predict(noise, torch.tensor([0.5]), {"image": over}))
    spelt = PipelineTeacher(
        "sd",
        opened("sd"),
        {"num_inference_steps": 2},
        weights="",
        told={"prompt": "tokens"},
        spell=lambda row: "the snow" if row == [3] else "",
    )
    noise, _ = asked(spelt, 1)
    by_number = spelt.predict(noise, torch.tensor([0.5]), {"tokens": torch.tensor([[3]])})
    plain = teacher("sd").predict(noise, torch.tensor([0.5]), {"text": text(["the snow"])})
    assert torch.equal(by_number, plain)


def test_its_digest_is_of_weights_arguments_and_sampler() -> None:
    pipeline, given = opened("sd"), {"num_inference_steps": 2}
    usual = PipelineTeacher("sd", pipeline, given, weights="a").digest
    assert PipelineTeacher("other", pipeline, given, weights="a").digest == usual
    assert PipelineTeacher("sd", pipeline, given, weights="b").digest != usual
    more = given | {"guidance_scale": 2.0}
    assert PipelineTeacher("sd", pipeline, more, weights="a").digest != usual


def test_asking_leaves_the_pipeline_and_the_dice_as_they_were() -> None:
    one = teacher("i2vgen")
    scheduler, state = one.pipeline.scheduler, torch.get_rng_state()
    noise, condition = asked(one, 1)
    one.predict(noise, torch.tensor([0.5]), condition)
    one.sample(noise, condition)
    assert one.pipeline.scheduler is scheduler and "prepare_latents" not in vars(one.pipeline)
    assert torch.equal(torch.get_rng_state(), state)


def test_other_latents_than_the_teachers_are_refused() -> None:
    one = teacher("sd")
    noise, condition = asked(one, 1)
    with pytest.raises(RequestError, match=r"sd: answers in latents .*\(4, 16, 16\); \(4, 8, 8\)"):
        one.predict(noise[..., :8, :8], torch.tensor([0.5]), condition)
    insist_same_space(one.space, one)
    for other in (Space(shape=one.space.shape), Space(shape=(4, 8, 8), codec=one.space.codec)):
        with pytest.raises(RequestError, match="same size and the same autoencoder"):
            insist_same_space(other, one)
    assert teacher("sd2").space.shape == one.space.shape  # and yet other latents
    with pytest.raises(RequestError, match="works in latents of autoencoder"):
        insist_same_space(teacher("flux").space, one)


def test_what_cannot_be_asked_is_refused_at_once() -> None:
    with pytest.raises(RequestError, match="StableDiffusionPipeline takes no num_frames"):
        PipelineTeacher("sd", opened("sd"), {"num_frames": 3}, weights="")
    with pytest.raises(RequestError, match=r"could not be called with .*height.*divisible by 8"):
        PipelineTeacher("sd", opened("sd"), {"height": 13, "width": 8}, weights="")
    one = teacher("svd")
    noise, _ = asked(one, 1)
    with pytest.raises(RequestError, match="svd: must be told image; the condition has text"):
        one.predict(noise, torch.tensor([0.5]), {"text": text(["paw"])})
