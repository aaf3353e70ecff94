"""Every artifact, on every runtime that is here, is the module it came from."""

from pathlib import Path

import numpy as np
import pytest

from minuet.benchmarks.parity import difference, judge
from minuet.contracts.artifact import Artifact
from minuet.contracts.errors import RequestError
from minuet.contracts.files import sha256_of
from minuet.contracts.tensors import Array, Arrays, Signature
from minuet.runtimes.table import runtime

PAIRS = [
    ("onnx-fp32", "ort"),
    ("onnx-fp32", "openvino"),
    ("onnx-fp32", "openvino-bf16"),
    ("onnx-fp16", "ort"),
    ("onnx-fp16", "openvino"),
    ("coreml-fp32", "mil"),
    ("coreml-fp16", "mil"),
    pytest.param("executorch-fp32", "executorch", marks=pytest.mark.slow),
]


@pytest.mark.parametrize(("artifact", "name"), PAIRS, indirect=["artifact"])
def test_an_artifact_is_still_the_same_model(
    artifact: tuple[Path, Artifact],
    name: str,
    declared: Signature,
    inputs: Arrays,
    expected: Array,
) -> None:
    one = runtime(name)
    if refusal := one.available():
        pytest.skip(refusal.reason)
    with one.open(*artifact, declared, threads=1) as session:
        frames = session.run(inputs)["frames"]
        again = session.run(inputs)["frames"]
        turned = {k: np.asfortranarray(value) for k, value in inputs.items()}  # the same numbers
        otherwise = session.run(turned)["frames"]
    assert frames is not again
    np.testing.assert_array_equal(frames, otherwise)
    np.testing.assert_array_equal(frames, again)
    parity = judge(artifact[1], name, one.version(), difference(expected, frames))
    assert parity.verdict == "pass", parity


@pytest.mark.parametrize("artifact", ["onnx-fp32"], indirect=True)
@pytest.mark.parametrize("name", ["ort", "openvino"])
def test_inputs_of_another_dtype_are_refused(
    artifact: tuple[Path, Artifact], name: str, declared: Signature, inputs: Arrays
) -> None:
    wrong = {**inputs, "tokens": inputs["tokens"].astype(np.int64)}
    with runtime(name).open(*artifact, declared, threads=1) as session:
        with pytest.raises(RequestError, match=r"tokens: int32 .*int64"):
            session.run(wrong)


@pytest.mark.parametrize("artifact", ["onnx-fp32"], indirect=True)
@pytest.mark.parametrize("name", ["ort", "openvino"])
def test_a_file_that_is_no_model_is_one_message(
    artifact: tuple[Path, Artifact], name: str, declared: Signature, tmp_path: Path
) -> None:
    (tmp_path / "onnx-fp32").mkdir()
    (tmp_path / "onnx-fp32/model.onnx").write_bytes(b"not a model")
    with pytest.raises(RequestError, match="could not open it"):
        with runtime(name).open(tmp_path, artifact[1], declared):
            pass


@pytest.mark.parametrize("artifact", ["coreml-fp32"], indirect=True)
def test_looking_at_a_core_ml_package_changes_no_byte(
    artifact: tuple[Path, Artifact], declared: Signature
) -> None:
    from coremltools.models.utils import load_spec

    folder, row = artifact
    with runtime("mil").open(*artifact, declared):
        pass
    load_spec(str(folder / row.entry))  # it rewrites an index that it would have written otherwise
    assert all(sha256_of(folder / file.path) == file.sha256 for file in row.files)
