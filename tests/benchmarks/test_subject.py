import os
from pathlib import Path

import numpy as np
import pytest

from minuet.benchmarks.machine import peak_rss_mib
from minuet.benchmarks.subject import Child, GoneError, Here, Job
from minuet.contracts.artifact import Artifact, FileEntry, Manifest
from minuet.contracts.errors import RequestError
from minuet.contracts.files import write_json
from minuet.contracts.tensors import Signature, TensorSpec

RUNTIME = """
import contextlib, os
import numpy as np
from minuet.contracts.errors import Refusal

class Twice:
    name, targets = "twice", ("onnx",)
    def available(self): return None
    def version(self): return "twice 2.0"
    @contextlib.contextmanager
    def open(self, bundle, artifact, signature, *, threads=0):
        print("a backend's banner, on standard output")
        (bundle / "seen").write_text(f"{os.getpid()} {artifact.entry} {threads}")
        yield Session()

class Watching(Twice):
    def stages(self, bundle, artifact, signature, inputs, *, runs, threads=0):
        from minuet.contracts.stages import StageTimes
        (bundle / "watched").write_text(f"{os.getpid()} {threads} {inputs['x'].sum()}")
        return StageTimes(stages_ms={"text": (1.5,) * runs}, total_ms=(2.0,) * runs)

class Session:
    def run(self, inputs): return {"y": inputs["x"] * 2}

class Refusing(Twice):
    def available(self): return Refusal("twice needs a device that is not here")

class Dying(Twice):
    def open(self, *args, **kwargs): os._exit(7)

class Raising(Twice):
    def open(self, *args, **kwargs): raise ZeroDivisionError("inside the backend")
"""


@pytest.fixture
def bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "twice_runtime.py").write_text(RUNTIME)
    monkeypatch.syspath_prepend(str(tmp_path))
    file = FileEntry(path="onnx-fp32/model.onnx", bytes=3, sha256="0" * 64)
    spec = TensorSpec(name="x", axes="N", shape=(4,), dtype="float32")
    manifest = Manifest(
        name="twice",
        family="test",
        programs={"main": Signature(inputs=(spec,), outputs=(spec,))},
        sampler={},
        artifacts=(
            Artifact(target="onnx", precision="fp32", entry=file.path, files=(file,), requires={}),
        ),
        files=(),
        minuet="0",
        source_sha256="",
    )
    folder = tmp_path / "bundle"
    write_json(folder / "manifest.json", manifest.to_json())
    return folder


def job(bundle: Path, name: str = "Twice", artifact: str = "onnx-fp32") -> Job:
    inputs = {"x": np.arange(4, dtype=np.float32)}
    where = f"twice_runtime:{name}"
    return Job(runtime=where, bundle=bundle, artifact=artifact, inputs=inputs, threads=3)


def test_a_child_measures_in_a_process_of_its_own(bundle: Path, tmp_path: Path) -> None:
    child = Child(job(bundle))
    opened = child.open()
    block = child.sample(3)
    child.save(tmp_path / "out.npz")
    peak = child.close()
    process, entry, threads = (bundle / "seen").read_text().split()
    assert int(process) != os.getpid()
    assert (entry, threads) == ("onnx-fp32/model.onnx", "3")
    assert opened.version == "twice 2.0" and opened.load_ms > 0 and opened.first_ms > 0
    assert len(block["total"]) == 3
    assert peak is not None and peak > 5
    with np.load(tmp_path / "out.npz") as outputs:
        assert outputs["y"].tolist() == [0, 2, 4, 6]


def test_a_childs_memory_is_not_its_parents(bundle: Path) -> None:
    held = bytearray(b"x") * (300 << 20)
    child = Child(job(bundle))
    child.open()
    peak = child.close()
    ours = peak_rss_mib()
    assert len(held) and peak is not None and ours is not None
    assert peak < ours - 150


def test_a_refusal_keeps_its_reason_across_the_border(bundle: Path) -> None:
    for subject in (Child(job(bundle, "Refusing")), Here(job=job(bundle, "Refusing"))):
        with pytest.raises(GoneError, match="twice needs a device that is not here"):
            subject.open()
        subject.close()


def test_a_backend_that_kills_its_process_is_told_by_its_code(bundle: Path) -> None:
    child = Child(job(bundle, "Dying"))
    with pytest.raises(GoneError, match="ended with code 7"):
        child.open()
    assert child.close() is None


def test_a_backends_own_error_becomes_the_reason(bundle: Path) -> None:
    child = Child(job(bundle, "Raising"))
    with pytest.raises(GoneError, match="ZeroDivisionError: inside the backend"):
        child.open()
    child.close()


def test_a_child_that_vanishes_between_questions_is_gone(bundle: Path) -> None:
    child = Child(job(bundle))
    child.open()
    process = child._process
    assert process
    process.kill()
    with pytest.raises(GoneError, match="ended with code -9"):
        child.sample(1)
    child.close()


def test_here_and_in_a_child_the_same_words_are_spoken(bundle: Path, tmp_path: Path) -> None:
    here = Here(job=job(bundle))
    here.open()
    assert sorted(here.sample(2)) == ["total"]
    here.close()
    with pytest.raises(GoneError, match="not open"):
        here.sample(1)


def test_stages_are_watched_in_a_process_that_does_nothing_else(bundle: Path) -> None:
    child = Child(job(bundle, "Watching"))
    found = child.stages(3)
    assert child.close() is None
    assert found == {"stage.text": [1.5] * 3, "watched": [2.0] * 3}
    process, threads, total = (bundle / "watched").read_text().split()
    assert int(process) != os.getpid() and (threads, total) == ("3", "6.0")
    assert not (bundle / "seen").exists()  # no session was opened beside the watched one
    assert Here(job=job(bundle, "Watching")).stages(3) == found


def test_a_runtime_without_a_profiler_says_so_across_the_border(bundle: Path) -> None:
    for subject in (Child(job(bundle)), Here(job=job(bundle))):
        with pytest.raises(GoneError, match="twice does not say what its operators took"):
            subject.stages(2)
        subject.close()


def test_an_artifact_that_is_not_held_is_answered_with_those_that_are(bundle: Path) -> None:
    with pytest.raises(RequestError, match="holds no coreml-fp16; it holds onnx-fp32"):
        job(bundle, artifact="coreml-fp16").resolve()


def test_a_runtime_that_cannot_be_loaded_is_named(bundle: Path) -> None:
    with pytest.raises(RequestError, match="twice_runtime:Thrice cannot be loaded"):
        job(bundle, "Thrice").resolve()
