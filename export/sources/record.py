"""A pipeline's one cheap run -> what each of its components was given, and what it gave."""

from __future__ import annotations

import inspect
from collections.abc import Generator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from minuet.contracts.errors import RequestError
from minuet.export.quiet import quiet
from minuet.export.sources.bounds import check_bounds
from minuet.export.sources.part import Call, Part, given_to, part_of
from minuet.export.sources.tree import rebuilt

# What a component may be asked for, and what the program is called then.
METHODS = {"forward": "", "encode": "_encoder", "decode": "_decoder"}
# The names that optimum's pipelines give to an autoencoder's tensors, so that they take ours.
ALIASES = {
    "encode": {"x": "sample", "parameters": "latent_parameters"},
    "decode": {"z": "latent_sample"},
}
PROMPTS = ("a red rabbit waving its paw in the snow", "two small cats")
Runs = dict[str, list[Call]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """How a pipeline is to be called; what is not said is the pipeline's own choice."""

    steps: int = 2
    size: tuple[int, int] | None = None  # height, width in px
    frames: int | None = None
    guidance: float | None = None
    seed: int = 0
    more: Mapping[str, Any] = field(default_factory=dict)  # any other argument, by name

    def __post_init__(self) -> None:
        check_bounds(size=self.size, frames=self.frames, steps=self.steps)


def arguments(pipeline: Any, request: Request, at: int = 0) -> dict[str, Any]:
    """The arguments of a call, by what the pipeline's parameters are called.

    Args:
        at: which of the examples: another one has another prompt, picture and seed.

    Raises:
        RequestError: it lacks a parameter that was asked for, or needs one that is not known.
    """
    takes = inspect.signature(type(pipeline).__call__).parameters
    asked = {
        "height": request.size and request.size[0],
        "width": request.size and request.size[1],
        "num_frames": request.frames,
        "guidance_scale": request.guidance,
    }
    given = {name: value for name, value in asked.items() if value is not None}
    given |= request.more
    given["num_inference_steps"] = request.steps
    if lacking := sorted(set(given) - set(takes)):
        known = ", ".join(name for name in takes if name != "self")
        raise RequestError(
            f"{type(pipeline).__name__} has no {', '.join(lacking)}; it takes {known}."
        )
    usual = {
        "prompt": PROMPTS[at % len(PROMPTS)],
        "image": picture(request.size or (256, 256), at),
        "generator": torch.Generator("cpu").manual_seed(request.seed + at),
        "output_type": "pt",
        # Sizes as asked, not the nearest of a list.
        **({"use_resolution_binning": False} if request.size else {}),
    }
    given = {name: value for name, value in usual.items() if name in takes} | given
    plain = [p for p in takes.values() if p.kind is p.POSITIONAL_OR_KEYWORD]
    needed = {p.name for p in plain if p.default is p.empty} - {"self"}
    if lacking := sorted(needed - set(given)):
        raise RequestError(
            f"{type(pipeline).__name__} needs {', '.join(lacking)}, of which no example is known; "
            "export its modules by name instead: package.module:factory."
        )
    return given


def picture(size: tuple[int, int], at: int = 0) -> Any:
    """A picture that no pipeline confuses with another: a gradient, turned."""
    from PIL import Image

    height, width = size
    plain = Image.radial_gradient("L").rotate(30 + 60 * at).resize((width, height))
    other = Image.linear_gradient("L").rotate(90 * at).resize((width, height))
    return Image.merge("RGB", (plain, other, plain.rotate(180)))


def recorded(pipeline: Any, request: Request, wanted: Sequence[str] = ()) -> Runs:
    """The calls of each component, from one run, or two where one gave a single example."""
    runs: Runs = {}
    for at in range(2):
        with recording(pipeline, runs):
            call(pipeline, arguments(pipeline, request, at))
        chosen = [runs[name] for name in wanted or runs if name in runs]
        if all(len(calls) > 1 for calls in chosen):
            break
    return runs


def call(pipeline: Any, given: Mapping[str, Any]) -> Any:
    """One run; what goes wrong in it becomes one message.

    Raises:
        RequestError: the pipeline cannot be called like this.
    """
    try:
        with quiet():
            return pipeline(**given)
    except Exception as error:
        said = (str(error).strip() or type(error).__name__).splitlines()[0][:300]
        told = {k: v for k, v in given.items() if isinstance(v, int | float | str)}
        raise RequestError(
            f"{type(pipeline).__name__} could not be run with {told}: {said}. Another --size, "
            "--frames or --set name=value may do; so may components that fit one another."
        ) from error


@contextmanager
def recording(pipeline: Any, runs: Runs) -> Generator[None]:
    """While the block runs, note every call of every component."""
    with ExitStack() as stack:
        for name, module in modules_of(pipeline).items():
            for method, suffix in METHODS.items():
                if callable(getattr(module, method, None)):
                    calls = runs.setdefault(name + suffix, [])
                    stack.enter_context(_noted(module, method, calls))
        try:
            yield
        finally:
            for name in [name for name, calls in runs.items() if not calls]:
                del runs[name]


def modules_of(pipeline: Any) -> dict[str, nn.Module]:
    """The components that are networks."""
    rows = pipeline.components.items()
    return {name: part for name, part in rows if isinstance(part, nn.Module)}


def parts_of(pipeline: Any, runs: Runs, wanted: Sequence[str]) -> tuple[Part, ...]:
    """The wanted components as programs; without a wish, all that were called.

    Raises:
        RequestError: one that the pipeline does not have, or does not call.
    """
    if unknown := [name for name in wanted if name not in runs]:
        raise RequestError(
            f"{type(pipeline).__name__} does not call {', '.join(unknown)}; "
            f"its components are {', '.join(runs)}."
        )
    return tuple(_part(pipeline, name, runs[name]) for name in wanted or runs)


def _part(pipeline: Any, name: str, calls: list[Call]) -> Part:
    for module_name, module in modules_of(pipeline).items():
        for method, suffix in METHODS.items():
            if name == module_name + suffix and callable(getattr(module, method, None)):
                chosen = _first_and_last(calls)
                return part_of(name, module, method, chosen, ALIASES.get(method, {}))
    raise AssertionError(name)


def _first_and_last(calls: list[Call]) -> list[Call]:
    """Two examples, as far apart as a run has them: another step, another prompt."""
    return calls[:1] if len(calls) == 1 else [calls[0], calls[-1]]


@contextmanager
def _noted(module: nn.Module, method: str, calls: list[Call]) -> Generator[None]:
    """Shadow a method by one that notes what passes through it."""
    real = getattr(module, method)

    def shadow(*args: Any, **kwargs: Any) -> Any:
        given = given_to(real, args, kwargs)
        made = real(*args, **kwargs)
        copies: dict[int, Any] = {}  # what comes twice is one output; a pipeline may change it

        def copied(_: Any, tensor: Tensor) -> Tensor:
            copy: Tensor = copies.setdefault(id(tensor), tensor.clone())
            return copy

        calls.append(Call(given=given, made=rebuilt(made, Tensor, copied)))
        return made

    with shadowed(module, method, shadow):
        yield


@contextmanager
def shadowed(owner: Any, name: str, value: Any) -> Generator[None]:
    """An instance's attribute in the place of its class's, for a while."""
    import functools

    functools.update_wrapper(value, getattr(owner, name))
    before = owner.__dict__.get(name, owner)  # the owner itself stands for nothing
    object.__setattr__(owner, name, value)
    try:
        yield
    finally:
        if before is owner:
            object.__delattr__(owner, name)
        else:
            object.__setattr__(owner, name, before)
