"""What was exported before is taken again only where nothing that it depends on has changed."""

import hashlib
import json
import signal
import subprocess
import sys
import types
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from minuet.contracts.artifact import Artifact
from minuet.contracts.files import write_folder
from minuet.contracts.tensors import Signature, TensorSpec
from minuet.export import shelf as shelf_module
from minuet.export.bundle import load_bundle, seal
from minuet.export.capture import Program, capture
from minuet.export.files import describe
from minuet.export.shelf import Shelf, key_of, place, program_sha256
from minuet.runtimes.mil.ranges import value_hazards

X = TensorSpec(name="x", axes="BC", shape=(1, 2), dtype="float32")
Y = replace(X, name="y")


def program(weight: float = 2.0, kind: Callable[..., torch.Tensor] = torch.add) -> Program:
    class Small(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.tensor([weight, 1.0]))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return kind(x, self.weight)

    example = {"x": torch.ones(1, 2).numpy()}
    return capture(Small(), example, Signature(inputs=(X,), outputs=(Y,)))


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


def note(home: Path, key: str) -> Path:
    return home / f"state/minuet/caches/{key}.artifacts"


class Writer:
    """An exporter that counts its work."""

    def __init__(self, text: str = "model") -> None:
        self.text, self.times = text, 0

    def __call__(self, folder: Path) -> Artifact:
        self.times += 1
        entry = folder / "onnx-fp32" / "model.onnx"
        entry.parent.mkdir(parents=True)
        entry.write_text(self.text)
        return describe(
            folder, target="onnx", precision="fp32", entry=entry, requires={}, seconds=1.0
        )


def key(one: Program, target: str = "onnx", precision: str = "fp32", **options: object) -> str:
    return key_of(one, target, precision, options)


def test_the_same_program_options_and_versions_give_the_same_key() -> None:
    assert key(program(), gpu="SM86") == key(program(), gpu="SM86")


@pytest.mark.parametrize(
    "other",
    [
        lambda: key(program(2.0000002), gpu="SM86"),
        lambda: key(program(kind=torch.sub), gpu="SM86"),
        lambda: key(replace(program(), signature=Signature(inputs=(X,), outputs=(X,))), gpu="SM86"),
        lambda: key(program(), gpu="SM89"),
        lambda: key(program()),
        lambda: key(program(), target="coreml", gpu="SM86"),
        lambda: key(program(), precision="fp16", gpu="SM86"),
    ],
    ids=["a weight", "the graph", "a name", "an option", "no option", "target", "precision"],
)
def test_whatever_changes_a_file_changes_the_key(other: Callable[[], str]) -> None:
    assert other() != key(program(), gpu="SM86")


def test_another_version_of_a_library_is_another_key(monkeypatch: pytest.MonkeyPatch) -> None:
    before = key(program())
    monkeypatch.setattr(shelf_module, "version", lambda name: "99")
    assert key(program()) != before


def test_weights_of_every_dtype_have_a_hash() -> None:
    one = program()
    state = one.exported.state_dict
    before = program_sha256(one)
    state["weight"] = state["weight"].to(torch.bfloat16)
    assert program_sha256(one) != before


def test_an_interrupted_export_takes_what_was_finished(tmp_path: Path) -> None:
    shelf, write = Shelf(bundle=tmp_path / "bundle"), Writer()
    assert shelf.artifact("k", write)[2]
    root, artifact, fresh = Shelf(bundle=tmp_path / "bundle").artifact("k", write)
    assert not fresh and write.times == 1
    assert (root / artifact.entry).read_text() == "model" and artifact.key == "k"


def test_another_key_is_written_anew(tmp_path: Path) -> None:
    shelf, write = Shelf(bundle=tmp_path / "bundle"), Writer()
    shelf.artifact("k", write)
    assert shelf.artifact("other", write)[2] and write.times == 2


def test_what_fails_half_way_leaves_nothing_that_could_be_taken(tmp_path: Path) -> None:
    shelf = Shelf(bundle=tmp_path / "bundle")

    def fail(folder: Path) -> Artifact:
        Writer()(folder)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        shelf.artifact("k", fail)
    assert shelf.artifact("k", Writer())[2]


def test_a_file_that_was_changed_meanwhile_is_written_anew(tmp_path: Path) -> None:
    shelf, write = Shelf(bundle=tmp_path / "bundle"), Writer()
    root, artifact, _ = shelf.artifact("k", write)
    (root / artifact.entry).write_text("mangled")
    _, _, fresh = shelf.artifact("k", write)
    assert fresh and (root / artifact.entry).read_text() == "model"


@pytest.mark.parametrize("text", ["{", "[]", '{"files": 3}', "{}", '{"files": [{"path": "../x"}]}'])
def test_a_broken_note_is_no_artifact(tmp_path: Path, text: str) -> None:
    shelf, write = Shelf(bundle=tmp_path / "bundle"), Writer()
    shelf.artifact("k", write)
    note(tmp_path, "k").write_text(text)
    assert shelf.artifact("k", write)[2]


def test_a_strangers_files_are_not_taken_whatever_their_manifest_says(tmp_path: Path) -> None:
    bundle = tmp_path / "bundle"
    sealed(bundle, "main")
    note(tmp_path, "k").unlink()  # as on another machine
    write = Writer("ours")
    root, artifact, fresh = Shelf(bundle=bundle).artifact("k", write)
    assert fresh and write.times == 1 and (root / artifact.entry).read_text() == "ours"


def test_files_that_are_not_those_on_record_are_not_taken(tmp_path: Path) -> None:
    bundle = tmp_path / "bundle"
    sealed(bundle, "main")
    manifest = json.loads((bundle / "manifest.json").read_text())
    (bundle / "onnx-fp32/model.onnx").write_text("theirs")
    told = hashlib.sha256(b"theirs").hexdigest()
    manifest["artifacts"][0]["files"][0].update(bytes=6, sha256=told)
    (bundle / "manifest.json").write_text(json.dumps(manifest))
    assert load_bundle(bundle).artifacts[0].key == "k"
    assert Shelf(bundle=bundle).artifact("k", Writer())[2]


def test_an_export_that_was_killed_goes_on_and_leaves_nothing(tmp_path: Path) -> None:
    """Its files are links to those that wait: SIGKILL leaves both names."""
    code = (
        "import os, pathlib, signal, sys\n"
        "from tests.export.test_shelf import Shelf, Writer, place\n"
        "from minuet.contracts.files import write_folder\n"
        "bundle = pathlib.Path(sys.argv[1])\n"
        "with write_folder(bundle) as staging:\n"
        "    root, artifact, _ = Shelf(bundle=bundle).artifact('k', Writer())\n"
        "    place(artifact, root, staging, 'main')\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    bundle = tmp_path / "bundle"
    done = subprocess.run([sys.executable, "-c", code, str(bundle)], check=False)
    assert done.returncode == -signal.SIGKILL
    assert len([one for one in tmp_path.iterdir() if one.name.endswith(".staging")]) == 1
    write = Writer()
    with write_folder(bundle) as staging:
        root, artifact, fresh = Shelf(bundle=bundle).artifact("k", write)
        assert not fresh and (root / artifact.entry).stat().st_nlink == 1
        place(artifact, root, staging, "main")
    assert sorted(one.name for one in tmp_path.iterdir()) == [".bundle.parts", "bundle", "state"]


def test_two_bundles_of_one_key_are_both_on_record(tmp_path: Path) -> None:
    """The `tensorrt` package gives other bytes every time."""
    first, second = (Shelf(bundle=tmp_path / name) for name in ("a", "b"))
    first.artifact("k", Writer("one"))
    second.artifact("k", Writer("two"))
    for shelf, text in ((first, "one"), (second, "two")):
        root, artifact, fresh = shelf.artifact("k", Writer())
        assert not fresh and (root / artifact.entry).read_text() == text


def test_what_is_run_at_the_export_belongs_to_the_key_with_its_inputs() -> None:
    one = program()
    loud = replace(one, inputs=tuple(1e5 * value for value in one.inputs))
    assert key(one, inspect=value_hazards) != key(loud, inspect=value_hazards)
    assert key(one) == key(loud)


def test_a_change_beside_a_function_changes_the_key(tmp_path: Path) -> None:
    (tmp_path / "one.py").write_text("import two\n")
    (tmp_path / "two.py").write_text("number = 1\n")
    look = types.FunctionType(compile("0", str(tmp_path / "one.py"), "eval"), {})
    before = key(program(), finish=look)
    (tmp_path / "two.py").write_text("number = 2\n")
    shelf_module._code.cache_clear()
    assert key(program(), finish=look) != before


def sealed(bundle: Path, component: str) -> None:
    shelf, write = Shelf(bundle=bundle), Writer()
    bundle.mkdir()
    root, artifact, _ = shelf.artifact("k", write)
    row = place(artifact, root, bundle, component)
    told = Signature(inputs=(X,), outputs=(Y,))
    programs = {component: told}
    seal(
        bundle, name="b", family="f", programs=programs, sampler={}, artifacts=[row],
        source_sha256="",
    )  # fmt: skip
    shelf.clear()


@pytest.mark.parametrize(("component", "folder"), [("main", ""), ("unet", "unet/")])
def test_a_repeated_export_takes_the_files_of_the_bundle_it_replaces(
    tmp_path: Path, component: str, folder: str
) -> None:
    bundle, write = tmp_path / "bundle", Writer()
    sealed(bundle, component)
    assert (bundle / f"onnx-fp32/{folder}model.onnx").is_file()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bundle", "state"]
    root, artifact, fresh = Shelf(bundle=bundle).artifact("k", write)
    assert not fresh and write.times == 0
    moved = place(artifact, root, tmp_path / "new", component)
    assert (tmp_path / "new" / moved.entry).read_text() == "model"
    assert moved.entry == artifact.entry and moved.files == artifact.files


def test_what_was_no_good_is_forgotten(tmp_path: Path) -> None:
    shelf, write = Shelf(bundle=tmp_path / "bundle"), Writer()
    shelf.artifact("k", write)
    shelf.forget("k")
    assert not shelf.folder.exists() and shelf.artifact("k", write)[2]
