"""A PostgreSQL server of a test's own, from the binaries that are installed."""

import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

PLACES = [
    *sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True),
    *map(Path, os.get_exec_path()),
]
BIN = next(
    (place for place in PLACES if (place / "initdb").exists() and (place / "postgres").exists()),
    None,
)
NOBODY = "nobody"  # the server refuses to run as root


class Postgres:
    """A server that listens at a socket in its own folder, and nowhere else."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.address = f"postgresql://tester:secret@/postgres?host={folder}"
        self.process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        """Start, and wait until it answers."""
        import psycopg

        assert BIN
        data, quiet = self.folder / "data", subprocess.DEVNULL
        command = [f"{BIN}/postgres", "-D", f"{data}", "-k", f"{self.folder}"]
        command += ["-c", "listen_addresses="]
        process = subprocess.Popen(command, stdout=quiet, stderr=quiet, **_someone())
        self.process = process
        end = time.monotonic() + 30
        while True:
            try:
                psycopg.connect(self.address).close()
                return
            except psycopg.OperationalError:
                assert process.poll() is None and time.monotonic() < end
                time.sleep(0.1)

    def stop(self) -> None:
        """Stop at once, connections or not."""
        assert self.process
        self.process.send_signal(signal.SIGINT)
        self.process.wait(30)


def _someone() -> dict[str, Any]:
    """Who runs the server: us, unless we are root."""
    if os.geteuid():
        return {}
    one = pwd.getpwnam(NOBODY)
    return {"user": one.pw_uid, "group": one.pw_gid, "extra_groups": [], "cwd": "/"}


@contextlib.contextmanager
def postgres() -> Iterator[Postgres]:
    """A running server with an empty database."""
    assert BIN
    folder = Path(tempfile.mkdtemp(prefix="postgres-", dir="/tmp"))  # a socket's path is short
    try:
        if not os.geteuid():
            shutil.chown(folder, NOBODY)
        command = [f"{BIN}/initdb", "-D", f"{folder}/data", "-U", "tester", "-A", "trust", "-N"]
        done = subprocess.run(command, capture_output=True, text=True, check=False, **_someone())
        assert done.returncode == 0, done.stderr
        server = Postgres(folder)
        server.start()
        yield server
        server.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
