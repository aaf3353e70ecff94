"""Runtimes are found by name and by what they open."""

import subprocess
import sys

import pytest

from minuet.contracts.artifact import TARGETS
from minuet.contracts.errors import RequestError
from minuet.runtimes.table import RUNTIMES, runtime, runtimes_for


def test_every_row_gives_a_runtime_of_its_own_name() -> None:
    assert [runtime(name).name for name in RUNTIMES] == list(RUNTIMES)


def test_every_target_has_a_runtime_and_its_own_comes_first() -> None:
    first = {target: runtimes_for(target)[0].name for target in TARGETS}
    assert first == {
        "onnx": "ort",
        "executorch": "executorch",
        "coreml": "coreml",
        "tensorrt": "tensorrt",
    }


def test_an_unknown_runtime_is_refused_with_the_known_ones() -> None:
    with pytest.raises(RequestError, match="'tflite' is not known; choose from ort"):
        runtime("tflite")


def test_naming_every_runtime_imports_no_framework() -> None:
    code = (
        "import sys; from minuet.runtimes.table import RUNTIMES, runtime;"
        "[runtime(name) for name in RUNTIMES];"
        "print({'torch', 'onnxruntime', 'openvino', 'coremltools'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=_env()
    )
    assert done.stdout.strip() == "set()"


def _env() -> dict[str, str]:
    import os

    return {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
