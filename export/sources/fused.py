"""A pipeline's own call -> one program: conditioning and noise in, pictures out, the loop inside.

What prompts and pictures become before the loop (the results of encode_prompt and its like, of
encoders, and everything drawn at random) is put on a tape while the pipeline runs. The program is
the pipeline's own `__call__` with the tape's tensors as inputs, so no pipeline is known by name;
that nothing of the first example is left in it is shown by a second one.
"""

from __future__ import annotations

import ast
import copy
import inspect
import itertools
import re
import textwrap
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from minuet.contracts.artifact import MAIN
from minuet.contracts.errors import RequestError
from minuet.contracts.tensors import Signature
from minuet.export.bundle import Golden
from minuet.export.sources.flow import used
from minuet.export.sources.linear import (
    STEPPING,
    Draw,
    Draws,
    Stepping,
    Sums,
    recorded_call,
)
from minuet.export.sources.part import (
    Part,
    Slot,
    arrays_of,
    inputs_of,
    insist_same,
    outputs_of,
    specs_of,
)
from minuet.export.sources.record import (
    ALIASES,
    Request,
    arguments,
    call,
    modules_of,
    shadowed,
)
from minuet.export.sources.tree import leaves, names_of, rebuilt

ENCODES = re.compile(r"_?encode_\w+")  # methods of pipelines: encode_prompt, _encode_image, ...
MAX_STEPS = 8  # a loop is written out in the program

Entry = tuple[str, Any]


@dataclass
class Tape:
    """What came into a run from outside the loop, in order."""

    entries: list[Entry] = field(default_factory=list)
    steps: list[Stepping] = field(default_factory=list)
    scheduler: Any = None  # as it was before its first step
    inside: int = 0  # within something that is on the tape as a whole
    drawn: list[Tensor] | None = None  # noise of the step that is running
    decisions: dict[str, list[Any]] = field(default_factory=dict)  # by line of code

    def note(self, name: str, real: Any, args: Any, kwargs: Any) -> Any:
        """Run something that the program will be given the result of."""
        if self.inside:
            return real(*args, **kwargs)
        self.inside += 1
        try:
            made = real(*args, **kwargs)
        finally:
            self.inside -= 1
        self.entries.append((name, rebuilt(made, Tensor, lambda _, x: x.clone())))
        return made

    def draw(self, real: Draw) -> Tensor:
        """Noise, which is an input too."""
        value: Tensor = self.note("noise", real, (), {})
        if self.drawn is not None:
            self.drawn.append(value)
        return value

    def decide(self, place: str, real: Callable[[], Any]) -> Any:
        """A value that Python looks at; which way it went is part of the program."""
        value = real()
        if not self.inside and self.drawn is None:
            self.decisions.setdefault(place, []).append(value)
        return value

    def step(self, scheduler: Any, method: str, real: Any, args: Any, kwargs: Any) -> Any:
        """A scheduler's call, with its noise."""
        if self.scheduler is None:
            self.scheduler = copy.deepcopy(scheduler)
            for name in STEPPING:  # not the shadows that bring us here
                self.scheduler.__dict__.pop(name, None)
        given, self.drawn = recorded_call(scheduler, method, args, kwargs), []
        made = real(*args, **kwargs)
        self.steps.append(Stepping(method=method, given=given, draws=tuple(self.drawn)))
        self.drawn = None
        return made


@dataclass(frozen=True, slots=True)
class Blank:
    """Where a tensor stood that nothing in the program looks at."""

    shape: tuple[int, ...]
    dtype: torch.dtype

    def open(self) -> Tensor:
        """Any values will do."""
        return torch.zeros(self.shape, dtype=self.dtype)


class Fused(nn.Module):
    """A pipeline's call with a tape for input."""

    def __init__(self, pipeline: Any, given: Mapping[str, Any], tape: Tape) -> None:
        super().__init__()
        self.pipeline, self.given = [pipeline], dict(given)  # in a list: no part of this module
        self.sums = Sums(tape.scheduler, tape.steps)
        self.decisions = tape.decisions
        self.tape = rebuilt(tape.entries, Tensor, lambda _, x: Slot(tuple(x.shape), x.dtype))
        inner = {n: m for n, m in modules_of(pipeline).items() if not _encodes(m)}
        self.parts = nn.ModuleDict(inner)

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        waiting = iter(tensors)
        tape = rebuilt(self.tape, Slot, lambda _, slot: slot.open(next(waiting)))
        tape = rebuilt(tape, Blank, lambda _, blank: blank.open())
        (pipeline,) = self.pipeline
        with _played(pipeline, iter(tape), self):
            result = inspect.unwrap(type(pipeline).__call__)(pipeline, **self.given)
        return tuple(tensor for _, tensor in outputs_of(result))

    def keep(self, wanted: Sequence[bool]) -> None:
        """Take no more inputs than these."""
        each = iter(wanted)

        def chosen(_: Any, slot: Slot) -> Any:
            return slot if next(each) else Blank(slot.shape, slot.dtype)

        self.tape = rebuilt(self.tape, Slot, chosen)


def fused(pipeline: Any, request: Request) -> Part:
    """The whole denoising as one program with two golden cases of the real pipeline.

    Raises:
        RequestError: too many steps, a scheduler that is not linear, or something of the example
            that would be left in the program.
    """
    if not 1 <= request.steps <= MAX_STEPS:
        raise RequestError(
            f"a fused program has 1 to {MAX_STEPS} steps, not {request.steps}; export the "
            "components instead and leave the loop to the app."
        )
    (first, made), (second, other) = (_run(pipeline, request, at) for at in range(2))
    module = Fused(pipeline, arguments(pipeline, request), first)
    inputs, again = _inputs(first), _inputs(second)
    if [x.shape for x in inputs] != [x.shape for x in again]:
        raise RequestError(
            f"{type(pipeline).__name__}: another prompt gives tensors of other shapes; pad them "
            "with --set (max_sequence_length), or export the components."
        )
    if first.decisions != second.decisions:
        rows = first.decisions.items()
        place = next((at for at, row in rows if second.decisions.get(at) != row), "?")
        raise RequestError(
            f"{type(pipeline).__name__}: goes another way for another prompt or picture, at "
            f"{place}; export the components."
        )
    wanted, _ = used(module, inputs)
    module.keep(wanted)
    names = names_of(list(itertools.compress(_paths(pipeline, first), wanted)), "input")
    signature = _signature(pipeline, names, made, list(itertools.compress(inputs, wanted)))
    pairs = ((inputs, made), (again, other))
    cases = tuple(
        _case(module, signature, f"{at:02d}", list(itertools.compress(given, wanted)), expected)
        for at, (given, expected) in enumerate(pairs)
    )
    return Part(name=MAIN, module=module, signature=signature, cases=cases, about=_about(first))


def _run(pipeline: Any, request: Request, at: int) -> tuple[Tape, list[Tensor]]:
    tape = Tape()
    with _taped(pipeline, tape):
        result = call(pipeline, arguments(pipeline, request, at))
    if tape.scheduler is None:
        raise RequestError(f"{type(pipeline).__name__} never calls its scheduler; not fused.")
    return tape, [tensor for _, tensor in outputs_of(result)]


def _inputs(tape: Tape) -> list[Tensor]:
    return inputs_of({"tape": tape.entries})


def _signature(
    pipeline: Any, names: list[str], made: list[Tensor], inputs: list[Tensor]
) -> Signature:
    meaning = type(pipeline).__name__
    kind = inspect.signature(type(pipeline).__call__).parameters
    out = "frames" if "num_frames" in kind else "images"
    outs = [out] if len(made) == 1 else [f"{out}_{at}" for at in range(len(made))]
    return Signature(
        inputs=tuple(specs_of(names, inputs, f"as {meaning} makes it")),
        outputs=tuple(specs_of(outs, made, f"what {meaning} gives, RGB in 0..1")),
    )


def _case(
    module: Fused, signature: Signature, name: str, inputs: list[Tensor], made: list[Tensor]
) -> Golden:
    with torch.no_grad():
        found = module(*inputs)
    insist_same(f"{type(module.pipeline[0]).__name__} as one program", made, found)
    return Golden(
        name=name,
        inputs=arrays_of(signature.inputs, inputs),
        outputs=arrays_of(signature.outputs, made),
    )


def _about(tape: Tape) -> dict[str, Any]:
    steps = [step for step in tape.steps if step.method == "step"]
    return {
        "scheduler": type(tape.scheduler).__name__,
        "steps": len(steps),
        "timesteps": [float(t) for t in tape.scheduler.timesteps.flatten()],
    }


def _encodes(module: nn.Module) -> bool:
    """Whether a network is there for prompts and pictures, not for the loop."""
    return type(module).__module__.startswith("transformers.")


def _places(pipeline: Any) -> Iterator[tuple[Any, str, str]]:
    """What is on the tape as a whole: owner, method, name."""
    for name, _ in inspect.getmembers(type(pipeline), inspect.isfunction):
        if ENCODES.fullmatch(name):
            yield pipeline, name, name
    for name, module in modules_of(pipeline).items():
        if _encodes(module):
            yield module, "forward", name
        elif callable(getattr(module, "encode", None)):
            yield module, "encode", f"{name}_encoder"
    for name, helper in vars(pipeline).items():
        if name.endswith("_processor") and callable(getattr(helper, "preprocess", None)):
            yield helper, "preprocess", name


@contextmanager
def _taped(pipeline: Any, tape: Tape) -> Generator[None]:
    def noting(name: str, real: Any) -> Any:
        return lambda *args, **kwargs: tape.note(name, real, args, kwargs)

    def stepping(method: str, real: Any) -> Any:
        return lambda *args, **kwargs: tape.step(pipeline.scheduler, method, real, args, kwargs)

    with ExitStack() as stack:
        for owner, method, name in _places(pipeline):
            stack.enter_context(shadowed(owner, method, noting(name, getattr(owner, method))))
        for method in STEPPING:
            if real := getattr(pipeline.scheduler, method, None):
                stack.enter_context(shadowed(pipeline.scheduler, method, stepping(method, real)))
        stack.enter_context(Draws(tape.draw, tape.decide))
        yield


@contextmanager
def _played(pipeline: Any, tape: Iterator[Entry], module: Fused) -> Generator[None]:
    def following(*_: Any, **__: Any) -> Any:
        return next(tape)[1]

    decisions = {place: iter(row) for place, row in module.decisions.items()}

    def decided(place: str, real: Callable[[], Any]) -> Any:
        return next(decisions[place]) if place in decisions else real()

    before = pipeline.scheduler
    with ExitStack() as stack:
        for owner, method, _ in _places(pipeline):
            stack.enter_context(shadowed(owner, method, lambda *a, **k: following()))
        stack.enter_context(Draws(following, decided))
        module.sums.begin(following)
        pipeline.scheduler = module.sums.scheduler
        stack.callback(lambda: setattr(pipeline, "scheduler", before))
        yield


def _paths(pipeline: Any, tape: Tape) -> list[tuple[str, ...]]:
    """Inputs are called what the pipeline's own code calls them."""
    targets, noises = _targets(type(pipeline)), 0
    paths: list[tuple[str, ...]] = []
    for name, value in tape.entries:
        if name == "noise":
            paths.append(("noise", str(noises)))
            noises += 1
            continue
        known = targets.get(name, [])
        for at, _ in leaves(value, Tensor):
            index = int(at[0]) if at and at[0].isdigit() else 0
            own = known[index : index + 1] if len(at) <= 1 else []
            paths.append(tuple(own) or (name, *(ALIASES["encode"].get(key, key) for key in at)))
    return paths


def _targets(kind: type) -> dict[str, list[str]]:
    """a, b = self.encode_prompt(...) in the source: encode_prompt -> a, b."""
    found: dict[str, list[str]] = {}
    source = textwrap.dedent(inspect.getsource(inspect.unwrap(kind.__call__)))
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Assign) or not isinstance(node.value, ast.Call):
            continue
        method = node.value.func
        target = node.targets[0]
        names = target.elts if isinstance(target, ast.Tuple) else [target]
        if isinstance(method, ast.Attribute) and all(isinstance(n, ast.Name) for n in names):
            told = [n.id for n in names if isinstance(n, ast.Name)]
            found.setdefault(method.attr, told)
    return found
