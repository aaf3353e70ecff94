"""Ctrl-C, once, twice, three times."""

import signal
import subprocess
import sys
from collections.abc import Generator

import pytest

from minuet.commands.interrupts import FIRST, SECOND, Interrupts


@pytest.fixture
def interrupts() -> Generator[Interrupts]:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    with Interrupts() as one:
        yield one
    signal.signal(signal.SIGINT, before)


def press() -> None:
    """What Python does when a Ctrl-C arrives.

    A real one has killed a process that held native libraries of other tests. Processes of their
    own, below, get real ones.
    """
    handler = signal.getsignal(signal.SIGINT)
    assert callable(handler)
    handler(signal.SIGINT, None)


def test_the_first_waits_for_the_next_step(interrupts: Interrupts) -> None:
    done = []
    with pytest.raises(KeyboardInterrupt), interrupts.stepwise():
        press()
        done.append("the step at hand")
        interrupts.check()
        done.append("another step")
    assert done == ["the step at hand"]
    assert interrupts.exit_code == FIRST


def test_the_first_is_immediate_where_no_step_is_promised(interrupts: Interrupts) -> None:
    with pytest.raises(KeyboardInterrupt):
        press()
    assert interrupts.exit_code == FIRST
    assert "again to continue" in interrupts.message


def test_the_second_does_not_wait(interrupts: Interrupts) -> None:
    with pytest.raises(KeyboardInterrupt), interrupts.stepwise():
        press()
        press()
        pytest.fail("still going on")
    assert interrupts.exit_code == SECOND
    assert "nothing was left half-written" in interrupts.message


def test_the_second_lets_the_cleaning_up_finish(interrupts: Interrupts) -> None:
    cleaned = False
    with pytest.raises(KeyboardInterrupt):
        try:
            press()
        finally:
            press()
            interrupts.check()
            cleaned = True
    assert cleaned and interrupts.exit_code == SECOND


def test_a_check_without_ctrl_c_does_nothing(interrupts: Interrupts) -> None:
    interrupts.check()
    assert interrupts.exit_code == FIRST


def test_the_handler_from_before_comes_back(interrupts: Interrupts) -> None:
    inside = signal.getsignal(signal.SIGINT)
    with Interrupts():
        assert signal.getsignal(signal.SIGINT) != inside
    assert signal.getsignal(signal.SIGINT) == inside


def test_a_job_in_the_background_stays_deaf(interrupts: Interrupts) -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    with Interrupts():
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    signal.signal(signal.SIGINT, before)


STUCK = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)
from minuet.commands.interrupts import INTERRUPTS
with INTERRUPTS:
    try:
        signal.raise_signal(signal.SIGINT)
    finally:
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
        print("never")
"""


def test_the_third_ends_the_process() -> None:
    done = subprocess.run(
        [sys.executable, "-I", "-c", STUCK], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (SECOND, "")


LEAVING = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
from minuet.commands.interrupts import INTERRUPTS
try:
    with INTERRUPTS:
        signal.raise_signal(signal.SIGINT)
except KeyboardInterrupt:
    signal.raise_signal(signal.SIGINT)
    sys.exit(INTERRUPTS.exit_code)
"""


def test_the_second_on_the_way_out_does_not_kill_the_process() -> None:
    done = subprocess.run(
        [sys.executable, "-I", "-c", LEAVING], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (SECOND, "")
