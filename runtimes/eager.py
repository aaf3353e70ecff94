"""The module itself -> frames, by torch: the reference that artifacts are compared with."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from minuet.contracts.artifact import Artifact
from minuet.contracts.errors import Refusal
from minuet.contracts.tensors import Arrays, Signature
from minuet.runtimes.loading import installed, library

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True, slots=True)
class EagerSession:
    """A module in eval mode."""

    module: Any
    signature: Signature

    def run(self, inputs: Arrays) -> Arrays:
        """One call."""
        import torch

        self.signature.check_inputs(inputs)
        given = [torch.from_numpy(np.array(inputs[s.name])) for s in self.signature.inputs]
        with torch.inference_mode():
            result = self.module(*given)
        results = result if isinstance(result, tuple) else (result,)
        outputs = zip(self.signature.outputs, results, strict=True)
        return {spec.name: value.numpy() for spec, value in outputs}


@dataclass(frozen=True, slots=True)
class EagerRuntime:
    """Torch, on a module that the caller makes: networks are not this stage's to know."""

    make: Callable[[], nn.Module]
    name: str = "eager"
    targets: tuple[str, ...] = ()

    def available(self) -> Refusal | None:
        return installed("torch", "distill")

    def version(self) -> str:
        return library("torch")

    @contextmanager
    def open(
        self,
        bundle: Path | None,
        artifact: Artifact | None,
        signature: Signature,
        *,
        threads: int = 0,
    ) -> Iterator[EagerSession]:
        """Bundle and artifact are not looked at."""
        import torch

        before = torch.get_num_threads()
        torch.set_num_threads(threads or before)
        try:
            yield EagerSession(self.make().eval(), signature)
        finally:
            torch.set_num_threads(before)
