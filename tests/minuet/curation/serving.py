"""`minuet curate` as a process of its own, on this machine alone."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Self


class Served:
    """A running server; `url` is what it printed."""

    def __init__(self, run: Path, *options: str, env: dict[str, str] | None = None) -> None:
        command = [sys.executable, "-m", "minuet", "curate", str(run), *options]
        command += [] if env else ["--no-browser"]
        given, pipe = {**os.environ, **(env or {})}, subprocess.PIPE
        self.process = subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, env=given)
        self.said = ""
        assert self.process.stdout
        for line in self.process.stdout:
            self.said += line
            if "Ctrl-C" in line:
                break
        found = re.search(r"http://\S+", self.said)
        assert found, self.said + (self.process.stderr.read() if self.process.stderr else "")
        self.url = found[0]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        if self.process.poll() is None:
            self.kill()
        for stream in (self.process.stdout, self.process.stderr):
            if stream:
                stream.close()

    @property
    def port(self) -> str:
        """The port it listens at."""
        return self.url.split(":")[2].partition("/")[0]

    def kill(self) -> None:
        """As a power failure would."""
        self.process.kill()
        self.process.wait()

    def interrupt(self) -> tuple[int, str, str]:
        """Ctrl-C: the exit code and what it said last, to both."""
        self.process.send_signal(signal.SIGINT)
        out, err = self.process.communicate(timeout=20)
        return self.process.returncode, out, err
