import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from minuet.benchmarks.devices.posix import MACHINE, script
from minuet.benchmarks.devices.session import held
from minuet.benchmarks.devices.transcript import RECORDED, Exchange, Replayer, read_transcript
from minuet.benchmarks.measure import Measured
from minuet.benchmarks.subject import GoneError, Job
from minuet.contracts.errors import MissingBackendError, RequestError
from tests.benchmarks.devices.transcripts.write import HERE, adb, begun, ended


@pytest.fixture
def runner(tmp_path: Path) -> Path:
    path = tmp_path / "bin" / "onnxruntime_perf_test"
    path.parent.mkdir()
    path.write_bytes(b"\x7fELF")
    path.chmod(0o755)
    return path


def test_energy_is_told_of_each_job(onnx_job: Job, runner: Path) -> None:
    replayer = Replayer(HERE / "adb-rails.jsonl")
    job = replace(onnx_job, threads=4)
    found = {"one": Measured(), "refused": Measured(refusal="it left")}
    with held(f"adb,ort={runner},provider=xnnpack", shell=replayer) as phone:
        phone.meter({"one": job, "refused": job}, found)
    replayer.finish()
    assert found["one"].energy_mj == pytest.approx(100.0)
    assert found["refused"].energy_mj is None
    assert phone.notes() == ()


def test_a_device_without_a_meter_says_why(onnx_job: Job, tmp_path: Path) -> None:
    found = {"one": Measured()}
    with held("adb", shell=replayed(tmp_path, *begun(), *ended())) as phone:
        phone.meter({"one": onnx_job}, found)
    assert found["one"].energy_mj is None
    assert "no runner for ort was named" in found["one"].unmetered


def test_a_word_says_how_long_to_cool_down_and_what_to_record(tmp_path: Path) -> None:
    for word, cool, limit in (
        ("adb", 300.0, 300.0),
        ("adb,cool=60", 300.0, 60.0),
        ("adb,cool=0", 300.0, 0.0),
        ("adb,cool=60", 0.0, 0.0),  # runs that are meant to heat it
    ):
        replayer = replayed(tmp_path, *begun(), *ended())
        with held(f"{word},record={tmp_path}/r.jsonl", cool_seconds=cool, shell=replayer) as phone:
            assert phone.rest.limit_seconds == limit
    recorded = read_transcript(tmp_path / "r.jsonl")[1]
    assert recorded == [*begun(), *ended()]
    with pytest.raises(RequestError, match="write seconds, such as cool=600"), held("adb,cool=-1"):
        raise AssertionError("no time")


def test_subjects_are_made_when_they_are_asked_for(onnx_job: Job, tmp_path: Path) -> None:
    replayer = replayed(tmp_path, *begun(), *ended())
    with held("adb", shell=replayer) as phone:
        makers = phone.subjects({"one": onnx_job})
        with pytest.raises(GoneError, match="add ort=/path/to/runner"):
            makers["one"]()
    replayer.finish()


def test_a_device_that_leaves_before_anything_is_measured_is_an_error_of_the_request(
    tmp_path: Path,
) -> None:
    left = "adb: device offline\n"
    [listed, made, fixed] = begun()
    unheld = replayed(tmp_path, listed, replace(made, code=1, out="", err=left))
    with pytest.raises(RequestError, match=r"has left .adb: device offline.*unlock the phone"):
        with held("adb", shell=unheld):
            raise AssertionError("it is not there")
    unasked = replace(adb(*script(MACHINE)), code=1, err=left)
    gone = replayed(tmp_path, listed, made, fixed, unasked, *ended())
    with held("adb", shell=gone) as phone, pytest.raises(RequestError, match="has left"):
        phone.machine()


def test_a_machine_without_the_tool_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    for word in ("adb", "ssh:pi@board"):
        with pytest.raises(MissingBackendError, match="is not on this machine"), held(word):
            raise AssertionError("there is none")


def replayed(folder: Path, *exchanges: Exchange) -> Replayer:
    path = folder / "t.jsonl"
    rows = [{"transcript": 1, "made": RECORDED}, *(asdict(one) for one in exchanges)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return Replayer(path)
