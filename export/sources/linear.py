"""A scheduler that was run once -> the same steps as fixed sums, without a branch in them.

For fixed timesteps the common samplers (Euler, DDIM, flow matching, LCM, PNDM, DPM-Solver++) are
linear in what they are given: x, what the network made of it, and noise, now and before. So each
of their results is a sum of these with fixed weights, and the weights are found by running the
scheduler itself on unit vectors. What is not linear (clipping, thresholding) is refused.
"""

from __future__ import annotations

import copy
import functools
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import FrameType
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from minuet.contracts.errors import RequestError
from minuet.export.sources.part import given_to, takes
from minuet.export.sources.tree import leaves, rebuilt

STEPPING = ("scale_model_input", "step")
RANDOM = frozenset({torch.randn, torch.randn_like, torch.rand, torch.rand_like})
DECIDING = frozenset(
    {
        *(Tensor.__bool__, Tensor.__int__, Tensor.__float__, Tensor.__index__, Tensor.__contains__),
        *(Tensor.item, Tensor.tolist, Tensor.is_nonzero, Tensor.equal, torch.equal),
    }
)
TRIALS = 64  # random values on which the sums must agree with the scheduler
LINEAR = 1e-4  # of the largest value: float32 sums in another order, sigmas up to 700

Draw = Callable[[], Tensor]


class Draws(TorchFunctionMode):
    """Everything drawn at random comes from a function of ours, which may ask for the real one.

    So may every value that leaves tensors for Python, where the program is decided by it.

    Args:
        decide: is given where in the code that happens, and what would give the value.
    """

    def __init__(
        self,
        draw: Callable[[Draw], Tensor],
        decide: Callable[[str, Callable[[], Any]], Any] | None = None,
    ) -> None:
        super().__init__()
        self.draw, self.decide = draw, decide

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        def real() -> Any:
            return func(*args, **(kwargs or {}))

        if func in RANDOM:
            return self.draw(real)
        if self.decide and func in DECIDING:
            return self.decide(_place(sys._getframe(1)), real)
        return real()


def _place(frame: FrameType | None) -> str:
    """The line of code that asked, beyond torch's own."""
    while frame and f"{os.sep}torch{os.sep}" in frame.f_code.co_filename:
        frame = frame.f_back
    return f"{frame.f_code.co_filename}:{frame.f_lineno}" if frame else "?"


@dataclass(frozen=True, slots=True, kw_only=True)
class Stepping:
    """One call of a scheduler, as it was recorded."""

    method: str
    given: dict[str, Any]
    draws: tuple[Tensor, ...] = ()

    @property
    def signals(self) -> list[Tensor]:
        """What may take part in the sum: tensors with axes, then noise."""
        return [x for _, x in leaves(self.given, Tensor) if x.dim() > 0] + list(self.draws)


@dataclass(frozen=True, slots=True)
class Weights:
    """One result as a sum: which of the signals so far, and how much of each."""

    terms: tuple[tuple[int, float], ...]

    def apply(self, signals: Sequence[Tensor]) -> Tensor:
        """The sum."""
        total: Tensor | None = None
        for at, weight in self.terms:
            term = signals[at] if weight == 1 else signals[at] * weight
            total = term if total is None else total + term
        return torch.zeros_like(signals[-1]) if total is None else total


def weights_of(scheduler: Any, steps: Sequence[Stepping]) -> list[Any]:
    """Each call's result, with weights where its tensors were.

    Args:
        scheduler: as it was before the first of the steps; is left alone.

    Raises:
        RequestError: it is not linear.
    """
    count = sum(len(step.signals) for step in steps)
    basis = torch.cat([torch.eye(count), torch.zeros(count, 1)], 1)  # the last: nothing at all
    results = _run(scheduler, steps, basis)
    made = [rebuilt(result, Tensor, lambda _, x: _weights(x, count)) for result in results]
    _insist_linear(scheduler, steps, made, count)
    return made


class Sums:
    """A scheduler's twin whose every step is a sum of what it was given so far."""

    def __init__(self, scheduler: Any, steps: Sequence[Stepping]) -> None:
        self.steps, self.results = steps, weights_of(scheduler, steps)
        self.scheduler = copy.deepcopy(scheduler)
        self.scheduler.__class__ = self._kind(scheduler)
        self.begin(lambda: torch.zeros(()))

    def begin(self, draw: Callable[[], Tensor]) -> None:
        """A new run, which finds its noise here."""
        self.waiting = iter(zip(self.steps, self.results, strict=True))
        self.signals: list[Tensor] = []
        self.draw = draw

    def follow(self, real: Any, args: Any, kwargs: Any) -> Any:
        """The next call's result."""
        step, result = next(self.waiting)
        given = dict(takes(real).bind(*args, **kwargs).arguments)
        self.signals += [x for _, x in leaves(given, Tensor) if x.dim() > 0]
        self.signals += [self.draw() for _ in step.draws]
        return rebuilt(result, Weights, lambda _, weights: weights.apply(self.signals))

    def _kind(self, scheduler: Any) -> type:
        """A class like the scheduler's own, so that whoever asks for its class finds it."""
        kind = type(scheduler)

        def shadow(method: str) -> Any:
            @functools.wraps(getattr(kind, method))
            def follow(_: Any, *args: Any, **kwargs: Any) -> Any:
                return self.follow(getattr(scheduler, method), args, kwargs)

            return follow

        @functools.wraps(kind.set_timesteps)
        def settled(_: Any, *args: Any, **kwargs: Any) -> None:
            """The timesteps are what they were."""

        shadows: dict[str, Any] = {name: shadow(name) for name in STEPPING if hasattr(kind, name)}
        shadows["set_timesteps"] = settled
        if isinstance(getattr(kind, "init_noise_sigma", None), property):
            shadows["init_noise_sigma"] = float(scheduler.init_noise_sigma)
        return type(kind.__name__, (kind,), shadows)


def _run(scheduler: Any, steps: Sequence[Stepping], basis_KV: Tensor) -> list[Any]:
    """The scheduler's results when signal k is row k: V values side by side that never meet."""
    twin, results, at = copy.deepcopy(scheduler), [], 0
    rows: list[Tensor] = []

    def draw(_: Draw) -> Tensor:
        return rows.pop(0)

    for step in steps:
        count = len(step.signals)
        rows = [
            row.reshape(-1, *[1] * (x.dim() - 1)).to(x.dtype)
            for row, x in zip(basis_KV[at : at + count], step.signals, strict=True)
        ]
        at += count

        def place(_: Any, x: Tensor, rows: list[Tensor] = rows) -> Tensor:
            return rows.pop(0) if x.dim() > 0 else x

        given = rebuilt(step.given, Tensor, place)
        bound = takes(getattr(twin, step.method)).bind_partial()
        bound.arguments.update(given)
        with Draws(draw), torch.no_grad():
            results.append(getattr(twin, step.method)(*bound.args, **bound.kwargs))
    return results


def _weights(result: Tensor, count: int) -> Any:
    values = result.flatten().double()
    if values.numel() != count + 1:
        return result
    if values[-1] != 0:
        return Weights(((-1, float("nan")),))  # something is added: no sum of signals
    return Weights(tuple((k, float(values[k])) for k in range(count) if values[k] != 0))


def _insist_linear(scheduler: Any, steps: Sequence[Stepping], made: list[Any], count: int) -> None:
    generator = torch.Generator().manual_seed(0)
    sizes = [max(float(x.double().std(unbiased=False)), 1e-3) for s in steps for x in s.signals]
    trial = torch.randn(count, TRIALS, generator=generator) * torch.tensor(sizes)[:, None]
    results = _run(scheduler, steps, trial)
    rows = [row for row in trial.double()]
    for result, sums in zip(results, made, strict=True):
        found = [x.flatten().double() for _, x in leaves(result, Tensor)]
        wanted = [w.apply(rows) for _, w in leaves(sums, Weights)]
        for one, other in zip(found, wanted, strict=False):
            if not float((one - other).abs().max()) <= LINEAR * float(one.abs().max()):
                raise RequestError(_nonlinear(scheduler))


def _nonlinear(scheduler: Any) -> str:
    on = [name for name in ("thresholding", "clip_sample") if scheduler.config.get(name)]
    why = f" ({', '.join(on)} is on)" if on else ""
    return (
        f"{type(scheduler).__name__} is not linear in what it is given{why}, so its steps cannot "
        "be written out; switch that off in scheduler_config.json, or export the components."
    )


def recorded_call(scheduler: Any, method: str, args: Any, kwargs: Any) -> dict[str, Any]:
    """The arguments of a scheduler's call by name; draws come from elsewhere."""
    given = given_to(getattr(scheduler, method), args, kwargs)
    return {name: value for name, value in given.items() if name != "generator"}
