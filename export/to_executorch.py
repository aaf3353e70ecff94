"""Program -> ExecuTorch file for XNNPACK (float32, or int8 where the program carries q/dq)."""

from __future__ import annotations

import gc
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from minuet.contracts.artifact import Artifact
from minuet.contracts.errors import RequestError
from minuet.contracts.files import write_json, writing
from minuet.export.blame import owner
from minuet.export.capture import Program
from minuet.export.executorch_backends import MOST_AXES, partitioners
from minuet.export.executorch_delegation import (
    KERNEL,
    Delegation,
    delegation,
    insist_on_delegation,
    name_of,
)
from minuet.export.files import describe
from minuet.export.quiet import quiet
from minuet.export.rewrites.table import rewrite

if TYPE_CHECKING:
    from torch.fx import Node


def export_executorch(
    program: Program,
    bundle: Path,
    precision: str = "fp32",
    *,
    backend: str = "xnnpack",
    max_fallback: float = 1.0,
) -> Artifact:
    """Write bundle/executorch-<precision>/model.pte, delegation.json and rewrites.json.

    `requires` says how many subgraphs the backend took and which operators it left: these kernels
    must be linked into the app (a selective build may leave out the rest). Where this machine's
    runtime lacks a backend of the file, `loaded` says that it was not tried.

    Args:
        backend: xnnpack, coreml or qnn; XNNPACK takes what the other two leave.
        max_fallback: the share of the work, in [0, 1], that portable kernels may do.

    Raises:
        RequestError: the program cannot be lowered, or what was lowered cannot be loaded.
        VerdictError: portable kernels would do more than `max_fallback` of the work.
    """
    started = time.perf_counter()
    rewritten, log = rewrite(program, "executorch")
    edge = _lower(rewritten, partitioners(backend))
    table = delegation(edge)
    insist_on_delegation(table, max_fallback)
    _check_axes(edge)
    lowered = _finish(edge)
    path = bundle / f"executorch-{precision}" / "model.pte"
    requires = _requires(backend, table, lowered)
    absent = lacking(table)
    if absent:
        requires["loaded"] = f"not run: the runtime of this machine has no {', '.join(absent)}"
    with writing(path, sync=False) as stream:
        lowered.write_to_file(stream)
        stream.flush()
        del rewritten, edge, lowered
        _let_go()
        if not absent:
            _check_loads(Path(stream.name))
    write_json(path.with_name("delegation.json"), table.to_json())
    log.write_beside(path)
    return describe(
        bundle,
        target="executorch",
        precision=precision,
        entry=path,
        requires=requires,
        seconds=time.perf_counter() - started,
    )


def _requires(backend: str, table: Delegation, lowered: Any) -> dict[str, str]:
    kernels = kernels_of(lowered.exported_program().graph)
    return {
        "backend": {"xnnpack": "XnnpackBackend", "coreml": "CoreMLBackend", "qnn": "QnnBackend"}[
            backend
        ],
        "delegates": str(table.delegates),
        "fallback": f"{table.fallback:.2%} of the work",
        "kernels": ", ".join(f"{name} x{count}" for name, count in sorted(kernels.items())),
    }


def _lower(program: Program, chosen: list[Any]) -> Any:
    with quiet():
        from executorch.backends.transforms.remove_clone_ops import RemoveCloneOpsTransform
        from executorch.exir import to_edge_transform_and_lower

        from minuet.export.shims_executorch_1_4 import fast_lowering

        # A copy to the same layout is no work, and a delegate of nothing else cannot be lowered
        # ("pass through arguments": executorch 1.4.1, on Stable Video Diffusion).
        copies = RemoveCloneOpsTransform(preserve_input_output_copies=True)
        try:
            with fast_lowering():
                return to_edge_transform_and_lower(
                    program.exported, transform_passes=[copies], partitioner=chosen
                )
        except Exception as error:
            raise _refusal(error) from error


def _finish(edge: Any) -> Any:
    with quiet():
        try:
            return edge.to_executorch()
        except Exception as error:
            raise _refusal(error) from error


def _refusal(error: Exception) -> RequestError:
    return RequestError(
        f"ExecuTorch could not lower the program: {'; '.join(_reasons(error))[:400]}."
    )


def _reasons(error: BaseException | None) -> Iterator[str]:
    """First lines of an error and of what caused it, the cause first."""
    if error is not None:
        yield from _reasons(error.__cause__)
        yield (str(error).strip() or type(error).__name__).splitlines()[0][:200]


def _check_axes(edge: Any) -> None:
    """A delegated tensor of too many axes is refused here: it would fail in the app, on loading."""
    for node in delegated(edge):
        value: Any = node.meta.get("val")
        if hasattr(value, "ndim") and value.ndim > MOST_AXES:
            raise RequestError(
                f"{name_of(node)} of {owner(node)} makes a tensor of "
                f"{value.ndim} axes, and XNNPACK loads at most {MOST_AXES}. "
                "Fold axes together before it, as minuet's own rewrite does for plain reshapes."
            )


def delegated(edge: Any) -> Iterator[Node]:
    """Every node inside a delegate."""
    from executorch.exir.lowered_backend_module import get_lowered_submodules

    for method in edge.methods:
        for _, lowered, _ in get_lowered_submodules(edge.exported_program(method).graph_module):
            yield from lowered.original_module.graph.nodes


def _let_go() -> None:
    """Free what was lowered: it holds every weight once more, and loading packs them once again."""
    from executorch.exir.backend.utils import WhyNoPartition, is_same_node
    from torch._subclasses.fake_tensor import FakeTensorMode

    for name, module in list(sys.modules.items()):
        why = getattr(module, "why", None) if name.startswith("executorch.") else None
        if isinstance(why, WhyNoPartition):
            why.node = None  # the last that a partitioner left out, and with it its whole graph
    FakeTensorMode.cache_clear()  # its keys hold the delegates
    is_same_node.cache_clear()  # so do these: nodes, and with them their whole graphs
    gc.collect()


def lacking(table: Delegation) -> list[str]:
    """Backends that a program was handed to and that the runtime of this machine is without."""
    with quiet():
        from executorch.runtime import Runtime

        here = Runtime.get().backend_registry.registered_backend_names
    return sorted({row.runs_on for row in table.rows} - {KERNEL, *here})


def _check_loads(path: Path) -> None:
    with quiet():
        from executorch.runtime import Runtime

        try:
            Runtime.get().load_program(path).load_method("forward")
        except Exception as error:
            raise RequestError(
                f"ExecuTorch's runtime could not load what was lowered: {str(error)[:300]}."
            ) from error


def kernels_of(graph: Any) -> Counter[str]:
    """Portable kernels by name."""
    calls = [str(node.target) for node in graph.nodes if node.op == "call_function"]
    families = ("aten.", "dim_order_ops.", "quantized_decomposed.")
    return Counter(name for name in calls if name.startswith(families))
