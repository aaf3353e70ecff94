"""Values inside saved files are shown under the names of the program they came from."""

from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest

from minuet.contracts.artifact import Artifact
from minuet.contracts.tensors import Arrays
from minuet.runtimes.probes import OnnxProbe, matched


@pytest.mark.parametrize(
    ("own", "node"),
    [
        ("conv2d_1", "conv2d_1"),
        ("conv2d_1_cast_fp16", "conv2d_1"),
        ("conv2d_1.half", "conv2d_1"),
        ("conv2d_1.bf16", "conv2d_1"),
        ("frames", "to_3"),
    ],
)
def test_what_exporters_append_is_not_part_of_the_name(own: str, node: str) -> None:
    known = {"conv2d_1": "conv2d_1", "frames": "to_3"}
    (tap,) = matched([("val_3", "Reshape"), (own, "Conv")], known)
    assert (tap.node, tap.name, tap.op) == (node, own, "Conv")


def test_of_a_value_and_its_cast_the_later_one_counts() -> None:
    found = [("a", "Conv"), ("b", "Add"), ("a_cast_fp16", "cast")]
    assert [tap.name for tap in matched(found, {"a": "a", "b": "b"})] == ["b", "a_cast_fp16"]


@pytest.mark.parametrize("artifact", ["onnx-fp32"], indirect=True)
def test_tapping_a_file_changes_neither_it_nor_what_it_gives(
    artifact: tuple[Path, Artifact], inputs: Arrays
) -> None:
    path = artifact[0] / artifact[1].entry
    before = path.read_bytes()
    probe = OnnxProbe(path, inputs)
    names = ["conv2d", "layer_norm", "frames"]
    taps = probe.taps({name: name for name in names})
    assert {tap.op for tap in taps} >= {"Conv", "LayerNormalization"}
    found = probe.values(taps)
    session = ort.InferenceSession(before, providers=["CPUExecutionProvider"])
    (plain,) = session.run(["frames"], dict(inputs))
    assert np.abs(plain.astype(int) - found["frames"].astype(int)).max() <= 1
    assert found["conv2d"].std() > 0 and path.read_bytes() == before
