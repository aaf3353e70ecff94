"""A network of any schedule says what the clip was: as in closed form, and as its own sampler."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from minuet.contracts.errors import RequestError
from minuet.distill.diffusion import OneStep, one_step, schedule_of

diffusers = pytest.importorskip("diffusers")
MEAN, WIDTH = 0.4, 0.7  # of the clips: one Gaussian, of which everything is known
SCALED = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
KARRAS = {"prediction_type": "v_prediction", "timestep_type": "continuous"} | {
    "sigma_min": 0.002,
    "sigma_max": 700.0,
    "use_karras_sigmas": True,
}
ZERO = {"rescale_betas_zero_snr": True, "clip_sample": False}
ROWS: dict[str, tuple[str, dict[str, Any]]] = {
    "epsilon": ("DDIMScheduler", SCALED | {"clip_sample": False}),
    "v": ("DDIMScheduler", SCALED | {"clip_sample": False, "prediction_type": "v_prediction"}),
    "x0": ("DDPMScheduler", SCALED | {"clip_sample": False, "prediction_type": "sample"}),
    "v to the end": ("DDIMScheduler", SCALED | ZERO | {"prediction_type": "v_prediction"}),
    "euler": ("EulerDiscreteScheduler", SCALED),
    "karras": ("EulerDiscreteScheduler", SCALED | KARRAS),
    "edm": ("EDMEulerScheduler", {}),
    "edm, v": ("EDMEulerScheduler", {"prediction_type": "v_prediction"}),
    "flow": ("FlowMatchEulerDiscreteScheduler", {"shift": 3.0}),
    "unipc": ("UniPCMultistepScheduler", {"use_flow_sigmas": True}),
}


def made(row: str) -> Any:
    name, given = ROWS[row]
    return getattr(diffusers, name)(**given)


def posterior(z: Tensor, alpha: float, sigma: float) -> Tensor:
    """E[x0 | alpha x0 + sigma e = z], Gaussian data."""
    gain = alpha * WIDTH**2 / (alpha**2 * WIDTH**2 + sigma**2)
    return MEAN + gain * (z - alpha * MEAN)


def shares(scheduler: Any, timestep: float) -> tuple[float, float]:
    """The clip's and the noise's share of what the network sees, from the timestep alone."""
    if scheduler.config.get("prediction_type") == "flow_prediction" or "Flow" in str(scheduler):
        return 1 - timestep / 1000, timestep / 1000
    if "EDM" in type(scheduler).__name__ or scheduler.config.get("timestep_type") == "continuous":
        sigma = math.exp(4 * timestep)
        return 1 / math.hypot(1, sigma), sigma / math.hypot(1, sigma)
    kept = scheduler.alphas_cumprod.double()
    low = min(int(timestep), len(kept) - 2)
    sigmas = ((1 - kept) / kept).sqrt()
    levels = (sigmas / (1 + sigmas)).nan_to_num(1.0)
    t = float(torch.lerp(levels[low], levels[low + 1], timestep - low))
    return (1 - t) / math.hypot(t, 1 - t), t / math.hypot(t, 1 - t)


def exact(scheduler: Any, own: Tensor, timestep: float) -> Tensor:
    """What the ideal network of a scheduler answers, from its definition."""
    alpha, sigma = shares(scheduler, timestep)
    prediction = scheduler.config.get("prediction_type")
    if "EDM" in type(scheduler).__name__:
        s, data = sigma / alpha, float(scheduler.config.sigma_data)
        x = own * math.hypot(s, data)
        x0 = posterior(x, 1.0, s)
        out = (x0 - data**2 / (s**2 + data**2) * x) * math.hypot(s, data) / (s * data)
        return out if prediction == "epsilon" else -out
    x0 = posterior(own, alpha, sigma)
    noise = (own - alpha * x0) / sigma
    if prediction == "epsilon":
        return noise
    if prediction == "v_prediction":
        return alpha * noise - sigma * x0
    return x0 if prediction == "sample" else noise - x0


@pytest.mark.parametrize("row", [row for row in ROWS if row != "unipc"])
@pytest.mark.parametrize("t", [0.1, 0.37, 0.5, 0.8, 0.93])
def test_the_ideal_network_gives_the_posterior_mean(row: str, t: float) -> None:
    scheduler = made(row)
    asked = schedule_of(scheduler)(t)
    z = torch.linspace(-2, 2, 9, dtype=torch.float64)
    own = asked.scale * z
    found = asked.clean(own, exact(scheduler, own, asked.timestep))
    assert_close(found, posterior(z, 1 - t, t).float(), atol=2e-5, rtol=2e-5)


@pytest.mark.parametrize("row", ROWS)
def test_the_clean_estimate_is_the_schedulers_own(row: str) -> None:
    """Along its own run, with an arbitrary network: what its step takes x0 to be."""
    scheduler, rng = made(row), torch.Generator().manual_seed(0)
    scheduler.set_timesteps(6)
    latents = torch.randn(3, 4, generator=rng, dtype=torch.float64)
    latents = latents * getattr(scheduler, "init_noise_sigma", 1.0)
    for index, timestep in enumerate(scheduler.timesteps[:4]):
        alpha, sigma = shares(scheduler, float(timestep))
        flows = row in ("flow", "unipc")
        level = float(scheduler.sigmas[index]) if flows else sigma / (alpha + sigma)
        asked = schedule_of(scheduler)(level)
        own = latents if flows else scheduler.scale_model_input(latents, timestep)
        output = torch.tanh(own + 0.3 * index)
        stepped = scheduler.step(output, timestep, latents, return_dict=True)
        expected = latents - level * output if flows else stepped.pred_original_sample
        assert_close(asked.clean(own, output), expected.float(), atol=3e-4, rtol=3e-4)
        latents = stepped.prev_sample


@pytest.mark.parametrize("row", ["epsilon", "v", "euler"])
def test_a_whole_timestep_is_asked_for_at_its_own_level(row: str) -> None:
    scheduler = made(row)
    for timestep in (1, 250, 999):
        kept = float(scheduler.alphas_cumprod[timestep])
        spread = math.sqrt(1 - kept)
        asked = schedule_of(scheduler)(spread / (math.sqrt(kept) + spread))
        assert asked.timestep == pytest.approx(timestep, abs=1e-3)
        assert asked.scale == pytest.approx(math.sqrt(kept) + spread, rel=1e-6)


def test_above_its_last_level_a_network_is_asked_as_its_sampler_begins() -> None:
    asked = schedule_of(made("epsilon"))(1.0)
    assert asked.timestep == 999 and asked.scale == pytest.approx(1.0, abs=4e-3)
    assert math.isfinite(asked.keep) and schedule_of(made("epsilon"))(0.0).timestep == 0


def test_predicted_noise_says_nothing_where_no_clip_is_left() -> None:
    scheduler = diffusers.DDIMScheduler(**SCALED, **ZERO)
    with pytest.raises(RequestError, match=r"level 1: nothing of the clip is left .* predicts v"):
        schedule_of(scheduler)(1.0)
    assert math.isfinite(schedule_of(scheduler)(0.95).keep)


def test_predicted_v_says_all_of_it_there() -> None:
    asked = schedule_of(made("v to the end"))(1.0)
    assert (asked.timestep, asked.keep, asked.gain) == (999, 0.0, -1.0)


def test_what_a_scheduler_clips_is_clipped() -> None:
    asked = schedule_of(diffusers.DDIMScheduler(**SCALED))(0.5)
    assert asked.clean(torch.full((2,), 9.0), torch.zeros(2)).tolist() == [1.0, 1.0]


@pytest.mark.parametrize(
    ("name", "given", "told"),
    [
        ("ScoreSdeVeScheduler", {}, "ScoreSdeVeScheduler .*levels are not known"),
        ("DDPMScheduler", {"prediction_type": "magic"}, "'magic': its levels are not known"),
        ("FlowMatchEulerDiscreteScheduler", {"invert_sigmas": True}, "counts its levels upwards"),
    ],
)
def test_an_unknown_schedule_is_refused(name: str, given: dict[str, Any], told: str) -> None:
    with pytest.raises(RequestError, match=told):
        schedule_of(getattr(diffusers, name)(**given))


def test_a_scheduler_of_one_step_is_still_what_its_pipeline_expects() -> None:
    scheduler = made("euler")
    probe = one_step(scheduler, schedule_of(scheduler)(0.5))
    probe.set_timesteps(30, device="cpu")
    assert probe.config == scheduler.config and scheduler.init_noise_sigma != 1
    assert isinstance(probe, type(scheduler)) and isinstance(probe, OneStep)
    assert len(probe.timesteps) == 1 and probe.init_noise_sigma == 1 and probe.order == 1


def test_a_network_that_predicts_its_variance_is_refused() -> None:
    scheduler = made("epsilon")
    probe = one_step(scheduler, schedule_of(scheduler)(0.5))
    with pytest.raises(RequestError, match="predicts its own variance"):
        probe.step(torch.zeros(1, 8, 2, 2), 1, torch.zeros(1, 4, 2, 2))
