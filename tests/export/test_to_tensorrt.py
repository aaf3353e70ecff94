"""TensorRT engines are built without a GPU; what cannot be is said."""

from pathlib import Path

import pytest

from minuet.contracts.errors import MissingBackendError, RequestError
from minuet.export import to_tensorrt
from minuet.export.capture import Program
from minuet.export.to_tensorrt import export_tensorrt


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_an_engine_is_built_and_says_what_for(
    program: Program, tmp_path: Path, precision: str
) -> None:
    pytest.importorskip("tensorrt_rtx_bindings")
    artifact = export_tensorrt(program, tmp_path, precision, capability="SM89")
    assert artifact.name == f"tensorrt-{precision}"
    assert artifact.requires["gpu"] == "SM89" and artifact.requires["library"] == "tensorrt_rtx"
    assert artifact.size > 100_000


def test_an_unknown_gpu_is_refused_with_the_known_ones(program: Program, tmp_path: Path) -> None:
    pytest.importorskip("tensorrt_rtx_bindings")
    with pytest.raises(RequestError, match=r"'SM11' is no compute capability; known: .*SM86"):
        export_tensorrt(program, tmp_path, "fp32", capability="SM11")


def test_without_tensorrt_the_extra_is_named(
    program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys

    for name in ("tensorrt_rtx_libs", "tensorrt_rtx_bindings", "tensorrt"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(MissingBackendError, match=r"minuet\[tensorrt\]"):
        to_tensorrt.bindings()
