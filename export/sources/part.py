"""A module and recorded calls -> a part: one program to export, its signature, its golden cases."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from minuet.contracts.errors import RequestError
from minuet.contracts.tensors import Arrays, Signature, TensorSpec
from minuet.export.bundle import Golden
from minuet.export.capture import Program, capture
from minuet.export.sources.tree import leaves, names_of, rebuilt

if TYPE_CHECKING:
    from collections.abc import Iterable

# Two runs of one float32 program in one process; more than this is not noise.
SAME = 1e-4  # of the largest value
# What programs take instead: no target is sure to take 64 bits or truth values as inputs.
NARROW = {torch.int64: torch.int32, torch.float64: torch.float32, torch.bool: torch.int32}


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One program, not captured yet."""

    name: str
    module: nn.Module  # takes the signature's inputs positionally, gives a tuple
    signature: Signature
    cases: tuple[Golden, ...]
    about: dict[str, Any] = field(default_factory=dict)  # for the manifest

    def program(self) -> Program:
        """The captured graph."""
        return capture(self.module, self.cases[0].inputs, self.signature)


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """What a method was given, by parameter, and what it gave."""

    given: dict[str, Any]
    made: Any


@dataclass(frozen=True, slots=True)
class Slot:
    """Where a tensor stood in a call, and what it was."""

    shape: tuple[int, ...]
    dtype: torch.dtype

    def open(self, tensor: Tensor) -> Tensor:
        """A program's input as the method takes it; only scalars have another shape there."""
        scalar = tensor.dim() != len(self.shape)
        return (tensor.reshape(self.shape) if scalar else tensor).to(self.dtype)


class Bound(nn.Module):
    """A method of a module, with everything but tensors settled."""

    def __init__(self, module: nn.Module, method: str, given: Mapping[str, Any]) -> None:
        super().__init__()
        self.module, self.method = module, method
        self.given = rebuilt(dict(given), Tensor, lambda _, x: Slot(tuple(x.shape), x.dtype))

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        return tuple(tensor for _, tensor in outputs_of(self.result(*tensors)))

    def result(self, *tensors: Tensor) -> Any:
        """What the method itself returns."""
        waiting = iter(tensors)
        given = rebuilt(self.given, Slot, lambda _, slot: slot.open(next(waiting)))
        method = getattr(self.module, self.method)
        bound = takes(method).bind_partial()
        bound.arguments.update(given)
        return method(*bound.args, **bound.kwargs)


def given_to(method: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    """Arguments by parameter name, with copies of their tensors and without generators."""
    bound = takes(method).bind(*args, **kwargs)
    settled = rebuilt(dict(bound.arguments), torch.Generator, lambda _, generator: None)
    return rebuilt(settled, Tensor, lambda _, x: x.detach().clone())


def takes(method: Callable[..., Any]) -> inspect.Signature:
    """A bound method's parameters; a decorator that hides them is looked through."""
    found = inspect.signature(method)
    plain = getattr(method, "__func__", method)
    cells = [cell.cell_contents for cell in getattr(plain, "__closure__", None) or ()]
    hidden = [one for one in cells if inspect.isfunction(one) and one.__name__ != "<lambda>"]
    first = next(iter(found.parameters.values()), None)
    if not hidden or first is None or first.kind is not first.VAR_POSITIONAL:
        return found
    parameters = list(inspect.signature(hidden[0]).parameters.values())
    return inspect.Signature(parameters[1:])  # without self


def part_of(
    name: str,
    module: nn.Module,
    method: str,
    calls: Sequence[Call],
    aliases: Mapping[str, str] | None = None,
) -> Part:
    """A method as a program: its tensors by name, the calls as golden cases.

    Calls that differ from the first in more than the tensors' values are left out.

    Raises:
        RequestError: what it gives is not a matter of what it is given.
    """
    first = _named(module, method, calls[0].given)
    same = [call for call in calls if _kind(call.given) == _kind(calls[0].given)]
    bound = Bound(module, method, first)
    meaning = f"{type(module).__name__}.{method}"
    signature = _signature(bound, calls[0], meaning, aliases or {})
    told = (_case(bound, signature, f"{at:02d}", name, call) for at, call in enumerate(same))
    return Part(name=name, module=bound, signature=signature, cases=tuple(told))


def inputs_of(given: Mapping[str, Any]) -> list[Tensor]:
    """A call's tensors as a program takes them: 32 bits, at least one axis."""
    return [_plain(tensor) for _, tensor in leaves(dict(given), Tensor)]


def specs_of(names: Iterable[str], tensors: Iterable[Tensor], meaning: str) -> list[TensorSpec]:
    """What is known of tensors: name, shape and dtype; what an axis means is the module's."""
    return [
        TensorSpec(
            name=name,
            axes="?" * tensor.dim(),
            shape=tuple(tensor.shape),
            dtype=str(tensor.dtype)[6:],
            meaning=meaning,
        )
        for name, tensor in zip(names, tensors, strict=True)
    ]


def arrays_of(specs: Iterable[TensorSpec], tensors: Iterable[Tensor]) -> Arrays:
    """Tensors by name."""
    return {spec.name: x.detach().numpy() for spec, x in zip(specs, tensors, strict=True)}


def outputs_of(result: Any) -> list[tuple[tuple[str, ...], Tensor]]:
    """The tensors of a result, each once."""
    seen: dict[int, tuple[tuple[str, ...], Tensor]] = {}
    for at, tensor in leaves(result, Tensor):
        seen.setdefault(id(tensor), (at, tensor))
    return list(seen.values())


def insist_same(what: str, expected: Sequence[Tensor], found: Sequence[Tensor]) -> None:
    """Refuse results that two runs do not agree on.

    Raises:
        RequestError: with how far they are apart.
    """
    if [one.shape for one in expected] != [one.shape for one in found]:
        raise RequestError(f"{what}: gives {len(found)} outputs, or shapes, unlike the recorded.")
    for one, other in zip(expected, found, strict=True):
        e, f = one.double(), other.double()
        apart, large = float((e - f).abs().max()), float(e.abs().max())
        if not apart <= SAME * max(large, 1e-3):
            raise RequestError(
                f"{what}: differs by {apart:.2g} of {large:.2g} from what was recorded, so it is "
                "not a matter of its inputs alone (drawn at random, remembered, or dependent on "
                "something that is no tensor)."
            )


def _named(module: nn.Module, method: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Ask for an output with names, where there is the choice."""
    choice = "return_dict" in takes(getattr(module, method)).parameters
    return dict(given) | ({"return_dict": True} if choice else {})


def _kind(given: Mapping[str, Any]) -> str:
    """A call without the values of its tensors, to be compared."""
    return repr(rebuilt(dict(given), Tensor, lambda _, x: Slot(tuple(x.shape), x.dtype)))


def _signature(bound: Bound, call: Call, meaning: str, aliases: Mapping[str, str]) -> Signature:
    inputs = inputs_of(call.given)
    with torch.no_grad():
        made = outputs_of(bound.result(*inputs))
    own = names_of([at for at, _ in leaves(call.given, Tensor)], "input")
    names = [aliases.get(name, name) for name in own]
    told = (aliases.get(name, name) for name in names_of([at for at, _ in made], "output"))
    outs = [_other(name, names) for name in told]
    return Signature(
        inputs=tuple(specs_of(names, inputs, meaning)),
        outputs=tuple(specs_of(outs, [tensor for _, tensor in made], meaning)),
    )


def _other(name: str, taken: Sequence[str]) -> str:
    """An output may not be called like an input."""
    return f"out_{name}" if name in taken else name


def _case(bound: Bound, signature: Signature, name: str, part: str, call: Call) -> Golden:
    inputs = inputs_of(call.given)
    with torch.no_grad():
        found = bound(*inputs)
    expected = [tensor for _, tensor in outputs_of(call.made)]
    insist_same(f"{part} ({type(bound.module).__name__}.{bound.method})", expected, found)
    return Golden(
        name=name,
        program=part,
        inputs=arrays_of(signature.inputs, inputs),
        outputs=arrays_of(signature.outputs, expected),
    )


def _plain(tensor: Tensor) -> Tensor:
    narrow = tensor.detach().to(NARROW.get(tensor.dtype, tensor.dtype)).contiguous()
    return narrow.reshape(1) if narrow.dim() == 0 else narrow
