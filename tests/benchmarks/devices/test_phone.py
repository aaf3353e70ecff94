"""An iPhone and a Mac played by transcripts written from documentation: nothing is measured."""

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from minuet.benchmarks.devices.device import Rest
from minuet.benchmarks.devices.devicectl import chosen, reason, succeeded
from minuet.benchmarks.devices.mac import Mac
from minuet.benchmarks.devices.phone import AppTold, Phone
from minuet.benchmarks.devices.session import held
from minuet.benchmarks.devices.shell import Done
from minuet.benchmarks.devices.transcript import Replayer
from minuet.benchmarks.subject import GoneError, Job
from minuet.contracts.errors import MissingBackendError, RequestError
from minuet.contracts.records import record
from tests.benchmarks.devices.transcripts.write import phone_list, phone_row

HERE = Path(__file__).parent / "transcripts"
APP = "com.example.bench"


@pytest.fixture
def job(onnx_job: Job) -> Job:
    return replace(onnx_job, runtime="minuet.runtimes.coreml:CoreMLRuntime", artifact="coreml-fp16")


def test_core_ml_on_an_iphone_step_by_step(job: Job) -> None:
    replayer = Replayer(HERE / "ios.jsonl")
    phone = Phone(wanted="My iPhone", app=APP, shell=replayer)
    with phone:
        machine = phone.machine()
        subject = phone.subject(job)
        opened = subject.open()
        block = subject.sample(2)
        memory = subject.close(weigh=True)
    replayer.finish()
    assert (machine.cpu, machine.os) == ("iPhone 16 (iPhone17,3)", "iOS 18.2")
    assert (opened.load_ms, opened.first_ms) == (210.5, 51.5)
    assert opened.version == "Core ML, iOS 18.2"
    assert block == {"total": [11.0, 12.0]}
    assert memory.peak_rss_mib == 97.0 and memory.peak_pss_mib is None
    assert phone.notes == [
        "ios:My iPhone: what was sent stays in Documents/minuet of com.example.bench until that "
        "app removes it."
    ]


def test_an_iphone_tells_its_heat_through_the_app(job: Job) -> None:
    replayer = Replayer(HERE / "ios-hot.jsonl")
    phone = Phone(wanted="00001234-000000001234CDEF", app=APP, shell=replayer)
    with phone:
        Rest(device=phone, limit_seconds=60, sleep=lambda seconds: None).wait()
    replayer.finish()
    assert any("low power mode is on" in note for note in phone.notes)


def test_other_formats_do_not_run_on_an_iphone(job: Job, onnx_job: Job) -> None:
    phone = Phone(app=APP, shell=Replayer(HERE / "ios.jsonl"))
    with pytest.raises(GoneError, match="runs Core ML only, not onnx-fp32"):
        phone.subject(onnx_job)


@pytest.mark.skipif(sys.platform == "darwin", reason="here they can be run")
@pytest.mark.parametrize("word", [f"ios:Phone,app={APP}", "mac"])
def test_without_a_mac_it_is_said_what_is_needed(word: str) -> None:
    with pytest.raises(MissingBackendError, match=r"^not run: needs a Mac with Xcode"), held(word):
        raise AssertionError("there is no Mac here")


def test_a_mac_tells_its_heat_and_its_battery() -> None:
    replayer = Replayer(HERE / "mac.jsonl")
    with Mac(platform="darwin", shell=replayer) as mac:
        calm, slowed = mac.state(), mac.state()
    replayer.finish()
    assert (calm.thermal, calm.battery_percent, calm.charging) == ("nominal", 95.0, True)
    assert (slowed.thermal, slowed.hot, slowed.charging) == ("throttled", True, False)


@pytest.mark.parametrize("app", ["", "-x", "com.example bench", "a;b", "x" * 156])
def test_an_app_is_named_by_its_identifier(app: str) -> None:
    with pytest.raises(RequestError, match="no bundle identifier"):
        Phone(app=app)


def listed(*rows: dict[str, Any]) -> Done:
    answer = {"info": {"outcome": "success"}, "result": {"devices": list(rows)}}
    return Done(code=0, file=json.dumps(answer).encode())


def test_the_phone_that_is_meant_is_found_or_asked_for() -> None:
    one = phone_row("AAAAAAAA-1111", "One", "connected")
    two = phone_row("BBBBBBBB-1111", "Two", "disconnected")
    away = phone_row("CCCCCCCC-1111", "Away", "unavailable")
    assert chosen(listed(one, two), "Two")["identifier"] == "BBBBBBBB-1111"
    assert chosen(listed(one, away), "")["identifier"] == "AAAAAAAA-1111"
    with pytest.raises(RequestError, match="more than one is connected: name one of One, Two"):
        chosen(listed(one, two), "")
    with pytest.raises(RequestError, match="Away is not connected: name one of One"):
        chosen(listed(one, away), "Away")
    with pytest.raises(MissingBackendError, match="no iPhone or iPad is connected"):
        chosen(listed(away), "")


@pytest.mark.parametrize(
    "data", [b"", b"[]", b"nonsense", b'{"info": 3}', b"[" * 100_000, phone_list().encode()[:200]]
)
def test_json_that_is_none_is_no_success(data: bytes) -> None:
    assert succeeded(data) is None
    with pytest.raises(MissingBackendError):
        chosen(Done(code=0, file=data), "")


def test_an_identifier_that_could_be_an_option_is_no_phone() -> None:
    with pytest.raises(MissingBackendError):
        chosen(listed(phone_row("--help; id", "One", "connected")), "")


def test_a_failure_is_told_in_its_own_words_without_its_colours() -> None:
    words = {"NSLocalizedDescription": {"string": "The device is \x1b[31mlocked.\n"}}
    answer = {"info": {"outcome": "failed"}, "error": {"userInfo": words}}
    done = Done(code=1, file=json.dumps(answer).encode(), err=b"ERROR: something\n")
    assert reason(done) == "The device is  [31mlocked."
    assert reason(Done(code=1, err=b"ERROR: something\n")) == "ERROR: something"


@pytest.mark.parametrize(
    "change",
    [
        {"runs_ms": [-1.0]},
        {"runs_ms": ["1"]},
        {"load_ms": float("nan")},
        {"thermal": "tropical"},
        {"extra": 1},
    ],
)
def test_an_answer_of_another_kind_is_damaged(change: dict[str, Any]) -> None:
    told = {"load_ms": 1.0, "runs_ms": [1.0], "version": "x"}
    assert record(AppTold, told).runs_ms == (1.0,)
    with pytest.raises(ValueError):
        record(AppTold, told | change)
