import sys
from collections import namedtuple

import pytest

from minuet.benchmarks.devices import posix
from minuet.benchmarks.devices.machines import python_machine
from minuet.benchmarks.devices.shell import Done, Local
from minuet.benchmarks.machine import fingerprint
from minuet.benchmarks.subject import GoneError
from minuet.contracts.errors import RequestError

Case = namedtuple("Case", "good bad")
NAMES = [
    Case("onnx-fp32/model.onnx", "../model.onnx"),
    Case("a/.hidden_1+x.bin", "/etc/passwd"),
    Case("model.mlpackage/Data/weight.bin", "a//b"),
    Case("x", "-rf"),
    Case("a/b", "a/-rf"),
    Case("a.b", "a b"),
    Case("a_b", "a;id"),
    Case("A1", "$(id)"),
    Case("..a", "a/.."),
    Case("0", ""),
    Case("é".encode().hex(), "é"),
]


@pytest.mark.parametrize("case", NAMES)
def test_names_are_harmless_in_any_shell(case: Case) -> None:
    assert posix.safe_name(case.good) == case.good
    with pytest.raises(RequestError, match="rename it"):
        posix.safe_name(case.bad)


FOLDERS = [
    Case("/tmp/minuet.AbCdEf12", "/"),
    Case("/data/local/tmp/minuet.a1B2c3D4", "/tmp/minuet."),
    Case("/var/folders/x_y/minuet.000000", "/tmp/minuet.abcdef /home"),
    Case("/a/minuet.abcdef", "/tmp/../minuet.abcdef"),
    Case("/a/minuet.abcdef", "minuet.abcdef"),
    Case("/a/minuet.abcdef", "/tmp/minuet.abcdef;id"),
]


@pytest.mark.parametrize("case", FOLDERS)
def test_only_a_folder_of_ours_will_be_removed(case: Case) -> None:
    good, bad = (Done(code=0, out=f"{name}\n".encode()) for name in case)
    assert posix.private_folder(good, "phone") == case.good
    with pytest.raises(RequestError, match="no private folder"):
        posix.private_folder(bad, "phone")
    with pytest.raises(RequestError, match="no private folder"):
        posix.private_folder(Done(code=1, out=good.out), "phone")


def test_this_machine_describes_itself_in_shell_as_in_python() -> None:
    if sys.platform != "linux":
        pytest.skip("not run: needs Linux's /proc")
    ours = fingerprint()
    told = posix.linux_machine(Local().run(posix.script(posix.MACHINE)).text)
    assert told.cpu.endswith(ours.cpu) and told.os == ours.os
    assert (told.memory_mib, told.governor) == (ours.memory_mib, ours.governor)
    assert told.cores > 0 and told.load_1min >= 0
    state = posix.linux_state(Local().run(posix.script(posix.STATE)).text)
    assert state.governor == ours.governor


def test_a_cooling_device_that_is_at_work_is_heat_and_a_fan_is_not() -> None:
    zones = "zone 45123 cpu-thermal\nzone -274000 broken\nzone x y\nzone\n"
    calm = posix.linux_state(f"{zones}cooling 0 thermal-cpufreq-0\ncooling 3 pwm-fan\n")
    hot = posix.linux_state("cooling 0 thermal-cpufreq-0\ncooling 2 Processor\n")
    assert (calm.thermal, calm.hot, calm.hottest_c) == ("nominal", False, 45.123)
    assert (hot.thermal, hot.hot, hot.hottest_c) == ("throttled", True, None)
    assert posix.linux_state("").thermal == "unknown" and not posix.linux_state("").hot


def test_a_laptops_battery_is_told() -> None:
    state = posix.linux_state("battery 71 Discharging\ngovernor powersave\n")
    assert (state.battery_percent, state.charging, state.governor) == (71.0, False, "powersave")
    assert posix.linux_state("battery 80 Charging\n").charging is True
    assert posix.linux_state("battery  \n").charging is None


def test_a_device_that_answers_without_end_is_cut_off() -> None:
    with pytest.raises(GoneError, match="answered 2001 lines"):
        posix.rows("zone 1 x\n" * 2001)


def test_odd_answers_become_unknown_not_numbers() -> None:
    machine = posix.linux_machine("cores many\nmemory 1e9\nload nan\ncpu \x1b[31mred\x07\n")
    assert (machine.cores, machine.memory_mib, machine.load_1min) == (0, 0, 0.0)
    assert machine.cpu == "[31mred" and machine.os == "unknown"
    for text in ("nan", "inf", "1e5", "0x10", "1_000", "٣", "", None):
        assert posix.number(text) is None


def test_memory_is_watched_while_a_program_runs() -> None:
    if sys.platform != "linux":
        pytest.skip("not run: needs Linux's /proc")
    held = "held = bytearray(64 << 20); import time; time.sleep(1.5); import sys; sys.exit(5)"
    done = Local().run(posix.script(posix.WATCHED, sys.executable, "-I", "-S", "-c", held))
    pss, rss = (posix.memory_mib(done.both, kind) for kind in ("Pss", "VmHWM"))
    assert done.code == 5  # the program's own
    assert pss and rss and 64 < pss <= rss < 200
    assert posix.memory_mib("minuet-memory Pss x\n", "Pss") is None


def test_a_fingerprint_from_over_there_is_trusted_in_no_field() -> None:
    with pytest.raises(RequestError, match=r"cannot import minuet \(No module named minuet\)"):
        python_machine(Done(code=1, err=b"No module named minuet\n"), "ssh:pi", "python3")
    for text in ('{"cpu": 3}', "[" * 50_000, "", '{"cpu": "x", "surprise": 1}'):
        with pytest.raises(RequestError, match="answers in other words"):
            python_machine(Done(code=0, out=text.encode()), "ssh:pi", "python3")
