"""A student's clip and condition -> what one teacher is shown of it: frames, or the whole clip.

This is the factorisation of Singer et al. 2024 (arXiv 2403.09334): a teacher of single images
judges each frame, a teacher of clips their motion, each told in its own words.
"""

# Shapes: B clips, T frames.

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from minuet.contracts.errors import RequestError
from minuet.distill.predict import Condition


class View(Protocol):
    """Which part of an output a teacher judges, and with which conditions."""

    def __call__(self, output: Tensor, condition: Condition, /) -> tuple[Tensor, Condition]:
        """The student's output and condition -> the teacher's. Gradients pass to the output."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Frames:
    """Every frame as an image of its own (B * T, C, H, W)."""

    names: Mapping[str, str]  # the teacher's name of a condition -> the student's
    each: frozenset[str] = frozenset()  # of the student's: those with one value a frame (B, T, ...)

    def __call__(self, output: Tensor, condition: Condition, /) -> tuple[Tensor, Condition]:
        """A clip's conditions are repeated for each of its frames."""
        chosen, frames = renamed(condition, self.names), output.shape[1]
        told = {
            name: value.flatten(0, 1)
            if self.names[name] in self.each
            else value.repeat_interleave(frames, dim=0)
            for name, value in chosen.items()
        }
        return output.flatten(0, 1), told


@dataclass(frozen=True, slots=True, kw_only=True)
class Clip:
    """The whole clip."""

    names: Mapping[str, str]
    first: str = ""  # under this name the teacher is given the clip's own first frame, in [0, 1]

    def __call__(self, output: Tensor, condition: Condition, /) -> tuple[Tensor, Condition]:
        """No gradient passes through the frame that the teacher is given."""
        told = renamed(condition, self.names)
        if self.first:
            told[self.first] = output[:, 0].detach() * 0.5 + 0.5
        return output, told


def renamed(condition: Condition, names: Mapping[str, str]) -> dict[str, Tensor]:
    """A teacher's conditions out of the student's.

    Raises:
        RequestError: a name that the student is not told.
    """
    missing = sorted(set(names.values()) - set(condition))
    if missing:
        raise RequestError(
            f"a teacher's view asks for the conditions {missing}; the student has "
            f"{sorted(condition)}."
        )
    return {name: condition[source] for name, source in names.items()}
