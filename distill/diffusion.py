"""A diffusers scheduler -> how its network is asked, at a level of the straight path, for x0.

A network of another schedule sees the same clip and the same noise in other shares. Its own point
z' = alpha x0 + sigma e with sigma / alpha = t / (1 - t) is a multiple of z_t = (1 - t) x0 + t e,
and whatever it predicts there, x0 is linear in it: four numbers say all.
"""

# Shapes: any; t in [0, 1], 0 the clean clip, 1 pure noise.

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from minuet.contracts.errors import RequestError

BLIND = 1e-3  # a share of the clip below which predicted noise says nothing of it
PRECONDITIONED = ("EDMEulerScheduler", "EDMDPMSolverMultistepScheduler")


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One question: own = scale z_t, and x0 = keep own + gain f(own, timestep)."""

    timestep: float  # as the network counts; between whole steps where those are all it has
    scale: float
    keep: float
    gain: float
    bound: float = math.inf  # of |x0|, where the scheduler clips it

    def clean(self, own: Tensor, answer: Tensor) -> Tensor:
        """The network's own input and its answer -> x0, in float32."""
        x0 = self.keep * own.float() + self.gain * answer.float()
        return x0.clamp(-self.bound, self.bound)


Schedule = Callable[[float], Asked]


def schedule_of(scheduler: Any) -> Schedule:
    """How the network of a diffusers scheduler is asked at any level.

    Raises:
        RequestError: a scheduler, or a prediction, of which the levels are not known.
    """
    name, config = type(scheduler).__name__, scheduler.config
    prediction = config.get("prediction_type", "flow_prediction")
    if config.get("invert_sigmas"):
        raise RequestError(f"{name}: counts its levels upwards (invert_sigmas); not supported.")
    if name.startswith("FlowMatch") or config.get("use_flow_sigmas"):
        return Flow(steps=int(config["num_train_timesteps"]))
    if name in PRECONDITIONED and prediction in ("epsilon", "v_prediction"):
        sign = 1.0 if prediction == "epsilon" else -1.0
        sigmas = (float(config["sigma_min"]), float(config["sigma_max"]))
        return Preconditioned(sigmas=sigmas, data=float(config["sigma_data"]), sign=sign)
    if not hasattr(scheduler, "alphas_cumprod") or prediction not in PREDICTIONS:
        raise RequestError(
            f"{name} with prediction_type {prediction!r}: its levels are not known here. Known are "
            f"flow matching, EDM, and any with alphas_cumprod that predicts {sorted(PREDICTIONS)}."
        )
    clips = config.get("clip_sample") and not name.startswith("CogVideoX")  # says so, and does not
    bound = float(config.get("clip_sample_range", 1.0)) if clips else math.inf
    levels, timesteps = _trained_on(scheduler)
    return Preserving(levels=levels, timesteps=timesteps, prediction=prediction, bound=bound)


def _trained_on(scheduler: Any) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Levels that the network has seen, rising, and what it calls each."""
    kept = scheduler.alphas_cumprod.double().numpy()
    signal, spread = np.sqrt(kept), np.sqrt(1 - kept)
    levels, config = spread / (signal + spread), scheduler.config
    continuous = config.get("timestep_type") == "continuous"
    if not continuous or config["prediction_type"] != "v_prediction":
        return levels, np.arange(len(levels), dtype=np.float64)
    low = config.get("sigma_min") or levels[0] / (1 - levels[0])
    high = config.get("sigma_max") or levels[-1] / (1 - levels[-1])
    sigmas = np.geomspace(low, high, 4096)
    return sigmas / (1 + sigmas), 0.25 * np.log(sigmas)


@dataclass(frozen=True, slots=True, kw_only=True)
class Flow:
    """The straight path itself, v = e - x0. Lipman et al. 2022 (arXiv 2210.02747)."""

    steps: int  # what it calls level 1

    def __call__(self, t: float) -> Asked:
        return Asked(timestep=t * self.steps, scale=1.0, keep=1.0, gain=-t)


@dataclass(frozen=True, slots=True, kw_only=True)
class Preserving:
    """alpha^2 + sigma^2 = 1. Timesteps between whole ones are interpolated over the levels.

    Networks embed a timestep by sines, so a fraction is as good a question as a whole number.
    Below the first level and above the last the network is asked at that one, its input scaled to
    the clip's share there, or to the noise's: as its own sampler does when it begins with noise.
    """

    levels: NDArray[np.float64]
    timesteps: NDArray[np.float64]
    prediction: str
    bound: float = math.inf

    def __call__(self, t: float) -> Asked:
        near = min(max(t, float(self.levels[0])), float(self.levels[-1]))
        alpha, sigma = (1 - near) / math.hypot(1 - near, near), near / math.hypot(1 - near, near)
        if self.prediction == "epsilon" and alpha < BLIND:
            raise RequestError(
                f"level {t:g}: nothing of the clip is left there (zero terminal SNR), so a network "
                "that predicts noise cannot say what it was; ask it below, or one that predicts v."
            )
        keep, gain = PREDICTIONS[self.prediction](alpha, sigma)
        return Asked(
            timestep=float(np.interp(near, self.levels, self.timesteps)),
            scale=min(alpha / (1 - t) if t < 1 else math.inf, sigma / t if t > 0 else math.inf),
            keep=keep,
            gain=gain,
            bound=self.bound,
        )


# x0 = keep z' + gain output. Salimans and Ho 2022 (arXiv 2202.00512), sec. 4 and app. D.
PREDICTIONS: dict[str, Callable[[float, float], tuple[float, float]]] = {
    "epsilon": lambda alpha, sigma: (1 / alpha, -sigma / alpha),
    "v_prediction": lambda alpha, sigma: (alpha, -sigma),
    "sample": lambda alpha, sigma: (0.0, 1.0),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Preconditioned:
    """x = x0 + s e around a raw network. Karras et al. 2022 (arXiv 2206.00364), table 1."""

    sigmas: tuple[float, float]  # the least and the greatest it has seen
    data: float  # the clips' own standard deviation
    sign: float  # of what the raw network adds

    def __call__(self, t: float) -> Asked:
        low, high = self.sigmas
        s = min(max(t / (1 - t) if t < 1 else math.inf, low), high)
        wide = math.hypot(s, self.data)
        inside = 1 / (1 - t) if s != high else s / t  # x = z_t / (1 - t), or noise of width s
        return Asked(
            timestep=0.25 * math.log(s),
            scale=inside / wide,
            keep=self.data**2 / wide,
            gain=self.sign * s * self.data / wide,
        )


class Stepped(tuple[Tensor, Tensor]):
    """What a scheduler's step gives, however its pipeline likes to take it."""

    @property
    def prev_sample(self) -> Tensor:
        """The latents to go on with."""
        return self[0]


class OneStep:
    """A scheduler of one step, which goes from a level to the clean estimate at once.

    Given to a pipeline in the place of its own, it makes of the pipeline's call one question to
    its network: conditions, layout and guidance are the pipeline's own doing.
    """

    asked: Asked
    order = 1
    init_noise_sigma = 1.0  # the noisy latents are given as they are

    def set_timesteps(
        self,
        num_inference_steps: int | None = None,
        device: Any = None,
        timesteps: Any = None,
        sigmas: Any = None,
        **more: Any,
    ) -> None:
        """One step, whatever is asked for."""
        self.num_inference_steps = 1
        self.timesteps = torch.tensor([self.asked.timestep], device=device)

    def scale_model_input(self, sample: Tensor, timestep: Any = None) -> Tensor:
        """Nothing: the latents are the network's own input already."""
        return sample

    def step(self, model_output: Tensor, *args: Any, **kwargs: Any) -> Stepped:
        """The clean estimate. The latents come last, or by name."""
        own: Tensor = kwargs["sample"] if "sample" in kwargs else args[-1]
        if own.shape != model_output.shape:
            raise RequestError(
                f"the network answers {tuple(model_output.shape)} to latents {tuple(own.shape)}; "
                "one that predicts its own variance is not supported."
            )
        clean = self.asked.clean(own, model_output).to(own.dtype)
        return Stepped((clean, clean))


def one_step(scheduler: Any, asked: Asked) -> Any:
    """A copy of a scheduler that takes one step, and is else what its pipeline expects."""
    import copy

    probe = copy.copy(scheduler)
    probe.__class__ = type("OneStep", (OneStep, type(scheduler)), {})
    probe.asked, probe.init_noise_sigma = asked, 1.0
    return probe
