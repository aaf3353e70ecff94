"""One eager run -> which of its inputs reach its outputs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode

from minuet.export.sources.tree import leaves


class Flow(TorchDispatchMode):
    """Follows inputs from operator to operator; views share what their storage holds."""

    def __init__(self, inputs: Sequence[Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.sources: dict[int, tuple[StorageWeakRef, frozenset[int]]] = {}
        for at, tensor in enumerate(inputs):
            self._add(tensor, frozenset({at}))

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        given = self.reaching([x for _, x in leaves([list(args), kwargs or {}], Tensor)])
        changed = [x for x in args if isinstance(x, Tensor)][:1] if _in_place(func) else []
        for tensor in [x for _, x in leaves(result, Tensor)] + changed:
            self._add(tensor, given)
        return result

    def reaching(self, tensors: Sequence[Tensor]) -> frozenset[int]:
        """The inputs that had a part in these."""
        return frozenset[int]().union(*self._found(tensors))

    def _found(self, tensors: Sequence[Tensor]) -> Iterator[frozenset[int]]:
        for tensor in tensors:
            reference = StorageWeakRef(tensor.untyped_storage())
            known = self.sources.get(reference.cdata)
            if known and not known[0].expired():
                yield known[1]

    def _add(self, tensor: Tensor, sources: frozenset[int]) -> None:
        before = self.reaching([tensor])
        reference = StorageWeakRef(tensor.untyped_storage())
        self.sources[reference.cdata] = (reference, before | sources)


def used(
    run: Callable[..., tuple[Tensor, ...]], inputs: Sequence[Tensor]
) -> tuple[list[bool], tuple[Tensor, ...]]:
    """Of each input whether it matters, and the outputs."""
    own = [tensor.clone() for tensor in inputs]
    with Flow(own) as flow, torch.no_grad():
        outputs = run(*own)
    reached = flow.reaching(outputs)
    return [at in reached for at in range(len(own))], outputs


def _in_place(func: Any) -> bool:
    return str(func.overloadpacket).endswith("_")
