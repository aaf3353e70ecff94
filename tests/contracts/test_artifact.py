"""A bundle's manifest: there and back; what is damaged or from the future is refused by name."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from minuet.contracts.artifact import SCHEMA, Artifact, FileEntry, Manifest, Parity
from minuet.contracts.errors import DamagedError
from minuet.contracts.tensors import Signature, TensorSpec

SPEC = TensorSpec(name="image", axes="BCHW", shape=(1, 4, 8, 8), dtype="float32", low=0, high=1)
FILES = tuple(FileEntry(path=f"a/{n}", bytes=n, sha256="0" * 64) for n in (30, 12))
PASSED = Parity(verdict="pass", backend="ort 1.2", metric="psnr", value=61.5, tolerance=40.0)
ARTIFACT = Artifact(
    target="onnx",
    precision="int8",
    entry="a/30",
    files=FILES,
    requires={"opset": "18"},
    parity=(PASSED, Parity(verdict="not run", reason="no device")),
    seconds=1.5,
)
MANIFEST = Manifest(
    name="Minuet",
    family="sticker-denoiser",
    signature=Signature(inputs=(SPEC,), outputs=(SPEC,)),
    sampler={"levels": [1.0, 0.0], "guidance": 1.0},
    artifacts=(ARTIFACT,),
    files=FILES[:1],
    minuet="0.1.0",
    student_sha256="1" * 64,
)


def as_read() -> Any:
    return json.loads(json.dumps(MANIFEST.to_json()))


def test_a_manifest_comes_back_from_json() -> None:
    assert Manifest.from_json(as_read(), "here") == MANIFEST


def test_an_artifact_is_named_after_target_and_precision_and_weighs_its_files() -> None:
    assert ARTIFACT.name == "onnx-int8" and ARTIFACT.size == 42


def test_a_newer_schema_is_refused_with_both_numbers() -> None:
    newer = as_read() | {"schema": SCHEMA + 1, "wheels": 4}
    with pytest.raises(
        DamagedError, match=rf"here: .*newer minuet \(schema {SCHEMA + 1}, .* {SCHEMA}\).*upgrade"
    ):
        Manifest.from_json(newer, "here")


@pytest.mark.parametrize("value", [None, [], "manifest", 3])
def test_what_is_no_mapping_is_no_manifest(value: Any) -> None:
    with pytest.raises(DamagedError, match="here: not a bundle manifest"):
        Manifest.from_json(value, "here")


def first(rows: Any, **changes: Any) -> Any:
    return [{**rows[0], **changes}, *rows[1:]]


HURTS: dict[str, Callable[[Any], Any]] = {
    "no artifacts": lambda m: m.pop("artifacts"),
    "artifacts that are a number": lambda m: m.update(artifacts=3),
    "artifacts that are words": lambda m: m.update(artifacts=["onnx"]),
    "an artifact with wheels": lambda m: m.update(artifacts=first(m["artifacts"], wheels=4)),
    "a verdict of its own": lambda m: m["artifacts"][0]["parity"][0].update(verdict="maybe"),
    "a file without a hash": lambda m: m["files"][0].pop("sha256"),
    "no signature": lambda m: m.update(signature=None),
    "axes that do not fit": lambda m: m["signature"]["inputs"][0].update(axes="B"),
    "a schema in words": lambda m: m.update(schema="1"),
    "no schema": lambda m: m.pop("schema"),
}


@pytest.mark.parametrize("hurt", HURTS)
def test_a_damaged_manifest_is_refused(hurt: str) -> None:
    value = as_read()
    HURTS[hurt](value)
    with pytest.raises(DamagedError, match=r"here: damaged manifest .* export again"):
        Manifest.from_json(value, "here")


def test_a_verdict_is_one_of_three() -> None:
    with pytest.raises(ValueError, match="verdict 'perhaps' is not one of"):
        Parity(verdict="perhaps")
