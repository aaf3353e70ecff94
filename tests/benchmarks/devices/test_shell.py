import sys
import time
from pathlib import Path

import pytest

from minuet.benchmarks.devices.shell import FILE, Done, Local, plain
from minuet.benchmarks.subject import GoneError
from minuet.contracts.errors import MissingBackendError


def python(code: str, *more: str | Path) -> list[str | Path]:
    return [sys.executable, "-I", "-S", "-c", code, *more]


def test_a_command_is_heard_on_all_its_channels() -> None:
    code = (
        "import sys; print('out'); print('err', file=sys.stderr); "
        "open(sys.argv[1], 'w').write(sys.stdin.read()); sys.exit(3)"
    )
    done = Local().run(python(code, FILE), feed=lambda stdin: stdin.write(b"fed"))
    assert (done.code, done.out, done.err, done.file) == (3, b"out\n", b"err\n", b"fed")
    assert done.seconds > 0


def test_no_shell_reads_the_words() -> None:
    words = ["$(id)", "; rm -rf /", "a b", "*", "\n"]
    done = Local().run([*python("import sys; print(sys.argv[1:])"), *words])
    assert done.text.strip() == repr(words)


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_a_command_that_talks_for_ever_is_stopped(stream: str) -> None:
    code = f"import sys\nwhile True: sys.{stream}.write('x' * 4096)"
    with pytest.raises(GoneError, match="said more than 10000 bytes"):
        Local().run(python(code), limit=10_000, seconds=60)


def test_a_file_that_is_too_large_is_not_read() -> None:
    code = "import sys; open(sys.argv[1], 'wb').truncate(1 << 30)"
    with pytest.raises(GoneError, match="said more than"):
        Local().run(python(code, FILE))


def test_a_command_that_does_not_end_is_stopped() -> None:
    start = time.monotonic()
    with pytest.raises(GoneError, match="no answer in 1 s"):
        Local().run(python("import time; time.sleep(60)"), seconds=1)
    assert time.monotonic() - start < 30


def test_a_command_that_leaves_early_tells_why_itself() -> None:
    done = Local().run(
        python("import sys; print('no room', file=sys.stderr); sys.exit(1)"),
        feed=lambda stdin: stdin.write(b"x" * (1 << 22)),
    )
    assert done.code == 1 and done.last_words == "no room"


def test_a_tool_that_is_not_here_is_named() -> None:
    with pytest.raises(MissingBackendError, match="no-such-tool is not on this machine"):
        Local().run(["no-such-tool"])


def test_a_terminal_is_told_nothing_that_it_obeys() -> None:
    assert plain("\x1b[31mred\x07\n\u202e") == "[31mred"
    done = Done(code=1, err=b"first\n\x1b]0;title\x07\xff last")
    assert done.last_words == "]0;title � last"
    assert Done(code=7).last_words == "exit code 7"


def test_what_a_command_leaves_running_does_not_hold_us(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("minuet.benchmarks.devices.shell.LINGER_SECONDS", 0.5)
    leave = "import subprocess; subprocess.Popen(['sleep', '3'])"
    with pytest.raises(GoneError, match="left something running"):
        Local().run(python(leave))
