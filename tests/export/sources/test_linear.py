"""Samplers as sums: equal to diffusers' own for each kind of them; what is no sum is refused."""

import copy
from typing import Any

import pytest
import torch
from torch import Tensor

from minuet.contracts.errors import RequestError
from minuet.export.sources.linear import Draws, Stepping, Sums, recorded_call

diffusers = pytest.importorskip("diffusers")

STEPS = 4
BETAS = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
SCHEDULERS: dict[str, tuple[str, dict[str, Any]]] = {
    "Euler": ("EulerDiscreteScheduler", BETAS),
    "Euler, trailing, v": (
        "EulerDiscreteScheduler",
        BETAS | {"timestep_spacing": "trailing", "prediction_type": "v_prediction"},
    ),
    "Euler, Karras": ("EulerDiscreteScheduler", BETAS | {"use_karras_sigmas": True}),
    "Euler, ancestral": ("EulerAncestralDiscreteScheduler", BETAS),
    "DDIM": ("DDIMScheduler", BETAS | {"clip_sample": False}),
    "LCM": ("LCMScheduler", BETAS),
    "PNDM": ("PNDMScheduler", BETAS | {"skip_prk_steps": True}),
    "DPM-Solver++": ("DPMSolverMultistepScheduler", BETAS),
    "SDE": ("DPMSolverMultistepScheduler", BETAS | {"algorithm_type": "sde-dpmsolver++"}),
    "UniPC": ("UniPCMultistepScheduler", BETAS),
    "Heun": ("HeunDiscreteScheduler", BETAS),
    "TCD": ("TCDScheduler", BETAS),
    "flow, Euler": ("FlowMatchEulerDiscreteScheduler", {"shift": 3.0}),
    "flow, Heun": ("FlowMatchHeunDiscreteScheduler", {"shift": 3.0}),
}  # fmt: skip


class Run:
    """A denoising loop around a network that is made up, with a scheduler or its twin."""

    def __init__(self, scheduler: Any, noises: list[Tensor]) -> None:
        self.scheduler, self.noises, self.steps = scheduler, noises, list[Stepping]()

    def __call__(self, *, record: bool = False) -> Tensor:
        rng = torch.Generator().manual_seed(0)
        x = torch.randn(1, 3, 4, 4, generator=rng) * float(self.scheduler.init_noise_sigma or 1)
        for t in self.scheduler.timesteps:
            seen = x
            if hasattr(self.scheduler, "scale_model_input"):
                seen = self._call(record, "scale_model_input", x, t)
            made = torch.tanh(seen) + 0.3 * torch.randn(x.shape, generator=rng)
            x = self._call(record, "step", made, t, x, return_dict=False)[0]
        return x

    def _call(self, record: bool, method: str, *args: Any, **kwargs: Any) -> Any:
        given = recorded_call(self.scheduler, method, args, kwargs) if record else {}
        drawn: list[Tensor] = []

        def draw(real: Any) -> Tensor:
            drawn.append(real() if record else self.noises.pop(0))
            return drawn[-1]

        with Draws(draw):
            made = getattr(self.scheduler, method)(*args, **kwargs)
        if record:
            self.steps.append(Stepping(method=method, given=given, draws=tuple(drawn)))
            self.noises += drawn
        return made


def ready(name: str, more: dict[str, Any] | None = None) -> Any:
    kind, config = SCHEDULERS[name]
    scheduler = getattr(diffusers, kind)(**config | (more or {}))
    scheduler.set_timesteps(STEPS)
    if not hasattr(scheduler, "init_noise_sigma"):
        scheduler.init_noise_sigma = 1.0
    return scheduler


@pytest.mark.parametrize("name", SCHEDULERS)
def test_the_sums_give_what_the_scheduler_gives(name: str) -> None:
    torch.manual_seed(0)
    scheduler = ready(name)
    before, noises = copy.deepcopy(scheduler), list[Tensor]()
    real = Run(scheduler, noises)
    expected = real(record=True)
    sums = Sums(before, real.steps)
    sums.begin(lambda: noises.pop(0))
    found = Run(sums.scheduler, noises)()
    assert float((expected - found).abs().max()) < 1e-4 * float(expected.abs().max())
    assert isinstance(sums.scheduler, type(scheduler))


@pytest.mark.parametrize("more", [{"thresholding": True}, {"clip_sample": True}])
def test_what_clips_is_refused_by_name(more: dict[str, Any]) -> None:
    scheduler = ready("DDIM", more)
    before = copy.deepcopy(scheduler)
    real = Run(scheduler, [])
    real(record=True)
    with pytest.raises(RequestError, match=f"DDIMScheduler is not linear .*{next(iter(more))}"):
        Sums(before, real.steps)


def test_a_twin_can_run_again_and_again() -> None:
    scheduler = ready("DPM-Solver++")
    before = copy.deepcopy(scheduler)
    real = Run(scheduler, [])
    expected = real(record=True)
    sums = Sums(before, real.steps)
    for _ in range(2):
        sums.begin(lambda: torch.zeros(()))
        torch.testing.assert_close(Run(sums.scheduler, [])(), expected, rtol=1e-4, atol=1e-4)
