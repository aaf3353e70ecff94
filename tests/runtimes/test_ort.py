"""ONNX Runtime runs where it was asked to, or says that it did not."""

import os
from pathlib import Path

import numpy as np
import pytest

from minuet.contracts.artifact import Artifact
from minuet.contracts.errors import DamagedError, MissingBackendError
from minuet.contracts.tensors import Arrays, Signature
from minuet.runtimes.ort import COREML, CPU, CUDA, TENSORRT, OrtRuntime, stood_in
from minuet.runtimes.table import runtime

Written = tuple[Path, Artifact]
pytestmark = pytest.mark.parametrize("artifact", ["onnx-fp32"], indirect=True)


def test_every_operator_is_placed(artifact: Written, declared: Signature) -> None:
    with OrtRuntime().open(*artifact, declared, threads=1) as session:
        assert session.placement.keys() == {CPU} and session.placement[CPU] > 20


def test_a_provider_that_takes_nothing_was_not_run(artifact: Written, declared: Signature) -> None:
    """Azure's provider is in every build, and takes no operator but its own."""
    azure = OrtRuntime(name="ort-azure", provider="Azure")
    if azure.available():
        pytest.skip("this build has no such provider")
    with pytest.raises(MissingBackendError, match=r"took no operator .*CPUExecutionProvider \d+"):
        with azure.open(*artifact, declared, threads=1):
            pass


@pytest.mark.parametrize("one", [CUDA, TENSORRT, COREML], ids=lambda one: one.name)
def test_a_provider_that_is_not_here_says_so(
    artifact: Written, declared: Signature, one: OrtRuntime
) -> None:
    refusal = one.available()
    if refusal is None:
        pytest.skip("it is here")
    assert "ExecutionProvider, only " in refusal.reason
    with pytest.raises(MissingBackendError, match="not run"):
        with one.open(*artifact, declared):
            pass


def test_a_provider_that_did_not_load_is_found_out(artifact: Written) -> None:
    class Fallen:
        def get_providers(self) -> list[str]:
            return [CPU]

    refusal = stood_in(Fallen(), "CUDAExecutionProvider", {CPU: 3})
    assert refusal is not None and "silently took its place" in refusal.reason


def test_options_are_recorded(artifact: Written) -> None:
    one = OrtRuntime(provider="coreml", options={"ModelFormat": "MLProgram"})
    assert one.version().endswith("coreml ModelFormat=MLProgram")
    assert "cpu" not in OrtRuntime().version()


@pytest.mark.parametrize("name", ["ort", "openvino"])
def test_weights_behind_a_hard_link_are_refused(
    artifact: Written, declared: Signature, tmp_path: Path, name: str
) -> None:
    one = runtime(name)
    if refusal := one.available():
        pytest.skip(refusal.reason)
    folder, row = artifact
    entry = tmp_path / row.entry
    entry.parent.mkdir(parents=True)
    entry.write_bytes((folder / row.entry).read_bytes())
    (tmp_path / "elsewhere").write_bytes(b"secret")
    os.link(tmp_path / "elsewhere", entry.parent / "model.onnx.data")
    with pytest.raises(DamagedError, match="a link beside a model"):
        with one.open(tmp_path, row, declared):
            pass


def test_bfloat16_is_not_run_on_this_cpu_and_runs_in_openvino(
    artifact: Written,
    declared: Signature,
    inputs: Arrays,
    expected: np.ndarray,
    tmp_path: Path,
    program: object,
) -> None:
    from minuet.export.to_onnx import export_onnx

    row = export_onnx(program, tmp_path, "bf16")  # type: ignore[arg-type]
    with pytest.raises(MissingBackendError, match=r"no kernel for onnx-bf16 .*OpenVINO"):
        with OrtRuntime().open(tmp_path, row, declared):
            pass
    other = runtime("openvino")
    if refusal := other.available():
        pytest.skip(refusal.reason)
    with other.open(tmp_path, row, declared, threads=1) as session:
        frames = session.run(inputs)["frames"]
    apart = np.abs(frames.astype(int) - expected.astype(int))
    assert np.median(apart) <= 2 and np.percentile(apart, 99) < 24
