"""Name of an ExecuTorch backend -> its partitioners, or why they cannot work here."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from minuet.contracts.errors import Refusal, RequestError
from minuet.export.quiet import quiet

MOST_AXES = 6  # XNN_MAX_TENSOR_DIMS; beyond it a delegate fails when it is loaded, not before


def partitioners(backend: str) -> list[Any]:
    """The partitioners to try in order; XNNPACK takes what others leave.

    Raises:
        RequestError: an unknown backend, or one whose tools are not here, with the reason.
    """
    if backend not in BACKENDS:
        raise RequestError(f"backend {backend!r} is not known; choose from {', '.join(BACKENDS)}.")
    if refusal := refused(backend):
        raise RequestError(f"backend {backend} was not run: {refusal}.")
    with quiet():
        try:
            return BACKENDS[backend]()
        except (ImportError, OSError, RuntimeError) as error:
            if backend == "xnnpack":  # it comes with ExecuTorch itself
                raise
            said = (str(error).strip() or type(error).__name__).splitlines()[0][:300]
            raise RequestError(f"backend {backend} was not run: its tools fail: {said}") from error


def refused(backend: str) -> Refusal | None:
    """Why a backend's tools cannot work here; None where they can."""
    if backend == "coreml" and not importlib.util.find_spec("coremltools"):
        return Refusal("it needs coremltools; pip install 'minuet[coreml]'")
    # Without it executorch 1.4 downloads an SDK while it is imported, terms of use and all.
    if backend == "qnn" and not Path(os.environ.get("QNN_SDK_ROOT") or os.devnull).is_dir():
        return Refusal("it needs Qualcomm's AI Engine Direct SDK; set QNN_SDK_ROOT to its folder")
    return None


def _xnnpack() -> list[Any]:
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner

    return [XnnpackPartitioner()]


def _coreml() -> list[Any]:
    from executorch.backends.apple.coreml.partition import CoreMLPartitioner

    return [CoreMLPartitioner(), *_xnnpack()]


def _qnn() -> list[Any]:
    from executorch.backends.qualcomm.partition.qnn_partitioner import QnnPartitioner
    from executorch.backends.qualcomm.utils.utils import (
        generate_htp_compiler_spec,
        generate_qnn_executorch_compiler_spec,
    )

    specs = generate_qnn_executorch_compiler_spec(
        soc_model="SM8650", backend_options=generate_htp_compiler_spec(use_fp16=True)
    )
    return [QnnPartitioner(specs), *_xnnpack()]


BACKENDS: dict[str, Callable[[], list[Any]]] = {
    "xnnpack": _xnnpack,
    "coreml": _coreml,
    "qnn": _qnn,
}
