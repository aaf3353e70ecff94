"""Program -> ExecuTorch file for XNNPACK (float32, or int8 where the program carries q/dq)."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path
from typing import Any

from minuet.contracts.artifact import Artifact
from minuet.contracts.errors import RequestError
from minuet.contracts.files import write_bytes
from minuet.export.capture import Program
from minuet.export.files import describe
from minuet.export.quiet import quiet


def export_executorch(program: Program, bundle: Path, precision: str = "fp32") -> Artifact:
    """Write bundle/executorch-<precision>/model.pte.

    `requires` says how many subgraphs XNNPACK took and which operators it left: these kernels
    must be linked into the app (a selective build may leave out the rest).
    """
    started = time.perf_counter()
    lowered = _lower(program)
    path = bundle / f"executorch-{precision}" / "model.pte"
    write_bytes(path, bytes(lowered.buffer))
    delegates, kernels = delegation(lowered.exported_program().graph)
    requires = {
        "backend": "XnnpackBackend",
        "delegates": str(delegates),
        "kernels": ", ".join(f"{name} x{count}" for name, count in sorted(kernels.items())),
    }
    return describe(
        bundle,
        target="executorch",
        precision=precision,
        entry=path,
        requires=requires,
        seconds=time.perf_counter() - started,
    )


def _lower(program: Program) -> Any:
    with quiet():
        from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
        from executorch.exir import to_edge_transform_and_lower

        try:
            edge = to_edge_transform_and_lower(program.exported, partitioner=[XnnpackPartitioner()])
            return edge.to_executorch()
        except Exception as error:
            raise RequestError(
                f"ExecuTorch could not lower the program: {str(error)[:300]}. "
                "Tensors of more than 5 axes, and loops, are refused there."
            ) from error


def delegation(graph: Any) -> tuple[int, Counter[str]]:
    """Subgraphs handed to XNNPACK, and portable kernels by name."""
    calls = [str(node.target) for node in graph.nodes if node.op == "call_function"]
    delegates = sum(name == "executorch_call_delegate" for name in calls)
    kernels = Counter(name for name in calls if name.startswith(("aten.", "dim_order_ops.")))
    kernels.update(name for name in calls if name.startswith("quantized_decomposed."))
    return delegates, kernels
