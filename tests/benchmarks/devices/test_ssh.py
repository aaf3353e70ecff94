"""All of it against a real sshd on this machine: nothing here is a stand-in for ssh."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from minuet.benchmarks.devices.session import held
from minuet.benchmarks.devices.shell import Local
from minuet.benchmarks.devices.ssh import STRICT, Ssh
from minuet.benchmarks.machine import fingerprint
from minuet.benchmarks.measure import Measured, Plan, measure
from minuet.benchmarks.subject import GoneError, Job
from minuet.contracts.errors import RequestError
from tests.benchmarks.devices.conftest import Server

PYTHON = f"python={sys.executable}"
FEW = Plan(samples=12, seconds=60, colds=2, warm_up=10, watched=0)


@pytest.mark.slow
def test_a_board_is_measured_in_turns_and_left_as_it_was(
    server: Server, onnx_job: Job, x: np.ndarray, tmp_path: Path
) -> None:
    jobs = {"first": onnx_job, "second": replace(onnx_job, threads=2)}
    saved = tmp_path / "outputs.npz"
    order: list[str] = []
    with held(server.word(PYTHON)) as board:
        machine = board.machine()
        found = measure(
            board.subjects(jobs),
            FEW,
            progress=lambda name, new, have, wanted: order.append(name),
            visit=lambda name, subject: subject.save(saved),
        )
        folder = Path(str(board.device.folder))  # type: ignore[attr-defined]  # of a board only
        assert (folder / "bundle-1" / "onnx-fp32" / "model.onnx").exists()
        assert folder.stat().st_mode & 0o077 == 0
    ours = fingerprint()
    assert (machine.cpu, machine.cores, machine.python) == (ours.cpu, ours.cores, ours.python)
    for measured in found.values():
        assert measured.refusal == ""
        assert len(measured.samples_ms["total"]) == FEW.samples
        assert min(measured.samples_ms["total"]) > 0
        assert measured.version.startswith("onnxruntime ")
        assert measured.memory.peak_rss_mib and measured.memory.peak_pss_mib
        assert 5 < measured.memory.peak_pss_mib <= measured.memory.peak_rss_mib + 1
    assert order[:4] == ["first", "second", "second", "first"]
    with np.load(saved) as outputs:
        np.testing.assert_allclose(outputs["y"], x @ x + 1, rtol=1e-4, atol=1e-4)
    assert not folder.exists()
    assert board.notes() == ()


@pytest.mark.slow
def test_what_was_measured_before_the_connection_broke_is_kept(
    server: Server, onnx_job: Job
) -> None:
    killed: list[int] = []

    def cut(name: str, new: int, have: int, wanted: int) -> None:
        if have >= 6 and not killed:
            killed.append(server.cut())

    with held(server.word(PYTHON)) as board:
        folder = Path(str(board.device.folder))  # type: ignore[attr-defined]  # of a board only
        found = measure(board.subjects({"one": onnx_job}), FEW, progress=cut)
    assert killed and killed[0] >= 1
    assert found["one"].refusal.startswith("the connection to ")
    assert found["one"].refusal.endswith("what was measured is kept")
    assert len(found["one"].samples_ms["total"]) == 6
    assert len(found["one"].samples_ms["load"]) == FEW.colds
    assert not folder.exists()  # a new connection cleaned up


@pytest.mark.slow
def test_two_bundles_with_the_same_names_do_not_meet(
    server: Server, onnx_job: Job, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    (tmp_path / "bundle").rename(other)
    (tmp_path / "bundle").mkdir()
    for path in other.rglob("*"):
        if path.is_file():
            copy = tmp_path / "bundle" / path.relative_to(other)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(path.read_bytes())
    (other / "onnx-fp32" / "model.onnx").write_bytes(b"not a model")
    jobs = {"whole": onnx_job, "broken": replace(onnx_job, bundle=other)}
    found: dict[str, Measured] = {}
    with held(server.word(PYTHON)) as board:
        found = measure(board.subjects(jobs), replace(FEW, samples=2, colds=1, warm_up=2))
    assert found["whole"].refusal == "" and "model.onnx" in found["broken"].refusal


def test_a_native_runner_needs_no_python_there(
    server: Server, onnx_job: Job, tmp_path: Path
) -> None:
    """A shell script speaks like onnxruntime_perf_test here: the carriage is tested, not it."""
    runner = tmp_path / "onnxruntime_perf_test"
    runner.write_text(PERF_TEST)
    runner.chmod(0o755)
    with held(server.word(f"ort={runner}")) as board:
        machine = board.machine()
        subject = board.subjects({"one": onnx_job})["one"]()
        opened = subject.open()
        block = subject.sample(2, 3)
        weighed = subject.close(weigh=True)
    assert machine.python == "" and machine.cores > 0 and machine.memory_mib > 0
    assert (opened.load_ms, opened.first_ms) == (12.5, 34.0)
    assert opened.version.startswith("onnxruntime_perf_test sha256:")
    assert block == {"total": [pytest.approx(4.0), pytest.approx(7.0)]}  # runs 4..9, by threes
    assert weighed.peak_pss_mib and weighed.peak_rss_mib
    assert 0 < weighed.peak_pss_mib <= weighed.peak_rss_mib


PERF_TEST = r"""#!/bin/sh
# -m times -r RUNS -e cpu -x THREADS MODEL RESULT
[ "$1 $2 $3 $5 $6 $7 $8" = "-m times -r -e cpu -x 1" ] || { echo "flags: $*" >&2; exit 2; }
[ -s "$9" ] && [ -s "$(dirname "$9")/test_data_set_0/input_0.pb" ] || exit 3
sleep 0.5
echo "Session creation time cost: 0.0125 s"
echo "First inference time cost: 34 ms"
i=0
while [ "$i" -lt "$4" ]; do
  echo "onnx-fp32,0.00$i,1000,50,$i" >> "${10}"
  i=$((i + 1))
done
"""


HOSTILE = """#!/bin/sh
printf '{"load_ms": 1.0, "first_ms": 2.0, "version": "\\\\u001b[31mort\\\\u0007 1.0"}\\n'
read -r line
%s
"""
FLOOD = 'while :; do echo \'{"block": {"total": [1.0]}}\'; done'
NAN = 'echo \'{"block": {"total": [NaN]}}\'; read -r line'
MISSING = "echo '{\"surprise\": 1}'; read -r line"
WORDS = 'printf \'{"gone": "\\\\u001b]0;title\\\\u0007 I left"}\\n\'; read -r line'


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (NAN, "damaged: block.total.* not a number"),
        (MISSING, "damaged: block is None"),
        (WORDS, "^\\]0;title  I left$"),
    ],
)
def test_a_board_that_lies_is_gone(
    server: Server, onnx_job: Job, tmp_path: Path, answer: str, said: str
) -> None:
    with held(server.word(f"python={liar(tmp_path, answer)}"), cool_seconds=0) as board:
        subject = board.subjects({"one": onnx_job})["one"]()
        opened = subject.open()
        with pytest.raises(GoneError, match=said):
            subject.sample(1)
        subject.close()
    assert opened.version == "[31mort  1.0"


def test_a_board_that_talks_without_end_is_cut_off(
    server: Server, onnx_job: Job, tmp_path: Path
) -> None:
    with held(server.word(f"python={liar(tmp_path, FLOOD)}"), cool_seconds=0) as board:
        subject = board.subjects({"one": onnx_job})["one"]()
        subject.open()
        with pytest.raises(GoneError):
            for _ in range(1000):
                subject.sample(1)
        subject.close()


def liar(folder: Path, answer: str) -> Path:
    """A program that opens as our child does, and then answers what it likes."""
    path = folder / "liar"
    path.write_text(HOSTILE % answer)
    path.chmod(0o755)
    return path


def test_an_unknown_host_key_is_never_accepted(server: Server, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.write_text("")
    device = Ssh(host="127.0.0.1", port=server.port, identity=server.identity, known_hosts=empty)
    with pytest.raises(RequestError, match=r"(?s)Host key verification failed.*compare the key"):
        device.__enter__()
    assert empty.read_text() == ""
    assert STRICT["StrictHostKeyChecking"] == "yes" and STRICT["BatchMode"] == "yes"


def test_a_key_that_is_not_allowed_gets_no_question_for_a_password(
    server: Server, tmp_path: Path
) -> None:
    import subprocess

    key = tmp_path / "stranger"
    command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)]
    subprocess.run(command, check=True)
    word = server.word().replace(str(server.identity), str(key))
    with pytest.raises(RequestError, match="Permission denied"), held(word):
        raise AssertionError("it let a stranger in")


def test_a_board_without_our_python_says_what_to_do(server: Server) -> None:
    with held(server.word("python=/nowhere/python")) as board:
        with pytest.raises(RequestError, match=r"cannot import minuet .*; install it there"):
            board.machine()


def test_a_file_that_is_not_there_is_named(server: Server) -> None:
    device = Ssh(
        host="127.0.0.1",
        port=server.port,
        identity=server.identity,
        known_hosts=server.known_hosts,
    )
    with device:
        with pytest.raises(GoneError, match=r"nothing\.csv cannot be had"):
            device.pull("nothing.csv")
        with pytest.raises(GoneError, match="said more than 1000 bytes"):
            device.run(["yes"], limit=1000)
        state = device.state()
    assert state.thermal in ("unknown", "nominal", "throttled")


def test_a_recording_holds_every_command(server: Server, onnx_job: Job, tmp_path: Path) -> None:
    path = tmp_path / "transcript.jsonl"
    with held(server.word(PYTHON, f"record={path}")) as board:
        board.machine()
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert lines[0]["made"] == "recorded on a device"
    ran = [line["run"][-1].split()[0] for line in lines[1:]]
    assert ran[0] == "mktemp" and ran[1] == sys.executable and ran[2] == "rm"
    assert all(line["code"] == 0 and line["seconds"] > 0 for line in lines[1:])


@pytest.mark.parametrize(
    "host", ["-oProxyCommand=touch /tmp/x", "", "a b", "pi@-x", "$(id)", "pi@host;id", "a/b"]
)
def test_a_host_that_could_be_an_option_or_a_command_is_refused(host: str) -> None:
    with pytest.raises(RequestError, match="not a host"):
        Ssh(host=host, shell=Local())
