"""A bundle is believed only when every byte is the one that was exported."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from minuet.contracts.artifact import SCHEMA
from minuet.contracts.errors import DamagedError
from minuet.contracts.files import sha256_of
from minuet.export.bundle import MANIFEST, load_bundle, read_golden
from tests.standin import example, signature

Change = Callable[[dict[str, Any]], None]


def change(bundle: Path, edit: Change) -> None:
    manifest = json.loads((bundle / MANIFEST).read_text())
    edit(manifest)
    (bundle / MANIFEST).write_text(json.dumps(manifest))


def test_a_sealed_bundle_is_read_back_as_it_was_written(bundle: Path) -> None:
    manifest = load_bundle(bundle)
    assert [row.name for row in manifest.artifacts] == ["onnx-fp32"]
    assert manifest.signature == signature(128)
    assert {file.path for file in manifest.files} == {"card.md", "golden/00.safetensors"}


def test_every_listed_hash_is_the_files_own(bundle: Path) -> None:
    manifest = load_bundle(bundle)
    rows = manifest.files + manifest.artifacts[0].files
    assert all(sha256_of(bundle / row.path) == row.sha256 for row in rows)


def test_a_manifest_does_not_remember_how_long_it_took(bundle: Path) -> None:
    assert load_bundle(bundle).artifacts[0].seconds == 0


def test_golden_cases_come_back_exactly(bundle: Path) -> None:
    (case,) = read_golden(bundle, load_bundle(bundle))
    for name, value in example(128).items():
        np.testing.assert_array_equal(case.inputs[name], value)
    assert case.outputs["frames"].dtype == np.uint8


def truncate(bundle: Path) -> None:
    path = bundle / "onnx-fp32/model.onnx"
    path.write_bytes(path.read_bytes()[:-1])


def tamper(bundle: Path) -> None:
    path = bundle / "onnx-fp32/model.onnx"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))


def newer(bundle: Path) -> None:
    change(bundle, lambda m: m.update(schema=SCHEMA + 1))


def climb(bundle: Path) -> None:
    (bundle.parent / "outside").write_bytes(b"x")
    change(bundle, lambda m: m["files"][0].update(path="../outside"))


def link(bundle: Path) -> None:
    (bundle.parent / "outside.md").write_bytes((bundle / "card.md").read_bytes())
    (bundle / "card.md").unlink()
    (bundle / "card.md").symlink_to(bundle.parent / "outside.md")


DAMAGES = {
    "truncated": (truncate, "truncated or replaced"),
    "tampered": (tamper, "not the file that was exported"),
    "a file gone": (lambda b: (b / "card.md").unlink(), "card.md: missing from the bundle"),
    "an unlisted file": (lambda b: (b / "run.sh").write_text("x"), "run.sh is not in the manifest"),
    "from the future": (newer, "newer minuet"),
    "a path upwards": (climb, "points outside its folder"),
    "a link outwards": (link, "leaves its folder by a link"),
    "no manifest": (lambda b: (b / MANIFEST).unlink(), "manifest.json: missing"),
    "half a manifest": (lambda b: (b / MANIFEST).write_text('{"schema": 1,'), "not readable"),
    "a list": (lambda b: (b / MANIFEST).write_text("[]"), "not a bundle manifest"),
    "a missing key": (lambda b: change(b, lambda m: m.pop("sampler")), "damaged manifest"),
    "a text for a size": (
        lambda b: change(b, lambda m: m["files"][0].update(bytes="9")),
        r"files\[0\].bytes is '9'",
    ),
    "an absurd size": (
        lambda b: change(b, lambda m: m["files"][0].update(bytes=1 << 50)),
        "refused",
    ),
    "no hash": (lambda b: change(b, lambda m: m["files"][0].update(sha256="")), "no SHA-256"),
    "an unknown target": (
        lambda b: change(b, lambda m: m["artifacts"][0].update(target="exe")),
        "unknown target",
    ),
    "an entry that is not listed": (
        lambda b: change(b, lambda m: m["artifacts"][0].update(entry="card.md")),
        "an artifact without its file",
    ),
    "a precision that is not the folder's": (
        lambda b: change(b, lambda m: m["artifacts"][0].update(precision="int8")),
        "outside the folder of its precision",
    ),
    "no output": (
        lambda b: change(b, lambda m: m["programs"]["main"].update(outputs=[])),
        "impossible shapes",
    ),
    "golden cases of gigabytes": (
        lambda b: change(
            b, lambda m: m["programs"]["main"]["inputs"][0].update(shape=[1, 4, 1 << 13, 1 << 13])
        ),
        "golden cases of more than 1 GiB",
    ),
    "a file listed twice": (
        lambda b: change(b, lambda m: m["files"].append(m["files"][0])),
        "listed twice",
    ),
    "an absurd shape": (
        lambda b: change(
            b, lambda m: m["programs"]["main"]["inputs"][0].update(shape=[1, 4, 1 << 30, 9])
        ),
        "impossible shapes",
    ),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_is_refused_in_one_message(bundle: Path, damage: str) -> None:
    spoil, message = DAMAGES[damage]
    load_bundle(bundle)
    spoil(bundle)
    with pytest.raises(DamagedError, match=message):
        load_bundle(bundle)


def test_no_bundle_at_all_is_said(tmp_path: Path) -> None:
    with pytest.raises(DamagedError, match="no bundle is there"):
        load_bundle(tmp_path / "nowhere")


def test_what_a_desktop_leaves_behind_is_no_damage(bundle: Path) -> None:
    before = load_bundle(bundle)
    (bundle / ".DS_Store").write_bytes(b"x")
    assert load_bundle(bundle) == before


def test_without_hashes_a_changed_byte_passes_but_a_lost_one_does_not(bundle: Path) -> None:
    tamper(bundle)
    load_bundle(bundle, check_hashes=False)
    truncate(bundle)
    with pytest.raises(DamagedError, match="truncated"):
        load_bundle(bundle, check_hashes=False)


def test_a_golden_case_of_another_shape_is_damage(bundle: Path) -> None:
    from safetensors.numpy import load_file, save_file

    path = bundle / "golden/00.safetensors"
    tensors = load_file(path)
    save_file({**tensors, "input.noise": tensors["input.noise"][:, :3].copy()}, path)
    with pytest.raises(DamagedError, match="damaged golden case"):
        read_golden(bundle, load_bundle_unchecked(bundle))


@pytest.mark.parametrize("extra", [-1, 1, 1 << 24])
def test_a_golden_stream_that_is_shorter_or_longer_than_its_tensor_is_damage(
    bundle: Path, extra: int
) -> None:
    import zlib

    from safetensors.numpy import load_file, save_file

    path = bundle / "golden/00.safetensors"
    tensors = load_file(path)
    spec = load_bundle_unchecked(bundle).signature.inputs[0]
    stream = zlib.compress(bytes(4 * math.prod(spec.shape) + extra))
    save_file({**tensors, "input.image": np.frombuffer(stream, np.uint8)}, path)
    with pytest.raises(DamagedError, match="damaged golden case"):
        read_golden(bundle, load_bundle_unchecked(bundle))


def load_bundle_unchecked(bundle: Path) -> Any:
    from minuet.contracts.artifact import Manifest

    return Manifest.from_json(json.loads((bundle / MANIFEST).read_text()), "manifest")


GOLDEN_BUNDLES = sorted((Path(__file__).parent / "golden").iterdir())


@pytest.mark.parametrize("path", GOLDEN_BUNDLES, ids=lambda path: path.name)
def test_bundles_of_every_schema_are_read_and_run_for_ever(path: Path) -> None:
    from minuet.proof import prove

    manifest = load_bundle(path)
    for artifact in manifest.artifacts:
        cases = read_golden(path, manifest, artifact.component)
        told = manifest.programs[artifact.component]
        proofs = {proof.runtime: proof for proof in prove(path, artifact, told, cases)}
        assert cases and proofs["ort"].parity.verdict == "pass"


def test_there_is_a_golden_bundle_of_every_schema_and_none_is_large() -> None:
    assert [path.name for path in GOLDEN_BUNDLES] == [f"schema-{n + 1}" for n in range(SCHEMA)]
    for path in GOLDEN_BUNDLES:
        schema = json.loads((path / MANIFEST).read_text())["schema"]
        assert path.name == f"schema-{schema}"
        assert sum(file.stat().st_size for file in path.rglob("*") if file.is_file()) < 100_000


def test_a_file_as_large_as_a_source_may_have_is_taken(bundle: Path) -> None:
    from minuet.contracts.files import MAX_FILE_BYTES

    assert MAX_FILE_BYTES >= 20e9  # T5-XXL in float32: 19 GB
    change(bundle, lambda m: m["files"][0].update(bytes=MAX_FILE_BYTES))
    with pytest.raises(DamagedError, match="truncated or replaced"):
        load_bundle(bundle)
    change(bundle, lambda m: m["files"][0].update(bytes=MAX_FILE_BYTES + 1))
    with pytest.raises(DamagedError, match="claims"):
        load_bundle(bundle)
