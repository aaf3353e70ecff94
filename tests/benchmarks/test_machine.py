import sys
from dataclasses import replace
from pathlib import Path

import pytest

from minuet.benchmarks.machine import (
    fingerprint,
    quota_cores,
    strangers,
    throttles,
    usable_cores,
)
from minuet.contracts.report import Machine

linux = pytest.mark.skipif(sys.platform != "linux", reason="the files of Linux")


def test_a_fingerprint_names_cpu_cores_memory_and_libraries() -> None:
    found = fingerprint()
    assert found.cpu and found.cores == usable_cores() >= 1
    assert found.memory_mib > 100
    assert "numpy" in found.versions


def test_a_library_that_is_not_here_is_left_out() -> None:
    assert fingerprint(("numpy", "no-such-library-here")).versions.keys() == {"numpy"}


def test_a_machine_is_no_stranger_to_itself_under_another_load(machine: Machine) -> None:
    assert strangers(machine, replace(machine, load_1min=3.0, versions={"torch": "9"})) == ()


@pytest.mark.parametrize(
    ("field", "value"), [("cpu", "Other 1"), ("cores", 8), ("governor", "powersave")]
)
def test_a_stranger_is_told_by_what_differs(machine: Machine, field: str, value: object) -> None:
    (why,) = strangers(machine, replace(machine, **{field: value}))  # type: ignore[arg-type]
    assert why.startswith(field) and repr(value) in why


def test_another_kernel_is_no_stranger_but_another_system_is(machine: Machine) -> None:
    assert strangers(machine, replace(machine, os="Linux 6.9")) == ()
    assert strangers(machine, replace(machine, os="Darwin 24"))


def told(root: Path, files: dict[str, str]) -> Path:
    """A machine that says of itself what these files hold."""
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{text}\n")
    return root


LAPTOP = {
    "proc/cpuinfo": "model name : Example 9000\nflags : fpu sse2 avx2",
    "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor": "powersave",
    "sys/devices/system/cpu/intel_pstate/no_turbo": "0",
    "sys/devices/system/cpu/smt/active": "1",
    "sys/devices/system/cpu/cpu0/thermal_throttle/core_throttle_count": "3",
    "sys/devices/system/cpu/cpu1/thermal_throttle/core_throttle_count": "4",
}
RUNNER = {
    "proc/cpuinfo": "model name : Example 9000\nflags : fpu sse2 hypervisor avx2",
    "sys/devices/system/cpu/cpufreq/boost": "0",
    "sys/devices/system/cpu/smt/active": "0",
    "sys/fs/cgroup/cpu.max": "150000 100000",
}


@linux
def test_a_laptop_and_a_rented_runner_are_told_apart(tmp_path: Path) -> None:
    laptop = fingerprint((), told(tmp_path / "laptop", LAPTOP))
    runner = fingerprint((), told(tmp_path / "runner", RUNNER))
    assert (laptop.turbo, laptop.smt, laptop.virtual, laptop.quota_cores) == (
        *("on", "on", "no"),
        None,
    )
    assert (runner.turbo, runner.smt, runner.virtual, runner.quota_cores) == (
        *("off", "off", "yes"),
        1.5,
    )
    assert (laptop.cpu, laptop.governor) == ("Example 9000", "powersave")
    why = " ".join(strangers(laptop, runner))
    for name in ("turbo 'on' and 'off'", "smt 'on' and 'off'", "virtual 'no' and 'yes'"):
        assert name in why


@linux
def test_what_a_machine_does_not_say_is_unknown_and_makes_no_stranger(tmp_path: Path) -> None:
    silent = fingerprint((), tmp_path)
    assert (silent.turbo, silent.smt, silent.virtual, silent.governor) == ("unknown",) * 4
    assert silent.quota_cores is None and throttles(tmp_path) is None
    known = replace(silent, turbo="on", smt="off", virtual="yes")
    assert strangers(silent, known) == strangers(known, silent) == ()


@linux
def test_what_heat_did_is_counted_over_all_cores(tmp_path: Path) -> None:
    assert throttles(told(tmp_path, LAPTOP)) == 7


@linux
@pytest.mark.parametrize(
    ("files", "cores"),
    [
        ({"sys/fs/cgroup/cpu.max": "max 100000"}, None),
        ({"sys/fs/cgroup/cpu.max": "50000 100000"}, 0.5),
        ({"sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1"}, None),
        (
            {
                "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "200000",
                "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000",
            },
            2.0,
        ),
    ],
)
def test_a_containers_quota_is_read_in_both_ways_of_saying_it(
    tmp_path: Path, files: dict[str, str], cores: float | None
) -> None:
    root = told(tmp_path, files)
    assert quota_cores(root) == cores
    assert 1 <= usable_cores(root) <= usable_cores(tmp_path / "none")
