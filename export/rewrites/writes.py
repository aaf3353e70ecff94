"""A tensor filled by slices -> the slices, put together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from minuet.contracts.errors import Refusal
from minuet.export.rewrites.draft import Draft, shape_of
from minuet.export.rewrites.engine import Rule

if TYPE_CHECKING:
    from torch.fx import Node

SCATTER = "aten.slice_scatter.default"


@dataclass(frozen=True, slots=True, kw_only=True)
class Write:
    """One slice of an axis, and what is written there."""

    source: Node
    axis: int
    length: int  # of that axis
    start: int
    end: int
    step: int


class GatherWrites(Rule):
    """out[..., 0::2] = a; out[..., 1::2] = b becomes a and b interleaved; ranges are concatenated.

    Rotary embeddings are written so (Wan); captured, they are scatters into an empty tensor, which
    ExecuTorch refuses. Equal because the writes together cover the axis, each place by the last
    write to it: what was there before is never read. Refused: writes that leave a place, or that
    are not one step's residues or successive ranges.
    """

    name = "writes gathered"

    def pattern(self, node: Node, draft: Draft) -> list[Write] | None:
        last = str(node.target) == SCATTER and not any(_writes_into(u, node) for u in node.users)
        return _writes(node) if last else None

    def check(self, match: list[Write], draft: Draft) -> Refusal | None:
        if _pieces(match) is None:
            return Refusal("slices are written that do not fill their axis in order")
        return None

    def rewrite(self, match: list[Write], draft: Draft) -> Node:
        import torch

        pieces, step, axis = _pieces(match), match[0].step, match[0].axis
        assert pieces is not None and draft.anchor is not None
        if step == 1:
            return draft.call(torch.ops.aten.cat.default, pieces, axis)
        stacked = draft.call(torch.ops.aten.stack.default, pieces, axis + 1)
        return draft.reshape(stacked, shape_of(draft.anchor))


def _writes_into(user: Node, base: Node) -> bool:
    return str(user.target) == SCATTER and user.args[0] is base


def _writes(node: Node) -> list[Write]:
    """The writes of a chain, the last first."""
    found: list[Write] = []
    while str(node.target) == SCATTER:
        found.append(_write(node))
        node = node.args[0]  # type: ignore[assignment]
    return found


def _write(node: Node) -> Write:
    given: dict[str, Any] = dict(zip(NAMES, node.args, strict=False)) | dict(node.kwargs)
    axis = given.get("dim", 0) % len(shape_of(node))
    size = shape_of(node)[axis]
    start, end, _ = slice(given.get("start"), given.get("end")).indices(size)
    step = given.get("step", 1)
    return Write(source=given["src"], axis=axis, length=size, start=start, end=end, step=step)


NAMES = ("self", "src", "dim", "start", "end", "step")


def _pieces(writes: list[Write]) -> list[Node] | None:
    """The sources in their order along the axis; None where they do not fill it."""
    first = writes[0]
    if any((one.axis, one.step) != (first.axis, first.step) for one in writes):
        return None
    by_start = {one.start: one for one in reversed(writes)}  # the last write wins
    pieces = [by_start[start] for start in sorted(by_start)]
    starts, ends = [one.start for one in pieces], [one.end for one in pieces]
    if first.step > 1:
        full = starts == list(range(first.step)) and set(ends) == {first.length}
        full = full and first.length % first.step == 0
    else:
        full = starts == [0, *ends[:-1]] and ends[-1] == first.length
    return [one.source for one in pieces] if full else None
