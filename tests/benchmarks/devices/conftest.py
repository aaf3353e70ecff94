"""A tiny bundle, and a real sshd of the test's own on this machine."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from minuet.benchmarks.subject import Job
from minuet.contracts.artifact import Artifact, FileEntry, Manifest
from minuet.contracts.files import sha256_of, write_json
from minuet.contracts.tensors import Signature, TensorSpec

SSHD = shutil.which("sshd") or "/usr/sbin/sshd"
WIDTH = 64


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """y = x @ x + 1 as ONNX, and stand-ins for the formats that cannot run here."""
    folder = tmp_path / "bundle"
    (folder / "onnx-fp32").mkdir(parents=True)
    shape = [WIDTH, WIDTH]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)
    one = helper.make_tensor("one", TensorProto.FLOAT, [1], [1.0])
    nodes = [
        helper.make_node("MatMul", ["x", "x"], ["z"]),
        helper.make_node("Add", ["z", "one"], ["y"]),
    ]
    model = helper.make_model(
        helper.make_graph(nodes, "tiny", [x], [y], [one]),
        opset_imports=[helper.make_opsetid("", 18)],
        ir_version=9,
    )
    onnx.save(model, str(folder / "onnx-fp32" / "model.onnx"))
    (folder / "executorch-fp32").mkdir()
    (folder / "executorch-fp32" / "model.pte").write_bytes(b"pte")
    package = folder / "coreml-fp16" / "model.mlpackage"
    package.mkdir(parents=True)
    (package / "Manifest.json").write_text("{}")
    write_json(folder / "manifest.json", manifest_of(folder).to_json())
    return folder


def manifest_of(folder: Path) -> Manifest:
    spec = TensorSpec(name="x", axes="HW", shape=(WIDTH, WIDTH), dtype="float32")
    out = TensorSpec(name="y", axes="HW", shape=(WIDTH, WIDTH), dtype="float32")
    entries = {
        ("onnx", "fp32"): ("onnx-fp32/model.onnx", "onnx-fp32/model.onnx"),
        ("executorch", "fp32"): ("executorch-fp32/model.pte", "executorch-fp32/model.pte"),
        ("coreml", "fp16"): (
            "coreml-fp16/model.mlpackage",
            "coreml-fp16/model.mlpackage/Manifest.json",
        ),
    }
    artifacts = tuple(
        Artifact(
            target=target,
            precision=precision,
            entry=entry,
            files=(entry_of(folder, file),),
            requires={},
        )
        for (target, precision), (entry, file) in entries.items()
    )
    return Manifest(
        name="tiny",
        family="test",
        programs={"main": Signature(inputs=(spec,), outputs=(out,))},
        sampler={},
        artifacts=artifacts,
        files=(),
        minuet="0",
        source_sha256="",
    )


def entry_of(folder: Path, path: str) -> FileEntry:
    file = folder / path
    return FileEntry(path=path, bytes=file.stat().st_size, sha256=sha256_of(file))


@pytest.fixture
def x() -> np.ndarray:
    return np.random.default_rng(0).standard_normal((WIDTH, WIDTH)).astype(np.float32)


@pytest.fixture
def onnx_job(bundle: Path, x: np.ndarray) -> Job:
    return Job(
        runtime="minuet.runtimes.ort:OrtRuntime",
        bundle=bundle,
        artifact="onnx-fp32",
        inputs={"x": x},
        threads=1,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A running sshd, and what a client needs for it."""

    process: "subprocess.Popen[bytes]"
    port: int
    identity: Path
    known_hosts: Path

    def word(self, *options: str) -> str:
        """How the command line names it."""
        parts = (
            f"ssh:{user()}@127.0.0.1",
            f"port={self.port}",
            f"identity={self.identity}",
            f"known_hosts={self.known_hosts}",
            *options,
        )
        return ",".join(parts)

    def cut(self) -> int:
        """Kill every connection, not the server; how many processes that were."""
        below = children(self.process.pid)
        for pid in below:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return len(below)


def user() -> str:
    return subprocess.run(["id", "-un"], capture_output=True, text=True, check=True).stdout.strip()


def children(parent: int) -> list[int]:
    """The processes that a process started itself."""
    return [
        int(stat.parent.name)
        for stat in Path("/proc").glob("[0-9]*/stat")
        if _parent(stat) == parent
    ]


def _parent(stat: Path) -> int:
    with contextlib.suppress(OSError):
        return int(stat.read_text().rpartition(")")[2].split()[1])
    return 0


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A private sshd on 127.0.0.1 with keys of its own; skipped where there is none."""
    if not (Path(SSHD).exists() and shutil.which("ssh") and shutil.which("ssh-keygen")):
        pytest.skip("not run: needs sshd and ssh (apt-get install openssh-server)")
    folder = tmp_path_factory.mktemp("sshd")
    for name in ("host", "user"):
        key = [
            "ssh-keygen",
            "-q",
            "-t",
            "ed25519",
            "-N",
            "",
            "-C",
            "test",
            "-f",
            f"{folder}/{name}",
        ]
        subprocess.run(key, check=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
    config = folder / "sshd_config"
    config.write_text(
        f"ListenAddress 127.0.0.1\nPort {port}\nHostKey {folder}/host\nPidFile {folder}/pid\n"
        f"AuthorizedKeysFile {folder}/user.pub\nStrictModes no\nUsePAM no\n"
        "PasswordAuthentication no\nKbdInteractiveAuthentication no\n"
        "PermitRootLogin prohibit-password\nMaxSessions 20\n"
        "SetEnv SHLVL=1\n"  # bash then leaves the user's own .bashrc alone, which may be slow
    )
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # Debian's init script makes it
    process = subprocess.Popen([SSHD, "-D", "-e", "-f", config], stderr=subprocess.PIPE)
    assert process.stderr
    said = process.stderr.readline().decode()
    if "Server listening" not in said:
        process.kill()
        pytest.skip(f"not run: sshd does not start here: {said.strip()}")
    host = (folder / "host.pub").read_text()
    known = folder / "known_hosts"
    known.write_text(f"[127.0.0.1]:{port} {host}")
    try:
        yield Server(process=process, port=port, identity=folder / "user", known_hosts=known)
    finally:
        process.terminate()
        process.wait()
        process.stderr.close()
