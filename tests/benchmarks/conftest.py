"""Small reports that never were measured, for the tests of what is made of them."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from minuet.contracts.report import Machine, Report, Run

MakeRun = Callable[..., Run]
MakeReport = Callable[..., Report]


@pytest.fixture
def machine() -> Machine:
    return Machine(
        cpu="Example 9000", cores=2, memory_mib=8192, os="Linux 6.1", python="3.11.4", governor="-"
    )


@pytest.fixture
def make_run() -> MakeRun:
    def make(total: Any = None, **changes: Any) -> Run:
        samples = drawn(0) if total is None else total
        fields: dict[str, Any] = {
            "artifact": "onnx-fp32",
            "artifact_sha256": "a" * 64,
            "runtime": "ort",
            "runtime_version": "onnxruntime 1.0",
            "threads": 2,
            "samples_ms": {"load": (400.0,), "first": (150.0,), "total": tuple(samples)},
            "peak_rss_mib": 200.0,
            "bytes_on_disk": 4_000_000,
            "steps": 2,
            "nfe": 2,
            "macs": 1e9,
        }
        return Run(**fields | changes)

    return make


@pytest.fixture
def make_report(machine: Machine) -> MakeReport:
    def make(*runs: Run, **changes: Any) -> Report:
        fields: dict[str, Any] = {
            "bundle": "sticker",
            "machine": machine,
            "runs": runs,
            "clock_resolution_ns": 40.0,
            "minuet": "0.1.0",
            "seed": 0,
        }
        return Report(**fields | changes)

    return make


def drawn(seed: int, count: int = 200, middle: float = 100.0) -> tuple[float, ...]:
    """Latencies as they come: skewed, a few per cent wide."""
    rng = np.random.default_rng(seed)
    return tuple((middle * np.exp(0.04 * rng.gamma(2.0, 1.0, count))).tolist())
