import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TextIO

import numpy as np
import pytest

from minuet.benchmarks.child import serve
from minuet.benchmarks.memory import Memory, peak_rss_mib
from minuet.benchmarks.process import Child
from minuet.benchmarks.subject import GoneError, Here, Job
from tests.benchmarks.twice import twice_bundle, twice_job


@pytest.fixture
def bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.syspath_prepend(str(tmp_path))
    return twice_bundle(tmp_path)


def test_a_child_measures_in_a_process_of_its_own(bundle: Path, tmp_path: Path) -> None:
    child = Child(twice_job(bundle))
    opened = child.open()
    block = child.sample(3, batch=5)
    child.save(tmp_path / "out.npz")
    memory = child.close(weigh=True)
    process, entry, threads = (bundle / "seen").read_text().split()
    assert int(process) != os.getpid()
    assert (entry, threads) == ("onnx-fp32/model.onnx", "3")
    assert opened.version == "twice 2.0" and opened.load_ms > 0 and opened.first_ms > 0
    assert 0 < opened.shortest_ms < 1
    assert len(block["total"]) == 3
    assert memory.peak_rss_mib is not None and memory.peak_rss_mib > 5
    if sys.platform == "linux":
        assert memory.peak_pss_mib is not None
        assert 1 < memory.peak_pss_mib <= memory.peak_rss_mib + 1 and memory.mapped_mib == 0
    with np.load(tmp_path / "out.npz") as outputs:
        assert outputs["y"].tolist() == [0, 2, 4, 6]


def test_a_childs_memory_is_not_its_parents(bundle: Path) -> None:
    held = bytearray(b"x") * (300 << 20)
    child = Child(twice_job(bundle))
    child.open()
    peak = child.close().peak_rss_mib
    ours = peak_rss_mib()
    assert len(held) and peak is not None and ours is not None
    assert peak < ours - 150


def test_a_refusal_keeps_its_reason_across_the_border(bundle: Path) -> None:
    child = Child(twice_job(bundle, "Refusing"))
    with pytest.raises(GoneError, match="twice needs a device that is not here"):
        child.open()
    assert child.close() == Memory()


def test_a_backend_that_kills_its_process_is_told_by_its_code(bundle: Path) -> None:
    child = Child(twice_job(bundle, "Dying"))
    with pytest.raises(GoneError, match="ended with code 7"):
        child.open()
    assert child.close() == Memory()


def test_a_backends_own_error_becomes_the_reason(bundle: Path) -> None:
    child = Child(twice_job(bundle, "Raising"))
    with pytest.raises(GoneError, match="ZeroDivisionError: inside the backend"):
        child.open()
    child.close()


def test_a_child_that_vanishes_between_questions_is_gone(bundle: Path) -> None:
    child = Child(twice_job(bundle))
    child.open()
    process = child._process
    assert process
    process.kill()
    with pytest.raises(GoneError, match="ended with code -9"):
        child.sample(1)
    child.close()


def test_a_child_that_does_not_answer_is_asked_once_and_ended(bundle: Path) -> None:
    child = Child(twice_job(bundle, "Slow"), answer_seconds=1.5)
    with pytest.raises(GoneError, match="no answer in 2 s"):
        child.open()
    with pytest.raises(GoneError, match="does not answer"):
        child.sample(1)
    process = child._process
    assert child.close(weigh=True) == Memory()
    assert process and process.returncode is not None


def test_stages_are_watched_in_a_process_that_does_nothing_else(bundle: Path) -> None:
    child = Child(twice_job(bundle, "Watching"))
    found = child.stages(3)
    assert child.close() == Memory()
    process, threads, total = (bundle / "watched").read_text().split()
    assert int(process) != os.getpid() and (threads, total) == ("3", "6.0")
    assert not (bundle / "seen").exists()  # no session was opened beside the watched one
    assert found.operators and found == Here(job=twice_job(bundle, "Watching")).stages(3)


def test_a_runtime_without_a_profiler_says_so_across_the_border(bundle: Path) -> None:
    child = Child(twice_job(bundle))
    with pytest.raises(GoneError, match="twice does not say what its operators took"):
        child.stages(2)
    child.close()


class Elsewhere(Child):
    """The other side says what it is told to say, whatever it is asked."""

    def __init__(self, job: Job, *lines: str) -> None:
        super().__init__(job, answer_seconds=20)
        self.lines, self.brought = lines, list[Path]()

    def launch(self, folder: Path, said: TextIO) -> subprocess.Popen[str]:
        words = json.loads((folder / "job.json").read_text())
        assert words["bundle"] == "/there/bundle" and (folder / "inputs.npz").exists()
        speak = "import sys; [print(l, flush=True) or sys.stdin.readline() for l in sys.argv[1:]]"
        pipe = subprocess.PIPE
        command = [sys.executable, "-c", speak, *self.lines]
        return subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=said, text=True)

    def there(self, path: Path) -> str:
        return f"/there/{path.name}"

    def bring(self, path: Path) -> None:
        self.brought.append(path)


OPENED = json.dumps({"load_ms": 1.0, "first_ms": 2, "version": "other 1"})


def test_another_machine_is_another_launch_and_the_names_of_its_paths(bundle: Path) -> None:
    old = json.dumps({"peak_rss_mib": 7.5})  # of a runner that knows no more
    lines = (OPENED, '{"block": {"total": [3.5, 4]}}', "{}", old)
    child = Elsewhere(twice_job(bundle), *lines)
    assert child.open().shortest_ms == 0.0
    assert child.sample(2) == {"total": [3.5, 4]}
    child.save(Path("out.npz"))
    assert child.brought == [Path("out.npz")]
    assert child.close() == Memory(peak_rss_mib=7.5)


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("a banner", "no JSON object: 'a banner"),
        ("[1]", "no JSON object"),
        ("[" * 100_000, "no JSON object"),
        ('{"block": {"total": [-1.0]}}', "a time is below 0"),
        ('{"block": {"total": [NaN]}}', r"block.total\[0\] is nan, not a number"),
        ('{"block": {"total": 7}}', "block.total is 7, not a list"),
        ('{"block": null}', "block is None, not a mapping"),
        ("{}", "block is None"),
        ('{"gone": "the cable was pulled"}', "^the cable was pulled"),
    ],
)
def test_what_another_machine_says_is_checked(bundle: Path, line: str, why: str) -> None:
    child = Elsewhere(twice_job(bundle), OPENED, line)
    child.open()
    with pytest.raises(GoneError, match=why):
        child.sample(1)
    child.close()


def test_an_opening_that_lacks_its_times_is_damaged(bundle: Path) -> None:
    child = Elsewhere(twice_job(bundle), '{"load_ms": 1.0, "version": "x"}')
    with pytest.raises(GoneError, match="its answer is damaged: it lacks first_ms"):
        child.open()
    child.close()


def test_an_unknown_request_is_answered_and_not_obeyed(bundle: Path, tmp_path: Path) -> None:
    job, answers = tmp_path / "job.json", io.StringIO()
    words = {"runtime": "twice_runtime:Twice", "bundle": str(bundle), "threads": 1, "watch": 0}
    job.write_text(json.dumps(words | {"artifact": "onnx-fp32"}))
    np.savez(tmp_path / "inputs.npz", x=np.arange(4, dtype=np.float32))
    serve(job, io.StringIO('{"do": "dance"}\n{"do": "sample", "count": 1}\n'), answers)
    opened, danced, sampled = map(json.loads, answers.getvalue().splitlines())
    assert opened["version"] == "twice 2.0" and danced == {"gone": "'dance' is not understood"}
    assert len(sampled["block"]["total"]) == 1, "an older parent knows no batch"
