"""A host's loop, run with an oracle's components and a backend's -> where along it they part.

Three questions about one loop: what each call gives when both are fed the oracle's inputs (the
component alone), what it gives when the backend feeds itself (the drift), and what comes out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

from minuet.benchmarks.parity import SAME_DB, Difference, difference
from minuet.contracts.artifact import Parity
from minuet.contracts.tensors import Array, Arrays

Component = Callable[[Arrays], Arrays]
Drive = Callable[[Mapping[str, Component]], Arrays]  # the loop: components -> final outputs

COMPONENT, STEP, TRAJECTORY, FINAL = SCOPES = ("component", "step", "trajectory", "final")


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One call of one component on the way."""

    component: str
    step: int  # how often the component had been called before
    inputs: Arrays
    outputs: Arrays


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """Every call of a loop, in order, and what the loop gave."""

    calls: tuple[Call, ...]
    finals: Arrays


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One output at one place of the loop, as far as the backend is from the oracle."""

    scope: str
    component: str  # empty for what the whole loop gave
    step: int
    output: str
    found: Difference
    depth: int  # contractions between the loop's beginning, or the call's, and this value
    own_db: float | None = None  # what the eager program reaches there
    parity: Parity | None = None  # the verdict, where one was reached already


def record(drive: Drive, components: Mapping[str, Component]) -> Trace:
    """Run a loop once and note every call."""
    calls: list[Call] = []
    counts: dict[str, int] = {}

    def noted(name: str, component: Component) -> Component:
        def run(inputs: Arrays) -> Arrays:
            outputs = component(inputs)
            step = counts[name] = counts.get(name, -1) + 1
            kept = {key: value.copy() for key, value in inputs.items()}
            calls.append(Call(component=name, step=step, inputs=kept, outputs=dict(outputs)))
            return outputs

        return run

    finals = drive({name: noted(name, one) for name, one in components.items()})
    return Trace(calls=tuple(calls), finals=dict(finals))


def compare(
    oracle: Trace,
    drive: Drive,
    components: Mapping[str, Component],
    depths: Mapping[str, int],
) -> Iterator[Finding]:
    """Every call on its own, then the loop left to itself, then its end.

    Args:
        oracle: what `record` noted of the trusted components.
        components: the backend's, under the same names.
        depths: contractions of one call, by component.
    """
    for call in oracle.calls:
        outputs = components[call.component](call.inputs)
        yield from _findings(STEP, call, outputs, depths[call.component])
    free = record(drive, components)
    depth = 0
    made = {(call.component, call.step): call.outputs for call in free.calls}
    for call in oracle.calls:
        depth += depths[call.component]
        outputs = made.get((call.component, call.step), {})
        yield from _findings(TRAJECTORY, call, outputs, depth)
    end = Call(component="", step=len(oracle.calls), inputs={}, outputs=oracle.finals)
    yield from _findings(FINAL, end, free.finals, depth)


def _findings(scope: str, call: Call, outputs: Arrays, depth: int) -> Iterator[Finding]:
    for name, expected in call.outputs.items():
        yield Finding(
            scope=scope,
            component=call.component,
            step=call.step,
            output=name,
            found=difference(expected, outputs[name]) if name in outputs else _missing(expected),
            depth=depth,
        )


def _missing(expected: Array) -> Difference:
    return replace(difference(expected, expected), db=-SAME_DB, fault="the loop never came there")
