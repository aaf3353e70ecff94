"""What a training knows at some step <-> a notes file from which it goes on.

One safetensors file: the numbers, Adam's two means of each, and the best numbers so far, as
"<kind>/<name>"; in its metadata, as JSON, the rest. Notes that are damaged, or of another training,
are passed over.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from minuet.contracts.files import write_bytes
from minuet.contracts.tensors import Arrays

if TYPE_CHECKING:
    from torch import Tensor

KINDS = NUMBERS, MEANS, SQUARES, BEST = "numbers", "means", "squares", "best"
TOLD = "training"
HEADER_BYTES = 16 << 20  # beside the tensors; far above any names


@dataclass(slots=True, kw_only=True)
class Training:
    """Numbers on their way."""

    numbers: dict[str, Tensor]
    means: dict[str, Tensor]  # Adam's: of gradients
    squares: dict[str, Tensor]  # and of their squares
    best: dict[str, Tensor]  # the numbers at the best look
    step: int = 0  # steps made
    best_step: int = 0
    looks: list[float]  # mean square errors on held-out clips, the first before any step

    @classmethod
    def fresh(cls, numbers: Arrays) -> Training:
        """Before the first step."""
        import torch

        start = {name: torch.from_numpy(value.copy()) for name, value in numbers.items()}
        empty = [{name: torch.zeros_like(one) for name, one in start.items()} for _ in range(2)]
        best = {name: one.clone() for name, one in start.items()}
        return cls(numbers=start, means=empty[0], squares=empty[1], best=best, looks=[])

    def look(self, error: float) -> None:
        """Note an error on held-out clips; the best numbers are kept."""
        if not self.looks or error < min(self.looks):
            self.best = {name: one.detach().clone() for name, one in self.numbers.items()}
            self.best_step = self.step
        self.looks.append(error)

    @property
    def stale(self) -> int:
        """Looks since the best."""
        return len(self.looks) - 1 - self.looks.index(min(self.looks))


def write_training(notes: Path, key: str, training: Training) -> None:
    """Whole or not at all."""
    from safetensors.torch import save

    told = {"key": key, "step": training.step, "best": training.best_step, "looks": training.looks}
    tensors = {
        f"{kind}/{name}": one.detach()
        for kind in KINDS
        for name, one in getattr(training, kind).items()
    }
    write_bytes(notes, save(tensors, {TOLD: json.dumps(told)}))


def read_training(notes: Path, key: str, numbers: Arrays) -> Training:
    """What the notes know of this training; a fresh one where they know nothing of it.

    Args:
        key: of all that decides what comes of it.
        numbers: that it begins with.
    """
    from safetensors import SafetensorError, safe_open

    size = sum(value.nbytes for value in numbers.values()) * len(KINDS)
    if not notes.is_file() or notes.stat().st_size > size + HEADER_BYTES:
        return Training.fresh(numbers)
    try:
        with safe_open(notes, "pt") as file:
            told = json.loads((file.metadata() or {})[TOLD])
            found = {
                kind: {name: file.get_tensor(f"{kind}/{name}") for name in numbers}
                for kind in KINDS
            }
        if told["key"] != key or not _fits(found, numbers):
            return Training.fresh(numbers)
        looks = [float(one) for one in told["looks"]]
        step, best = int(told["step"]), int(told["best"])
    except (SafetensorError, ValueError, KeyError, TypeError):
        return Training.fresh(numbers)
    if not looks or not all(map(math.isfinite, looks)) or not 0 <= best <= step:
        return Training.fresh(numbers)
    return Training(**found, step=step, best_step=best, looks=looks)


def _fits(found: dict[str, dict[str, Tensor]], numbers: Arrays) -> bool:
    """Whether every tensor is finite float32 of its number's shape."""
    import torch

    return all(
        one.dtype == torch.float32 and one.shape == numbers[name].shape and one.isfinite().all()
        for kind in found.values()
        for name, one in kind.items()
    )
