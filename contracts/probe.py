"""What a search for the first wrong layer may ask of an artifact: values inside it, by name."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from minuet.contracts.tensors import Arrays


@dataclass(frozen=True, slots=True, kw_only=True)
class Tap:
    """A value that can be shown, under the program's name and the artifact's own."""

    node: str  # the program's name for it
    name: str  # the artifact's
    op: str  # the artifact's operation that makes it


class Probe(Protocol):
    """Runs an artifact, or cuts of its program on the same backend, and shows values inside."""

    @property
    def whole(self) -> bool:
        """Whether any number of values comes for the price of one run."""
        ...

    def taps(self, names: Mapping[str, str]) -> list[Tap]:
        """Which of the program's nodes it can show, in its own order of execution.

        Args:
            names: what an artifact may call a node -> the node.
        """
        ...

    def values(self, taps: Sequence[Tap]) -> Arrays:
        """Those values, by the program's names."""
        ...
