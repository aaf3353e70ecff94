"""A program and its other sizes -> what one Core ML package of them all is made from."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from minuet.contracts.errors import RequestError
from minuet.sources import Source, read_source
from minuet.wish import Wish

if TYPE_CHECKING:
    from minuet.export.capture import Program
    from minuet.export.sources.part import Part
    from minuet.proof import Held

WAYS = ("functions", "shapes")


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """A part, and the same network at other sizes, by program's name."""

    first: Part
    others: tuple[Part, ...]
    way: str  # functions: one a size, on shared weights; shapes: one graph that takes all
    finish: Callable[[Program], Program] | None = None  # a quantizer; none: as captured

    @cached_property
    def program(self) -> Program | None:
        """One graph that is free in its sizes; None where each size has its own."""
        if self.way == "functions":
            return None
        from minuet.export.coreml_flexible import capture_sizes

        signatures = [part.signature for part in (self.first, *self.others)]
        inputs = self.first.cases[0].inputs
        return self._finished(capture_sizes(self.first.module, inputs, signatures))

    @cached_property
    def options(self) -> dict[str, Any]:
        """For the exporter."""
        if self.way == "functions":
            made = {part.name: self._finished(part.program()) for part in self.others}
            return {"functions": made}
        return {"shapes": {part.name: part.signature for part in self.others}}

    def _finished(self, program: Program) -> Program:
        return self.finish(program) if self.finish else program

    @cached_property
    def told(self) -> dict[str, Any]:
        """The same for an artifact's key."""
        from minuet.export.shelf import program_sha256

        if self.way == "shapes":
            return self.options
        functions = self.options["functions"].items()
        return {"functions": {name: program_sha256(one) for name, one in functions}}

    @property
    def held(self) -> tuple[Held, ...]:
        """The other sizes, to be proved."""
        from minuet.proof import Held

        return tuple(
            Held(name=part.name, signature=part.signature, cases=part.cases) for part in self.others
        )


def read_sizes(
    word: str, wish: Wish, source: Source, also: Sequence[tuple[int, int]], way: str
) -> dict[str, Sizes]:
    """For each part that depends on the size, its other sizes.

    Raises:
        RequestError: a size that the source does not have, or on which no part depends.
    """
    if not also:
        return {}
    others = [(size, read_source(word, replace(wish, size=size))) for size in also]
    found = {part.name: _sizes(part, others, way) for part in _modules(source)}
    kept = {name: one for name, one in found.items() if one.others}
    if not kept:
        raise RequestError(f"{word}: is the same at every size of --also; leave it out.")
    return kept


def _sizes(first: Part, sources: Sequence[tuple[tuple[int, int], Source]], way: str) -> Sizes:
    found: dict[str, Part] = {}
    for (height, width), source in sources:
        part = next((one for one in _modules(source) if one.name == first.name), None)
        known = [one.signature for one in (first, *found.values())]
        if part and part.signature not in known:
            name = f"{first.name}_{height}x{width}"
            found[name] = replace(part, name=name)
    return Sizes(first=first, others=tuple(found.values()), way=way)


def _modules(source: Source) -> Iterator[Part]:
    """The parts that can be made again at another size: all but files."""
    from minuet.export.sources.part import Part

    yield from (part for part in source.parts if isinstance(part, Part))
