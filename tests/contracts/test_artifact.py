"""A bundle's manifest: there and back; what is damaged or from the future is refused by name."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from minuet.contracts.artifact import SCHEMA, Artifact, FileEntry, Manifest, Parity
from minuet.contracts.errors import DamagedError, RequestError
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
    programs={"main": Signature(inputs=(SPEC,), outputs=(SPEC,))},
    sampler={"levels": [1.0, 0.0], "guidance": 1.0},
    artifacts=(ARTIFACT,),
    files=FILES[:1],
    minuet="0.1.0",
    source_sha256="1" * 64,
)


def as_read() -> Any:
    return json.loads(json.dumps(MANIFEST.to_json()))


def test_a_manifest_comes_back_from_json() -> None:
    assert Manifest.from_json(as_read(), "here") == MANIFEST


def test_an_artifact_is_named_after_target_and_precision_and_weighs_its_files() -> None:
    assert ARTIFACT.name == "onnx-int8" and ARTIFACT.size == 42
    assert replace(ARTIFACT, component="unet").name == "onnx-int8/unet"


def test_a_bundle_of_components_has_no_signature_of_its_own() -> None:
    parts = replace(MANIFEST, programs={"unet": MANIFEST.signature})
    with pytest.raises(RequestError, match=r"holds the components unet, not one program"):
        _ = parts.signature


def test_schema_1_is_read_as_one_program_of_a_student() -> None:
    old = as_read()
    old |= {"schema": 1, "signature": old.pop("programs")["main"]}
    old["student_sha256"] = old.pop("source_sha256")
    for row in old["artifacts"]:
        del row["component"], row["key"]
    assert Manifest.from_json(old, "here") == MANIFEST


def test_a_newer_schema_is_refused_with_both_numbers() -> None:
    newer = as_read() | {"schema": SCHEMA + 1, "wheels": 4}
    with pytest.raises(
        DamagedError, match=rf"here: .*newer minuet \(schema {SCHEMA + 1}, .* {SCHEMA}\).*upgrade"
    ):
        Manifest.from_json(newer, "here")


@pytest.mark.parametrize("schema", [10**4000, -(10**4000)])
def test_a_schema_beyond_all_bounds_is_told_in_short(schema: int) -> None:
    with pytest.raises(DamagedError) as told:
        Manifest.from_json(as_read() | {"schema": schema}, "here")
    assert len(str(told.value)) < 200


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
    "no programs": lambda m: m.update(programs=None),
    "axes that do not fit": lambda m: m["programs"]["main"]["inputs"][0].update(axes="B"),
    "a schema in words": lambda m: m.update(schema="1"),
    "no schema": lambda m: m.pop("schema"),
    "a sampler without end": lambda m: m.update(sampler={"levels": [1.0, float("inf")]}),
    "a sampler that is no number": lambda m: m.update(sampler={"at": {"x": float("nan")}}),
}


# What else a field could hold, and how the message calls it.
KINDS: dict[str, Callable[[Any], Any]] = {
    "name is 7, not text": lambda m: m.update(name=7),
    "sampler is None, not a mapping": lambda m: m.update(sampler=None),
    r"files\[0\].bytes is True, not a whole number": lambda m: m["files"][0].update(bytes=True),
    r"artifacts\[0\].entry is a list, not text": lambda m: m["artifacts"][0].update(entry=["a"]),
    r"artifacts\[0\].requires.opset is 18, not text": lambda m: m["artifacts"][0].update(
        requires={"opset": 18}
    ),
    r"artifacts\[0\].parity\[0\].value is '61', not a number": lambda m: m["artifacts"][0][
        "parity"
    ][0].update(value="61"),
    r"programs.main.inputs\[0\].low is 'zero', not a number": lambda m: m["programs"]["main"][
        "inputs"
    ][0].update(low="zero"),
    r"programs.main.inputs\[0\].shape\[2\] is 8.5, not a whole": lambda m: m["programs"]["main"][
        "inputs"
    ][0].update(shape=[1, 4, 8.5, 8]),
    r"programs.main.inputs\[0\]: image: 1 axes for shape": lambda m: m["programs"]["main"][
        "inputs"
    ][0].update(axes="B"),
    r"artifacts\[0\].parity\[0\]: verdict 'maybe' is not one of": lambda m: m["artifacts"][0][
        "parity"
    ][0].update(verdict="maybe"),
    r"artifacts\[0\] has an unknown field 'wheels'": lambda m: m["artifacts"][0].update(wheels=4),
    "it lacks artifacts": lambda m: m.pop("artifacts"),
    "it has an unknown field 'wings'": lambda m: m.update(wings=2),
}


def test_what_a_sampler_says_is_taken_as_it_is() -> None:
    value = as_read() | {"sampler": {"pipeline": ["any", {"thing": None}], "steps": True}}
    assert Manifest.from_json(value, "here").sampler == value["sampler"]


@pytest.mark.parametrize("name", ["signature", "student_sha256"])
def test_schema_1_without_what_it_had_is_damaged(name: str) -> None:
    old = as_read()
    old |= {"schema": 1, "signature": old.pop("programs")["main"]}
    old["student_sha256"] = old.pop("source_sha256")
    del old[name]
    with pytest.raises(DamagedError, match=r"damaged manifest .* is None"):
        Manifest.from_json(old, "here")


@pytest.mark.parametrize("message", KINDS)
def test_a_field_of_another_kind_is_refused_by_name(message: str) -> None:
    value = as_read()
    KINDS[message](value)
    with pytest.raises(DamagedError, match=message):
        Manifest.from_json(value, "here")


@pytest.mark.parametrize("hurt", HURTS)
def test_a_damaged_manifest_is_refused(hurt: str) -> None:
    value = as_read()
    HURTS[hurt](value)
    with pytest.raises(DamagedError, match=r"here: damaged manifest .* export again"):
        Manifest.from_json(value, "here")


def test_a_verdict_is_one_of_three() -> None:
    with pytest.raises(ValueError, match="verdict 'perhaps' is not one of"):
        Parity(verdict="perhaps")
