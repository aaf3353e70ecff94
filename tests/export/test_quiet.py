"""Libraries are silent, our progress is not, and errors pass."""

import io
import logging
import subprocess
import sys
import warnings

import pytest

from minuet.export.quiet import quiet


def test_prints_warnings_and_logs_are_held_back(capsys: pytest.CaptureFixture[str]) -> None:
    with quiet():
        print("converting")
        print("100%", file=sys.stderr)
        warnings.warn("deprecated", UserWarning, stacklevel=1)
        logging.getLogger("library").error("no extension")
    print("done")
    captured = capsys.readouterr()
    assert captured.out == "done\n" and captured.err == ""


def test_logging_speaks_again_afterwards(caplog: pytest.LogCaptureFixture) -> None:
    with quiet():
        pass
    logging.getLogger("ours").warning("heard")
    assert "heard" in caplog.text


def test_a_progress_bar_is_drawn_through_the_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    from rich.console import Console

    terminal = io.StringIO()
    monkeypatch.setattr(sys, "stderr", terminal)
    console = Console(stderr=True)
    with quiet():
        console.print("half way")
        print("chatter", file=sys.stderr)
    assert terminal.getvalue() == "half way\n"


def test_errors_pass() -> None:
    with pytest.raises(KeyError), quiet():
        raise KeyError("weight")


def test_torch_does_not_tell_what_it_lacks_of_torchvision() -> None:
    from minuet.export.shims_torch_2_13 import _translated

    heard: list[logging.LogRecord] = []

    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            heard.append(record)

    listener = Listener()
    speaker = logging.getLogger("torch.onnx._internal.exporter._registration")
    speaker.addHandler(listener)
    try:
        assert _translated.__wrapped__(18)
    finally:
        speaker.removeHandler(listener)
    assert heard == []


@pytest.mark.slow
def test_nothing_is_said_while_a_pipeline_is_read() -> None:
    """In a process of its own: libraries speak when they are first imported."""
    pytest.importorskip("diffusers")
    from tests.pipelines import build

    lines = [
        "import sys",
        "from pathlib import Path",
        "from minuet.export.sources.folder import read_folder",
        "from minuet.export.sources.pipeline import load_pipeline",
        "load_pipeline(read_folder(Path(sys.argv[1])))",
    ]
    given = [sys.executable, "-c", "\n".join(lines), str(build("sd"))]
    done = subprocess.run(given, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
