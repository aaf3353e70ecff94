from pathlib import Path

import pytest

from minuet.benchmarks.devices.adb import Adb
from minuet.benchmarks.devices.options import FORMS, device_of, parsed
from minuet.benchmarks.devices.runners import ExecutorRunner, OrtPerfTest
from minuet.benchmarks.devices.ssh import Ssh
from minuet.contracts.errors import RequestError


@pytest.fixture
def program(tmp_path: Path) -> Path:
    path = tmp_path / "runner"
    path.write_bytes(b"\x7fELF")
    return path


def test_a_word_names_a_device_and_its_options(program: Path) -> None:
    board = device_of(f"ssh:pi@board.local,port=2222,python=/opt/v/bin/python,identity={program}")
    assert isinstance(board, Ssh)
    assert (board.host, board.port, board.python) == ("pi@board.local", 2222, "/opt/v/bin/python")
    assert (board.name, board.identity) == ("ssh:pi@board.local", program)
    phone = device_of(f"adb:R5CT,ort={program},executorch={program},provider=xnnpack")
    assert isinstance(phone, Adb) and phone.serial == "R5CT"
    ort, executorch = phone.runners["ort"], phone.runners["executorch"]
    assert isinstance(ort, OrtPerfTest) and ort.provider == "xnnpack"
    assert isinstance(executorch, ExecutorRunner)
    assert parsed("adb") == ("adb", "", {})


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("usb:phone", "is not understood; write ssh:"),
        ("", "is not understood; write ssh:"),
        ("ssh:-oProxyCommand=x", "not a host"),
        ("ssh:pi,colour=red", r"'colour=red' is not understood; device ssh takes python, port"),
        ("ssh:pi,port", "'port' is not understood"),
        ("ssh:pi,port=", "'port=' is not understood"),
        ("ssh:pi,port=1,port=2", "'port=2' is not understood"),
        ("ssh:pi,port=99999", "not a host"),
        ("ssh:pi,port=x", "is not a number"),
        ("ssh:pi,python=/bin/x;id", "rename it"),
        ("ssh:pi,python=../python", "rename it"),
        ("ssh:pi,temporary=/tmp/$(id)", "rename it"),
        ("ssh:pi,identity=/nowhere/key", "identity=/nowhere/key: there is no such file"),
        ("adb,ort=/nowhere/runner", "ort=/nowhere/runner: there is no such file"),
        ("adb:$(id)", "no serial number"),
        ("mac,x=1", "device mac takes record, cool"),
        ("ios:Phone", "no bundle identifier"),
    ],
)
def test_what_is_not_understood_is_named_with_what_would_be(word: str, said: str) -> None:
    with pytest.raises(RequestError, match=said):
        device_of(word)
    assert "ssh" in FORMS


def test_nothing_is_touched_before_it_is_held() -> None:
    assert device_of("ssh:nobody@host.invalid").notes == []
