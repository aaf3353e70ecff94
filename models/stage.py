"""A part of a pipeline that is no network becomes a module with a name."""

from collections.abc import Callable
from typing import ParamSpec, TypeVar

from torch import nn

P = ParamSpec("P")
R = TypeVar("R")


class Stage(nn.Module):
    """Calls what it is given. What a captured program does in it bears its name, as a layer's does.

    It holds nothing, so that a student's weights know nothing of it.
    """

    def __call__(self, work: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        found: R = super().__call__(work, *args, **kwargs)
        return found

    def forward(self, work: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        return work(*args, **kwargs)
