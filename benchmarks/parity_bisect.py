"""A program and an artifact that differ -> the first node whose value does, and its layer.

Values are compared by the names that exporters keep from the captured graph. A probe that has
every value at hand is read in order of execution. One that must rebuild a part of the program
for every question is asked log2(nodes) questions, each about all values that cross one cut: if
those agree, whatever differs later has its cause later.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from torch import Tensor, fx
from torch.export import ExportedProgram

from minuet.benchmarks.parity import Difference, difference, plain
from minuet.benchmarks.parity_graph import depth, nodes, place, values
from minuet.benchmarks.tolerances import MARGIN_DB, SNR, allowed
from minuet.contracts.errors import InconclusiveError
from minuet.contracts.probe import Probe, Tap
from minuet.contracts.tensors import Array

CODES = "quantized_decomposed.quantize_"  # operators that give integers
BYTES_AT_ONCE = 256 << 20  # of intermediate values held on one side


@dataclass(frozen=True, slots=True, kw_only=True)
class Divergence:
    """Where an artifact stops being the program."""

    node: str
    operator: str  # the program's operator
    module: str  # path and class of the layer that it belongs to
    name: str  # the artifact's value and operation
    op: str
    found: Difference
    needed_db: float
    own_db: float  # what the program itself reaches there in the same arithmetic
    expected_range: tuple[float, float]
    found_range: tuple[float, float]
    agreed: int  # values found equal before it
    comparable: int  # values of the artifact that have a name in the program
    precision: bool  # the program itself fails there in this arithmetic: not the file's fault

    def __str__(self) -> str:
        low, high = self.expected_range
        cause = " The program itself does so in this precision." if self.precision else ""
        return (
            f"first differs in {self.module or 'the top level'}: {self.node} ({self.operator}), "
            f"{self.op} {self.name!r} of the artifact: {self.found}; {self.needed_db:.1f} dB "
            f"needed. Expected {low:.4g} to {high:.4g}, found {self.found_range[0]:.4g} to "
            f"{self.found_range[1]:.4g}. {self.agreed} of {self.comparable} comparable values "
            f"before it agree.{cause}"
        )

    def to_json(self) -> dict[str, Any]:
        """A plain value."""
        ranges = {name: [str(v) for v in getattr(self, name)] for name in RANGES}
        return asdict(self) | {"found": plain(self.found)} | ranges


RANGES = ("expected_range", "found_range")


def first_divergence(
    program: ExportedProgram,
    inputs: Sequence[Tensor],
    probe: Probe,
    arithmetic: str = "fp32",
    outputs: Sequence[str] = (),
    seconds: float = math.inf,
) -> Divergence | None:
    """The earliest value that is further from the oracle than its depth and arithmetic explain.

    A value diverges where it is below the tolerance of its arithmetic and more than the margin
    below what the program itself reaches there: a difference of nearly equal numbers is noisy in
    any program. int8 programs carry their own rounding, so float32 is their oracle.

    Args:
        outputs: what the artifact calls the program's outputs, in order.
        seconds: no question is asked after these.

    Returns:
        None where every comparable value agrees.

    Raises:
        InconclusiveError: the time was up; says how far the search had come.
    """
    known = names(program, outputs)
    return _Search(program, tuple(inputs), probe, arithmetic, known, seconds).run()


def names(program: ExportedProgram, outputs: Sequence[str] = ()) -> dict[str, str]:
    """What an artifact may call a node -> the node: its name, and for outputs the signature's.

    Not codes: one file has them signed, another unsigned or in 16 bits. What they stand for counts.
    """
    (results,) = next(node for node in program.graph.nodes if node.op == "output").args
    ends = {name: node.name for name, node in zip(outputs, results, strict=False)}
    values = (node for node in nodes(program) if not str(node.target).startswith(CODES))
    return {node.name: node.name for node in values} | ends


@dataclass(frozen=True, slots=True, kw_only=True)
class _Seen:
    """One value that differs."""

    tap: Tap
    expected: Array
    found: Array
    difference: Difference
    own_db: float


class _Search:
    """One program, one probe: what both kinds of search ask again and again."""

    def __init__(
        self,
        program: ExportedProgram,
        inputs: tuple[Tensor, ...],
        probe: Probe,
        arithmetic: str,
        known: Mapping[str, str],
        seconds: float,
    ) -> None:
        self.seconds, self.end = seconds, time.monotonic() + seconds
        self.program, self.inputs, self.probe, self.arithmetic = program, inputs, probe, arithmetic
        self.nodes = {node.name: node for node in nodes(program)}
        self.taps = [tap for tap in probe.taps(known) if tap.node in self.nodes]
        quantized = any("quantize_per" in str(node.target) for node in self.nodes.values())
        self.oracle, self.own = ("fp32", "fp32") if quantized else ("fp64", arithmetic)
        self.needed = allowed(arithmetic, SNR, depth(program)).db

    def run(self) -> Divergence | None:
        """In order, or by halves."""
        return self._scan() if self.probe.whole else self._bisect()

    def _scan(self) -> Divergence | None:
        for before, taps in self._chunks():
            if before:
                self._in_time(before, len(self.taps))
            for i, seen in enumerate(self._compared(taps)):
                if seen:
                    return self._told(seen, agreed=before + i)
        return None

    def _chunks(self) -> Iterator[tuple[int, list[Tap]]]:
        start, size = 0, 0
        for i, tap in enumerate(self.taps):
            value: Tensor = self.nodes[tap.node].meta["val"]
            size += value.numel() * 8
            if size > BYTES_AT_ONCE and i > start:
                yield start, self.taps[start:i]
                start, size = i, value.numel() * 8
        yield start, self.taps[start:]

    def _bisect(self) -> Divergence | None:
        """Smallest cut with a value that differs; the node that is new there is the first."""
        low, high, first = 0, len(self.taps), None
        while low < high:
            if (low, high) != (0, len(self.taps)):
                self._in_time(low, high)
            middle = (low + high) // 2
            seen = [one for one in self._compared(self._crossing(middle)) if one]
            if seen:
                high, first = middle, seen[-1]
            else:
                low = middle + 1
        return self._told(first, agreed=low) if first else None

    def _in_time(self, low: int, high: int) -> None:
        if time.monotonic() < self.end:
            return
        first, last = (self.nodes[self.taps[i].node] for i in (low, high - 1))
        raise InconclusiveError(
            f"the first layer that differs was not found within {self.seconds:.0f} s; it is "
            f"between {_called(first)} and {_called(last)}"
        )

    def _crossing(self, at: int) -> list[Tap]:
        """Values made up to a place and used after it, the last one included."""
        made = {tap.node: tap for tap in self.taps[: at + 1]}
        later = set(self.nodes) - set(made)

        def crosses(node: fx.Node) -> bool:
            return any(user.name in later or user.op == "output" for user in node.users)

        last = self.taps[at].node
        return [tap for name, tap in made.items() if name == last or crosses(self.nodes[name])]

    def _compared(self, taps: Sequence[Tap]) -> list[_Seen | None]:
        asked = [tap.node for tap in taps]
        expected = values(self.program, self.inputs, asked, self.oracle)
        own = values(self.program, self.inputs, asked, self.own)
        found = self.probe.values(taps)
        return [self._seen(t, expected[t.node], own[t.node], found.get(t.node)) for t in taps]

    def _seen(self, tap: Tap, expected: Array, own: Array, found: Array | None) -> _Seen | None:
        """The value if it differs; one of another shape is another value of the same name."""
        if found is None or found.shape != expected.shape:
            return None
        if not np.issubdtype(expected.dtype, np.floating):
            expected, own, found = (one.astype(np.float64) for one in (expected, own, found))
        one, own_db = difference(expected, found), difference(expected, own).db
        explained = min(self.needed, own_db - MARGIN_DB)
        if one.db >= explained and not (one.fault and one.db < self.needed):
            return None
        return _Seen(tap=tap, expected=expected, found=found, difference=one, own_db=own_db)

    def _told(self, seen: _Seen, agreed: int) -> Divergence:
        node = self.nodes[seen.tap.node]
        return Divergence(
            node=node.name,
            operator=str(node.target),
            module=place(node),
            name=seen.tap.name,
            op=seen.tap.op,
            found=seen.difference,
            needed_db=min(self.needed, seen.own_db - MARGIN_DB),
            own_db=seen.own_db,
            expected_range=_range(seen.expected),
            found_range=_range(seen.found),
            agreed=agreed,
            comparable=len(self.taps),
            precision=seen.own_db < self.needed,
        )


def _called(node: fx.Node) -> str:
    return f"{node.name} in {place(node) or 'the top level'}"


def _range(value: Array) -> tuple[float, float]:
    """Least and greatest, NaN if any value is."""
    return (float(value.min()), float(value.max())) if value.size else (0.0, 0.0)
