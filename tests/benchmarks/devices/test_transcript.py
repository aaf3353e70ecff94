import io
import json
import sys
from pathlib import Path

import pytest

from minuet.benchmarks.devices.shell import FILE, Local
from minuet.benchmarks.devices.transcript import RECORDED, WRITTEN, Recorder, Replayer
from minuet.benchmarks.subject import GoneError
from minuet.contracts.errors import DamagedError, RequestError
from tests.benchmarks.devices.transcripts.write import HERE, conversations

HEADER = {"transcript": 1, "made": RECORDED}


def words(code: str) -> list[str | Path]:
    return [sys.executable, "-I", "-S", "-c", code]


def test_what_was_recorded_can_be_replayed(tmp_path: Path) -> None:
    path, sent = tmp_path / "t.jsonl", tmp_path / "secret-folder" / "model.onnx"
    recorder = Recorder(Local(), path)
    code = (
        "import sys; sys.stdout.buffer.write(b'\\xff\\x00'); open(sys.argv[2], 'w').write('f'); "
        "sys.exit(4)"
    )
    real = recorder.run([*words(code), sent, FILE])
    with pytest.raises(GoneError):
        recorder.run(words("import time; time.sleep(60)"), seconds=0.2)
    assert "secret-folder" not in path.read_text()  # of a path of ours only the name is kept
    replayer = Replayer(path)
    played = replayer.run([*words(code), Path("/elsewhere/model.onnx"), FILE])
    assert played == real and (played.code, played.out, played.file) == (4, b"\xff\x00", b"f")
    with pytest.raises(GoneError, match="no answer in 0 s"):
        replayer.run(words("import time; time.sleep(60)"))
    replayer.finish()
    assert replayer.header.made == RECORDED


def test_a_conversation_through_pipes_is_noted_and_not_replayed(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    with (tmp_path / "said").open("w") as said:
        process = Recorder(Local(), path).start(words("print(input())"), said)
        out, _ = process.communicate("hello\n")
    assert out == "hello\n"
    assert json.loads(path.read_text().splitlines()[1])["talks"] is True
    with pytest.raises(RequestError, match="through pipes is not kept"):
        Replayer(path).start(words("print(input())"), io.StringIO())


def written(tmp_path: Path, *rows: object) -> Path:
    path = tmp_path / "t.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_a_replay_is_strict_about_order_and_words(tmp_path: Path) -> None:
    path = written(tmp_path, HEADER, {"run": ["adb", "devices"]}, {"run": ["adb", "push"]})
    replayer = Replayer(path)
    with pytest.raises(RequestError, match=r"asked \['adb', 'push'\], but it holds \['adb', 'dev"):
        replayer.run(["adb", "push"])
    with pytest.raises(RequestError, match="asked"):
        replayer.run(["adb", "devices", "-l"])
    replayer.run(["adb", "devices"])
    with pytest.raises(RequestError, match=r"never asked \['adb', 'push'\]"):
        replayer.finish()
    replayer.run(["adb", "push"])
    replayer.finish()
    with pytest.raises(RequestError, match="but it holds its end next"):
        replayer.run(["adb", "push"])


@pytest.mark.parametrize(
    "rows",
    [
        [],
        [{"transcript": 2, "made": RECORDED}],
        [{"transcript": 1, "made": "by hand"}],
        [{"transcript": 1, "made": WRITTEN}],  # and no sources
        [HEADER, {"run": "adb devices"}],
        [HEADER, {"run": ["adb"], "code": 1.5}],
        [HEADER, {"run": ["adb"], "surprise": 1}],
        [HEADER, ["adb"]],
    ],
)
def test_a_damaged_transcript_is_refused(tmp_path: Path, rows: list[object]) -> None:
    with pytest.raises(DamagedError, match="not a transcript"):
        Replayer(written(tmp_path, *rows))


def test_the_kept_transcripts_are_those_that_are_written_and_say_so() -> None:
    kept = {path.stem: path for path in HERE.glob("*.jsonl")}
    assert set(kept) == set(conversations())
    for name, (sources, exchanges) in conversations().items():
        replayer = Replayer(kept[name])
        assert replayer.header.made == WRITTEN and replayer.header.sources == sources
        assert replayer._left == exchanges
