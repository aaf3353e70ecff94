"""What makes executorch 1.4 slow at lowering -> left out; remove when a newer one is fast.

Profiled on a sticker program, lowering spends its time in Python: half of it in passes over single
delegates, a sixth in copying the history of nodes. The pieces below are replaced while a program is
lowered, and put back.
"""

from __future__ import annotations

import contextlib
import copy
import hashlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch.export import ExportedProgram
    from torch.fx import Node

# A pass of XNNPACK's -> what the names of its operators contain. It retraces the whole delegate,
# and changes nothing where none of them is there. Passes that are not named here always run.
NEEDS = {
    "XNNPACKRemoveCloneOpsTransform": ("clone", "dim_order"),
    "DimOrderOpsRevertPass": ("dim_order",),
    # Its pattern is the operator itself, and that is left as it is.
    "ConvertToUpsampleBilinear2d": ("index",),
    "ConvertToLinearPass": ("mm",),
    "ConvertToSDPAPass": ("logical_not",),  # of torch's safe softmax, which both patterns hold
    "FuseBatchNormPass": ("batch_norm",),
    "DecomposeBatchNorm": ("batch_norm",),
    "FuseActivationPass": ("relu", "hardtanh", "clamp"),
    "DecomposeConcatenate": ("cat",),
    "RemoveGetItemPass": ("getitem",),
    "InsertPadQDQPass": ("pad",),
    "Conv1dUnsqueezePass": ("convolution",),
    "PReLUReshapePass": ("prelu",),
    "RemoveRedundantCopyPass": (
        *("convolution", "mean", "max", "pool", "upsample", "prelu", "dim_order", "_to_copy"),
    ),
}


@contextlib.contextmanager
def fast_lowering() -> Iterator[None]:
    """Lower without histories, without passes that cannot match, each delegate once."""
    import torch.fx.traceback as provenance
    from executorch.backends.xnnpack import xnnpack_preprocess as xnnpack
    from executorch.exir.backend import backend_api

    backend: Any = xnnpack.XnnpackBackend
    before = backend.preprocess
    with contextlib.ExitStack() as stack:
        stack.enter_context(_replaced(provenance, "set_current_meta", _origin_only))
        passes = _needed_passes(xnnpack.XNNPACKPassManager)
        stack.enter_context(_replaced(xnnpack, "XNNPACKPassManager", passes))
        stack.enter_context(_replaced(backend_api, "copy", SharingCopy))
        stack.enter_context(_replaced(backend, "preprocess", staticmethod(once(before))))
        yield


class SharingCopy:
    """`copy` for programs whose weights nobody writes to: they are shared, not copied."""

    @staticmethod
    def deepcopy(value: Any) -> Any:
        """A deep copy of all but the tensors of a program."""
        stores = (getattr(value, "state_dict", {}), getattr(value, "constants", {}))
        held = {id(one): one for store in stores for one in store.values()}
        return copy.deepcopy(value, held)


def once(preprocess: Callable[..., Any]) -> Callable[..., Any]:
    """Lower equal sub-graphs once: the steps of an unrolled sampler are mostly the same ones."""
    made: dict[str, Any] = {}

    def remember(edge_program: ExportedProgram, compile_specs: list[Any]) -> Any:
        key = content(edge_program) + repr([(spec.key, spec.value) for spec in compile_specs])
        if key not in made:
            made[key] = preprocess(edge_program, compile_specs)
        return made[key]

    return remember


def content(program: ExportedProgram) -> str:
    """A hash of what a sub-graph computes: operators, arguments, shapes, and its constants' bytes.

    Names and places do not count.
    """
    from torch.fx.node import map_arg

    digest = hashlib.sha256()
    number: dict[Node, int] = {}
    held = {
        spec.arg.name: store[spec.target]
        for spec in program.graph_signature.input_specs
        for store in (program.state_dict, program.constants)
        if spec.target in store
    }

    def numbered(node: Node) -> str:
        return f"%{number[node]}"

    for at, node in enumerate(program.graph.nodes):
        number[node] = at
        arguments = map_arg((node.args, node.kwargs), numbered)
        # The schema's text, not the node's: str(target) of an edge operator holds it too.
        target = node.name if node.op == "output" else _operator(node)
        digest.update(f"{node.op} {target} {arguments} {_shapes(node)}\n".encode())
        if node.op == "placeholder" and node.name in held:
            tensor = held[node.name].detach().contiguous().cpu()
            digest.update(tensor.reshape(-1).view(_bytes()).numpy().tobytes())
    return digest.hexdigest()


def _operator(node: Node) -> str:
    return "" if node.op == "placeholder" else str(getattr(node.target, "__name__", node.target))


def _shapes(node: Node) -> str:
    value: Any = node.meta.get("val")
    values = value if isinstance(value, (list, tuple)) else [value]
    found = [(tuple(v.shape), str(v.dtype), v.stride()) for v in values if hasattr(v, "stride")]
    return repr(found)


def _needed_passes(manager: type) -> type:
    class NeededPasses(manager):  # type: ignore[misc]
        """The pass manager without the passes whose operators are not in the graph."""

        def __init__(self, exported_program: ExportedProgram, passes: Any = None) -> None:
            super().__init__(exported_program, passes)
            every: list[type] = vars(self)["passes"]
            present = [_operator(node) for node in exported_program.graph.nodes]
            present = [name for name in present if name]
            self.passes = [one for one in every if _may_match(one.__name__, present)]

    return NeededPasses


def _may_match(name: str, operators: list[str]) -> bool:
    needs = NEEDS.get(name)
    return needs is None or any(word in one for word in needs for one in operators)


@contextlib.contextmanager
def _origin_only(node: Node, pass_name: str = "") -> Iterator[None]:
    """A node's meta for the nodes made of it, with where it came from at first.

    The original appends every pass to that history, and copies it for every node of every pass.
    Debug handles are made of the first maker alone.
    """
    import torch.fx.traceback as provenance

    if not (provenance.should_preserve_node_meta and node.meta):
        yield
        return
    before = provenance.current_meta
    made = provenance.NodeSourceAction.CREATE
    try:
        provenance.current_meta = node.meta.copy()
        if not node.meta.get("from_node"):
            source = provenance.NodeSource(node, pass_name, made)
            provenance.current_meta["from_node"] = [source]
        yield
    finally:
        provenance.current_meta = before


@contextlib.contextmanager
def _replaced(owner: Any, name: str, value: Any) -> Iterator[None]:
    before = vars(owner)[name]
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, before)


def _bytes() -> Any:
    import torch

    return torch.uint8
