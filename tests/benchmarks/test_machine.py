from dataclasses import replace

import pytest

from minuet.benchmarks.machine import fingerprint, peak_rss_mib, strangers, usable_cores
from minuet.contracts.report import Machine


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


def test_peak_memory_holds_what_was_held() -> None:
    before = peak_rss_mib()
    assert before is not None
    held = bytearray(b"x") * (int(before + 64) << 20)
    after = peak_rss_mib()
    assert after is not None and after >= len(held) / (1 << 20)
