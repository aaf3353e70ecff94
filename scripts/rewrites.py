"""What each rewrite gains: operators, multiply-adds and time, before and after, as a table.

Times are CPU seconds of PyTorch itself, before and after taken in turns; only their ratio is shown.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram
from torch.nn import functional as F

from minuet.export.executorch_delegation import work
from minuet.export.rewrites.attention import ExplicitAttention, OneKey
from minuet.export.rewrites.axes import FoldAxes
from minuet.export.rewrites.constants import FoldConstants, RemoveNothing
from minuet.export.rewrites.engine import Rule, apply
from minuet.export.rewrites.expansion import DelayExpansion
from minuet.export.rewrites.norms import FlatGroupNorm
from minuet.export.rewrites.once import ComputedOnce
from minuet.export.rewrites.ranks import FoldMoves
from minuet.export.rewrites.video import FrameConvolutions
from minuet.export.rewrites.writes import GatherWrites
from minuet.export.rewrites.xnnpack import PlainReshapes, Slices, TanhGelu, TensorOperands

ROUNDS = 15


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """A small network in which a rule finds work."""

    rule: Rule
    module: nn.Module
    shapes: tuple[tuple[int, ...], ...]


class Patches(nn.Module):
    """Latents of a video to tokens and back."""

    def forward(self, x: Tensor) -> Tensor:
        x = x.reshape(1, 16, 8, 1, 16, 2, 16, 2).permute(0, 2, 4, 6, 1, 3, 5, 7)
        x = x.flatten(4, 7).flatten(1, 3) * 2
        x = x.reshape(1, 8, 16, 16, 16, 1, 2, 2).permute(0, 4, 1, 5, 2, 6, 3, 7)
        return x.flatten(6, 7).flatten(4, 5).flatten(2, 3)


class Attend(nn.Module):
    """Self-attention without a mask."""

    def forward(self, x: Tensor) -> Tensor:
        return F.scaled_dot_product_attention(x, x, x)


class Cross(nn.Module):
    """Frames look at a caption, or an image, that is repeated for each of them."""

    def __init__(self, keys: int) -> None:
        super().__init__()
        self.query, self.key, self.value = (nn.Linear(128, 128) for _ in range(3))
        self.keys = keys

    def forward(self, x: Tensor, given: Tensor) -> Tensor:
        given = given.repeat_interleave(x.shape[0], dim=0)
        split = [
            layer(y).unflatten(-1, (4, 32)).transpose(1, 2)
            for layer, y in ((self.query, x), (self.key, given), (self.value, given))
        ]
        return F.scaled_dot_product_attention(*split)


class Level(nn.Module):
    """A fixed noise level's embedding scales a picture."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Sequential(nn.Linear(256, 256), nn.SiLU(), nn.Linear(256, 64))

    def forward(self, x: Tensor) -> Tensor:
        angles = 0.7 * torch.exp(torch.arange(128) / -13.0)
        scale: Tensor = self.embed(torch.cat([angles.sin(), angles.cos()])[None])
        return x * scale[:, :, None, None]


class Rotary(nn.Module):
    """A rotary embedding written slice by slice."""

    def forward(self, x: Tensor, cos: Tensor) -> Tensor:
        out = torch.empty_like(x)
        out[..., 0::2] = x[..., 0::2] * cos
        out[..., 1::2] = x[..., 1::2] * cos
        return out


class Steps(nn.Module):
    """Two steps of a sampler, which look at one caption."""

    def __init__(self) -> None:
        super().__init__()
        self.query, self.key, self.value = (nn.Linear(128, 128) for _ in range(3))

    def forward(self, x: Tensor, caption: Tensor) -> Tensor:
        for _ in range(2):
            key, value = self.key(caption), self.value(caption)
            x = x + F.scaled_dot_product_attention(self.query(x), key, value)
        return x


class Wide(nn.Module):
    """A mean on more axes than Core ML has."""

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = x.unflatten(1, (4, 2, 8)).mean(2).flatten(1, 2)
        return y


class Numbers(nn.Module):
    """A picture from [-1, 1] to [0, 1], and inverted."""

    def forward(self, x: Tensor) -> Tensor:
        return 1 - (x * 0.5 + 0.5)


class Pieces(nn.Module):
    """A gate: one half of the channels opens the other."""

    def forward(self, x: Tensor) -> Tensor:
        value, gate = x.chunk(2, dim=1)
        return value * gate.sigmoid()


class Squeezed(nn.Module):
    """One row, looked at without its axis."""

    def forward(self, x: Tensor) -> Tensor:
        return x.select(1, 0).tanh().unsqueeze(1)


class Idle(nn.Module):
    """Moves and casts that do nothing, around a sum."""

    def forward(self, x: Tensor) -> Tensor:
        return x.to(x.dtype).clone().reshape(x.shape).contiguous() + 1


SUBJECTS = (
    Subject(rule=RemoveNothing(), module=Idle(), shapes=((1, 64, 64, 64),)),
    Subject(rule=FoldMoves(5), module=Patches(), shapes=((1, 16, 8, 32, 32),)),
    Subject(rule=ExplicitAttention(), module=Attend(), shapes=((1, 4, 256, 32),)),
    Subject(rule=OneKey(), module=Cross(1), shapes=((8, 256, 128), (1, 1, 128))),
    Subject(rule=DelayExpansion(), module=Cross(77), shapes=((8, 64, 128), (1, 77, 128))),
    Subject(rule=FoldConstants(), module=Level(), shapes=((1, 64, 32, 32),)),
    Subject(rule=FlatGroupNorm(), module=nn.GroupNorm(8, 64), shapes=((1, 64, 8, 16, 16),)),
    Subject(rule=GatherWrites(), module=Rotary(), shapes=((1, 8, 256, 64), (1, 8, 256, 32))),
    Subject(rule=ComputedOnce(), module=Steps(), shapes=((1, 64, 128), (1, 77, 128))),
    Subject(rule=FoldAxes(5), module=Wide(), shapes=((1, 64, 8, 16, 16),)),
    Subject(rule=FrameConvolutions(), module=nn.Conv3d(8, 8, 3), shapes=((1, 8, 8, 16, 16),)),
    Subject(rule=TanhGelu(), module=nn.GELU("tanh"), shapes=((1, 64, 32, 32),)),
    Subject(rule=TensorOperands(), module=Numbers(), shapes=((1, 4, 64, 64),)),
    Subject(rule=Slices(), module=Pieces(), shapes=((1, 64, 32, 32),)),
    Subject(rule=PlainReshapes(), module=Squeezed(), shapes=((64, 1, 256),)),
)


def main() -> None:
    """Print the table."""
    torch.set_num_threads(1)
    print(f"{'rule':<24} {'operators; work':>20} {'time, after : before':>22}")
    for subject in SUBJECTS:
        before, after = rewritten(subject)
        ratio = interleaved(before.module(), after.module(), given(subject))
        print(f"{subject.rule.name:<24} {gain(before, after):>20} {ratio:>22.2f}")


def given(subject: Subject) -> tuple[Tensor, ...]:
    """Inputs of a subject."""
    return tuple(torch.randn(shape) for shape in subject.shapes)


def rewritten(subject: Subject) -> tuple[ExportedProgram, ExportedProgram]:
    """Before and after, both functional, and without the no-ops that this alone leaves."""
    before = torch.export.export(subject.module.eval(), given(subject), strict=False)
    before, _ = apply(before, [] if isinstance(subject.rule, RemoveNothing) else [RemoveNothing()])
    after, log = apply(before, [subject.rule])
    assert log.applied, f"{subject.rule.name} found nothing to do"
    return before, after


def gain(before: ExportedProgram, after: ExportedProgram) -> str:
    """Operators, and the share of the work that is left, as docs/export.md has them."""
    (nodes, macs), (fewer, less) = cost(before), cost(after)
    return f"{nodes} → {fewer}; {less / macs:.0%}"


def cost(program: ExportedProgram) -> tuple[int, int]:
    """Operators, and their estimated work."""
    nodes = [node for node in program.graph.nodes if node.op == "call_function"]
    return len(nodes), sum(work(node) for node in nodes)


def interleaved(before: Callable[..., Any], after: Callable[..., Any], inputs: Any) -> float:
    """Median CPU time of one over the other's, taken in turns."""
    seconds: tuple[list[float], list[float]] = ([], [])
    with torch.no_grad():
        for _ in range(ROUNDS + 2):
            for samples, run in zip(seconds, (before, after), strict=True):
                started = time.process_time()
                run(*inputs)
                samples.append(time.process_time() - started)
    return statistics.median(seconds[1][2:]) / statistics.median(seconds[0][2:])


if __name__ == "__main__":
    main()
