"""Any Linux machine over ssh: one connection, host keys always checked, nothing left behind."""

import contextlib
import re
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import IO, Self, TextIO

from minuet.benchmarks.devices import posix
from minuet.benchmarks.devices.device import State
from minuet.benchmarks.devices.machines import PYTHON, python_machine
from minuet.benchmarks.devices.native import native_subject
from minuet.benchmarks.devices.remote import RemoteChild
from minuet.benchmarks.devices.runners import Runner
from minuet.benchmarks.devices.shell import MOST_BYTES, Done, Feed, Local, Shell
from minuet.benchmarks.subject import GoneError, Job, Subject
from minuet.contracts.errors import MinuetError, Refusal, RequestError
from minuet.contracts.report import Machine

HOST = re.compile(r"([A-Za-z_][A-Za-z0-9._-]*@)?[A-Za-z0-9][A-Za-z0-9.:_-]*")
UNREACHED = 255  # ssh's own exit code; a remote command's code is passed on

# A user's configuration may be laxer: what is said here goes before it.
STRICT = {
    "BatchMode": "yes",  # never a question that nobody answers
    "StrictHostKeyChecking": "yes",
    "ForwardAgent": "no",
    "ForwardX11": "no",
    "ClearAllForwardings": "yes",
    "PermitLocalCommand": "no",
    "ConnectTimeout": "15",
    "ServerAliveInterval": "5",
    "ServerAliveCountMax": "3",
    "LogLevel": "ERROR",
}


@dataclass(slots=True, kw_only=True)
class Ssh:
    """A Linux machine. With `python` it runs our own child there; with runners, those."""

    host: str
    python: str = "python3"
    port: int = 22
    identity: Path | None = None
    known_hosts: Path | None = None
    temporary: str = "/tmp"  # where the private folder is made; programs must be allowed there
    runners: Mapping[str, Runner] = field(default_factory=dict[str, Runner])
    shell: Shell = field(default_factory=Local)
    name: str = ""
    folder: str = ""
    notes: list[str] = field(default_factory=list[str])
    slots: dict[Path, str] = field(default_factory=dict[Path, str])
    _sent: set[str] = field(default_factory=set[str])
    _numbers: Iterator[int] = field(default_factory=lambda: count(1))
    _control: str = ""

    def __post_init__(self) -> None:
        if not HOST.fullmatch(self.host) or not 0 < self.port < 65536:
            raise RequestError(
                f"{self.host!r:.80} port {self.port}: not a host; write [user@]host."
            )
        posix.safe_name(self.temporary.strip("/"))
        posix.safe_name(self.python.strip("/"))
        self.name = self.name or f"ssh:{self.host}"

    def __enter__(self) -> Self:
        self._control = tempfile.mkdtemp(prefix="minuet-")
        try:
            made = ["mktemp", "-d", f"/{self.temporary.strip('/')}/minuet.XXXXXXXX"]
            done = self._ssh(made, seconds=60.0)
            if done.code == UNREACHED:
                raise RequestError(f"{self.name}: {done.last_words}. {advice(done.last_words)}")
            self.folder = posix.private_folder(done, self.name)
        except BaseException:
            self._hang_up()
            raise
        return self

    def __exit__(self, *exc_info: object) -> None:
        try:
            done = self._ssh(["rm", "-rf", "--", self.folder])
        except (GoneError, MinuetError) as error:
            done = Done(code=UNREACHED, err=str(error).encode())
        if done.code:
            self.notes.append(f"{self.name}: {self.folder} may be left there: {done.last_words}.")
        self._hang_up()

    def machine(self) -> Machine:
        """Its fingerprint, from our own code where Python is there."""
        if self.runners:
            return posix.linux_machine(self.run(posix.script(posix.MACHINE)).text)
        return python_machine(self.run([self.python, "-P", "-c", PYTHON]), self.name, self.python)

    def state(self) -> State:
        """What its kernel tells."""
        return posix.linux_state(self.run(posix.script(posix.STATE)).text)

    def subject(self, job: Job) -> Subject:
        """Our child at the other end of the pipe, or a native runner."""
        if self.runners:
            return native_subject(self, job, self.runners, f"subject-{next(self._numbers)}")
        return RemoteChild(job, self, self.python)

    def energy_mj(self, job: Job) -> float | Refusal:
        """Boards meter nothing that ssh could read alike on all."""
        return Refusal("energy is not metered over ssh")

    def push(self, files: Mapping[str, Path]) -> None:
        """One archive through the pipe, taken apart there."""
        new = {posix.safe_name(name): path for name, path in files.items()}
        new = {name: path for name, path in new.items() if name not in self._sent}
        if not new:
            return

        def feed(stdin: IO[bytes]) -> None:
            with tarfile.open(fileobj=stdin, mode="w|", dereference=True) as archive:
                for name, path in new.items():
                    archive.add(path, name, filter=_anonymous)

        done = self.run(["tar", "-x", "-f", "-", "-C", self.folder], seconds=3600.0, feed=feed)
        if done.code:
            raise GoneError(f"{self.name}: took no files: {done.last_words}")
        self._sent |= set(new)

    def run(
        self,
        words: Sequence[str],
        *,
        seconds: float = 60.0,
        limit: int = MOST_BYTES,
        feed: Feed | None = None,
    ) -> Done:
        """A command there."""
        done = self._ssh(words, seconds=seconds, limit=limit, feed=feed)
        if done.code == UNREACHED:
            raise GoneError(self.lost(done.last_words))
        return done

    def start(self, words: Sequence[str], errors: TextIO) -> subprocess.Popen[str]:
        """A command there that is talked to through pipes."""
        return self.shell.start(self._words(words), errors)

    def pull(self, name: str, limit: int = MOST_BYTES) -> bytes:
        """A file's bytes."""
        done = self.run(["cat", "--", f"{self.folder}/{posix.safe_name(name)}"], limit=limit)
        if done.code:
            raise GoneError(f"{self.name}: {name} cannot be had: {done.last_words}")
        return done.out

    def lost(self, words: str) -> str:
        """The one message for a connection that broke."""
        return f"the connection to {self.host} broke ({words}); what was measured is kept"

    def _ssh(
        self,
        words: Sequence[str],
        *,
        seconds: float = 60.0,
        limit: int = MOST_BYTES,
        feed: Feed | None = None,
    ) -> Done:
        return self.shell.run(self._words(words), seconds=seconds, limit=limit, feed=feed)

    def _words(self, words: Sequence[str]) -> list[str]:
        return ["ssh", "-T", *self._options(), "--", self.host, posix.joined(words)]

    def _options(self) -> list[str]:
        said = STRICT | {
            "ControlMaster": "auto",
            "ControlPath": f"{self._control}/c",
            "ControlPersist": "60",
            "Port": str(self.port),
        }
        if self.identity:
            said |= {"IdentityFile": str(self.identity), "IdentitiesOnly": "yes"}
        if self.known_hosts:
            said |= {"UserKnownHostsFile": str(self.known_hosts), "GlobalKnownHostsFile": "none"}
        return [part for key, value in said.items() for part in ("-o", f"{key}={value}")]

    def _hang_up(self) -> None:
        with contextlib.suppress(GoneError, MinuetError):
            self.shell.run(["ssh", "-O", "exit", *self._options(), "--", self.host], seconds=10.0)
        shutil.rmtree(self._control, ignore_errors=True)


def advice(words: str) -> str:
    """What to do about ssh's own complaint."""
    if "Host key verification failed" in words or "host key" in words.lower():
        return "Connect once by hand with `ssh`, compare the key's fingerprint, and accept it."
    if "Permission denied" in words:
        return "Only keys are used, never passwords: try `ssh -o BatchMode=yes` by hand."
    return "Try `ssh -o BatchMode=yes` by hand."


def _anonymous(info: tarfile.TarInfo) -> tarfile.TarInfo:
    info.uid = info.gid = 0
    info.uname = info.gname = ""
    info.mode = 0o700 if info.mode & 0o100 else 0o600
    return info
