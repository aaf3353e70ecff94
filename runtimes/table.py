"""Name -> runtime. Others join through the entry point group `minuet.runtimes`."""

import importlib
from importlib.metadata import entry_points
from typing import Any, cast

from minuet.contracts.errors import RequestError
from minuet.contracts.runtime import Runtime

# The first row that opens a target is the one that answers for the artifact; later ones are
# second opinions on the same file.
RUNTIMES = {
    "ort": "minuet.runtimes.ort:OrtRuntime",
    "ort-cuda": "minuet.runtimes.ort:CUDA",
    "ort-tensorrt": "minuet.runtimes.ort:TENSORRT",
    "ort-coreml": "minuet.runtimes.ort:COREML",
    "openvino": "minuet.runtimes.openvino:OpenVinoRuntime",
    "openvino-bf16": "minuet.runtimes.openvino:BFLOAT16",
    "executorch": "minuet.runtimes.executorch:ExecutorchRuntime",
    "coreml": "minuet.runtimes.coreml:CoreMLRuntime",
    "mil": "minuet.runtimes.mil.runtime:MilRuntime",
    "tensorrt": "minuet.runtimes.tensorrt:TensorRtRuntime",
}


def runtime(name: str) -> Runtime:
    """A runtime by name.

    Raises:
        RequestError: there is none of that name.
    """
    if name in RUNTIMES:
        module, attribute = RUNTIMES[name].split(":")
        return _made(getattr(importlib.import_module(module), attribute))
    for point in entry_points(group="minuet.runtimes", name=name):
        return _made(point.load())
    raise RequestError(f"runtime {name!r} is not known; choose from {', '.join(RUNTIMES)}.")


def _made(found: Any) -> Runtime:
    """A class is called; a runtime that is configured already is taken as it is."""
    return cast(Runtime, found() if isinstance(found, type) else found)


def runtimes_for(target: str) -> tuple[Runtime, ...]:
    """Every runtime that opens a target, in the table's order."""
    found = (runtime(name) for name in RUNTIMES)
    return tuple(one for one in found if target in one.targets)
