"""Runtimes that cannot run here say why, and engines are code."""

import sys
from pathlib import Path

import pytest

from minuet.contracts.artifact import Artifact, FileEntry
from minuet.contracts.errors import MissingBackendError, RequestError
from minuet.contracts.files import sha256_of
from minuet.contracts.tensors import Signature
from minuet.runtimes.coreml import CoreMLRuntime
from minuet.runtimes.tensorrt import TensorRtRuntime
from tests.standin import signature


@pytest.fixture
def engine(tmp_path: Path) -> Artifact:
    path = tmp_path / "tensorrt-fp16/model.engine"
    path.parent.mkdir()
    path.write_bytes(b"engine")
    entry = FileEntry(path="tensorrt-fp16/model.engine", bytes=6, sha256=sha256_of(path))
    return Artifact(
        target="tensorrt", precision="fp16", entry=entry.path, files=(entry,), requires={}
    )


@pytest.fixture
def declared() -> Signature:
    return signature(64)


@pytest.mark.skipif(sys.platform == "darwin", reason="Core ML runs here")
def test_core_ml_is_refused_outside_macos(
    engine: Artifact, tmp_path: Path, declared: Signature
) -> None:
    refusal = CoreMLRuntime().available()
    assert refusal is not None and "only on macOS" in refusal.reason
    with pytest.raises(MissingBackendError, match="macOS; not run"):
        with CoreMLRuntime().open(tmp_path, engine, declared):
            pass


def test_an_engine_without_trust_is_refused(
    engine: Artifact, tmp_path: Path, declared: Signature
) -> None:
    with pytest.raises(RequestError, match="is code that this machine would run"):
        with TensorRtRuntime().open(tmp_path, engine, declared):
            pass


def test_a_missing_gpu_is_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("tensorrt_rtx_bindings")
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    refusal = TensorRtRuntime(trusted=True).available()
    assert refusal is not None and "no NVIDIA GPU" in refusal.reason
