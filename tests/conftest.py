"""What all tests share: quick libraries, and nothing that reaches outside."""

import os
import socket
import tempfile
from typing import Any

import pytest

# Before any library reads them: small tensors are slower with threads, and no hub is asked.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
# What minuet keeps for its user between runs is none of the tests' business.
STATE = tempfile.TemporaryDirectory(prefix="state-")
os.environ["XDG_STATE_HOME"] = STATE.name


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """A test that opens a connection fails, here as well as on a machine without a network."""
    connect = socket.socket.connect

    def refuse(self: socket.socket, address: Any) -> None:
        if self.family in (socket.AF_INET, socket.AF_INET6):
            raise OSError(f"tests need no network, yet {address} was asked for")
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", refuse)
