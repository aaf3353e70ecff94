"""A phone played by transcripts written from documentation: no figure here is measured."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from minuet.benchmarks.devices.adb import Adb, battery_of, choose, rails_uj, thermal_of
from minuet.benchmarks.devices.device import Rest
from minuet.benchmarks.devices.runners import ExecutorRunner, OrtPerfTest
from minuet.benchmarks.devices.transcript import WRITTEN, Replayer
from minuet.benchmarks.measure import Plan, measure
from minuet.benchmarks.subject import GoneError, Job
from minuet.contracts.errors import MissingBackendError, Refusal, RequestError

HERE = Path(__file__).parent / "transcripts"
SERIAL = "R5CT000000A"


@pytest.fixture
def program(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("onnxruntime_perf_test", "executor_runner"):
        (folder / name).write_bytes(b"\x7fELF")
        (folder / name).chmod(0o755)
    yield folder


@pytest.fixture
def job(onnx_job: Job) -> Job:
    return replace(onnx_job, threads=4)


def phone(name: str, program: Path) -> tuple[Adb, Replayer]:
    replayer = Replayer(HERE / f"{name}.jsonl")
    ort = OrtPerfTest(binary=program / "onnxruntime_perf_test", provider="xnnpack")
    executorch = ExecutorRunner(binary=program / "executor_runner")
    return Adb(runners={"ort": ort, "executorch": executorch}, shell=replayer), replayer


def test_onnx_runtime_on_a_phone_step_by_step(job: Job, program: Path) -> None:
    adb, replayer = phone("adb-ort", program)
    with adb:
        machine, state = adb.machine(), adb.state()
        subject = adb.subject(job)
        opened = subject.open()
        block = subject.sample(2)
        held = subject.close(weigh=True)
    replayer.finish()
    assert replayer.header.made == WRITTEN
    assert (machine.cpu, machine.os, machine.cores) == ("Example 9 (EX9000)", "Android 14", 8)
    assert (machine.memory_mib, machine.python) == (7654321 >> 10, "")
    assert (state.thermal, state.hottest_c, state.hot) == ("none", 31.5, False)
    assert (state.battery_percent, state.charging, state.governor) == (84.0, True, "schedutil")
    assert opened.load_ms == pytest.approx(42.1) and opened.first_ms == 57.0
    assert block == {"total": [pytest.approx(30.1), pytest.approx(30.3)]}  # the first three are not
    assert (held.peak_pss_mib, held.peak_rss_mib) == (80.0, 90.0)
    assert adb.notes == []


def test_executorch_on_a_phone_keeps_each_iteration(job: Job, program: Path) -> None:
    adb, replayer = phone("adb-executorch", program)
    job = replace(
        job, runtime="minuet.runtimes.executorch:ExecutorchRuntime", artifact="executorch-fp32"
    )
    with adb:
        subject = adb.subject(job)
        opened = subject.open()
        assert subject.sample(2) == {"total": [40.5, 40.75]}
    replayer.finish()
    assert (opened.load_ms, opened.first_ms) == (17.902, 61.25)


def test_a_hot_phone_is_waited_for_and_a_phone_without_fixed_clocks_is_noted(program: Path) -> None:
    adb, replayer = phone("adb-hot", program)
    now = [0.0]
    with adb:
        rest = Rest(
            device=adb,
            limit_seconds=60,
            clock=lambda: now[0],
            sleep=lambda seconds: now.__setitem__(0, now[0] + seconds),
        )
        rest.wait()
        rest.wait()  # it has just been asked
    replayer.finish()
    assert rest.waited_seconds == 10.0
    [note] = adb.notes
    assert "no fixed performance mode" in note and "Power HAL" in note


def test_waiting_has_an_end_and_what_is_measured_then_says_so(program: Path) -> None:
    adb, replayer = phone("adb-always-hot", program)
    now = [0.0]
    with adb:
        Rest(
            device=adb,
            limit_seconds=7,
            clock=lambda: now[0],
            sleep=lambda seconds: now.__setitem__(0, now[0] + seconds),
        ).wait()
    replayer.finish()
    assert now[0] == 7.0
    [note] = adb.notes
    assert "thermal status severe after 7 s of cooling down; measured hot" in note


def test_a_phone_that_leaves_keeps_what_was_measured(job: Job, program: Path) -> None:
    adb, replayer = phone("adb-leaves", program)
    plan = Plan(samples=20, block=2, colds=1, warm_up=2, watched=0)
    with adb:
        found = measure({"one": lambda: adb.subject(job)}, plan)["one"]
    replayer.finish()
    assert found.refusal.startswith(f"adb:{SERIAL} has left (adb: device '{SERIAL}' not found)")
    assert found.samples_ms["warm_up"] == [pytest.approx(30.1), pytest.approx(30.3)]
    assert found.samples_ms["load"] == [pytest.approx(42.1)]
    folder, fixed = adb.notes
    assert "may be left there" in folder
    assert "fixed performance mode may still be on" in fixed and "restart the phone" in fixed


def test_energy_of_a_run_is_what_more_runs_cost_more(job: Job, program: Path) -> None:
    adb, replayer = phone("adb-rails", program)
    with adb:
        spent = adb.energy_mj(job)
    replayer.finish()
    # 13 runs took 1 400 mJ, 3 took 400 mJ: the start of the process falls out
    assert spent == pytest.approx(100.0)


def test_rails_that_no_shell_may_read_are_not_measured() -> None:
    with pytest.raises(GoneError, match="this phone shows its power rails"):
        rails_uj("cat: /sys/bus/iio/devices/iio:device0/energy_value: Permission denied\n")


def test_a_runtime_without_a_runner_says_how_to_name_one(job: Job, program: Path) -> None:
    adb, _ = phone("adb-ort", program)
    other = replace(job, runtime="minuet.runtimes.openvino:OpenVinoRuntime")
    with pytest.raises(GoneError, match="no runner for openvino was named; add openvino=/path"):
        adb.subject(other)
    assert isinstance(adb.energy_mj(other), Refusal)


LISTED = "* daemon started successfully\nList of devices attached\n{}\n"


@pytest.mark.parametrize(
    ("rows", "serial", "error", "said"),
    [
        ("", "", MissingBackendError, "no Android device is connected"),
        ("A1\tdevice\nB2\tdevice", "", RequestError, "more than one device .* A1, B2"),
        ("A1\tdevice", "C3", RequestError, "C3 is not connected: name one of A1"),
        ("A1\tunauthorized", "", RequestError, "A1 is unauthorized; unlock it and allow"),
        ("-x;id\tdevice", "", MissingBackendError, "no Android device"),
    ],
)
def test_the_phone_that_is_meant_is_found_or_asked_for(
    rows: str, serial: str, error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said):
        choose(LISTED.format(rows), serial)
    assert choose(LISTED.format("A1\tdevice\nB2\toffline"), "A1") == "A1"


@pytest.mark.parametrize("serial", ["-e", "a b", "$(id)", "a;b", "x" * 65])
def test_a_serial_number_that_could_be_an_option_is_refused(serial: str) -> None:
    with pytest.raises(RequestError, match="no serial number"):
        Adb(serial=serial)


def test_only_present_temperatures_count_and_odd_ones_are_left_out() -> None:
    text = (
        "Thermal Status: 1\nCached temperatures:\n"
        "\tTemperature{mValue=99.0, mType=0, mName=AP, mStatus=0}\n"
        "Current temperatures from HAL:\n"
        "\tTemperature{mValue=41.5, mType=3, mName=SKIN, mStatus=1}\n"
        "\tTemperature{mValue=NaN, mType=0, mName=CPU, mStatus=0}\n"
        "\tTemperature{mValue=3000.0, mType=6, mName=ibat, mStatus=0}\n"
        "Current cooling devices from HAL:\n"
    )
    assert thermal_of(text) == ("light", 41.5)
    assert thermal_of("Thermal Status: 9\n") == ("unknown", None)
    assert thermal_of("") == ("unknown", None)


def test_a_battery_that_says_nothing_is_unknown() -> None:
    assert battery_of("") == (None, None)
    assert battery_of("  level: nan\n  scale: 100\n  AC powered: false\n") == (None, False)
    assert battery_of("  level: 42\n  scale: 50\n  USB powered: true\n") == (84.0, True)
