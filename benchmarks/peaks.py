"""This machine, asked for its most: products of matrices and a long read -> peaks for a roofline.

A peak is what the best library at hand reached in its best repetition, on the threads that the
runs had: what the hardware could do, not what its data sheet promises.
"""

import math
import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from minuet.benchmarks.peaks_model import FLOAT, INT8, INT32, UINT8, product
from minuet.contracts.errors import RequestError
from minuet.contracts.report import Peaks

SIDE = 1536  # of the matrices: three of them leave the inner caches, and fit the last one
FEWEST = 3  # repetitions, the first of which packs and warms up
SLOW = 3  # times its seconds that a step may take for its FEWEST
CACHES = 4  # last-level caches that the bytes read would fill
SMALLEST, LARGEST = 256 << 20, 2 << 30  # bytes that are read
CACHE_FOLDER = Path("/sys/devices/system/cpu/cpu0/cache")

Step = Callable[[], object]
Maker = Callable[[int], Step]  # threads -> one product of two SIDE x SIDE matrices


def measure_peaks(threads: int = 0, seconds: float = 10.0) -> Peaks:
    """The most that this machine does now, dtype by dtype, and reads from memory.

    Args:
        threads: 0 means one a core.
        seconds: for everything together, besides importing the libraries; a product that runs
            longer than that is still run to its end.

    Raises:
        RequestError: no time, or no threads.
    """
    if seconds <= 0 or threads < 0:
        raise RequestError(
            f"peaks need seconds above 0 and threads from 0, not {seconds}, {threads}."
        )
    threads = threads or os.cpu_count() or 1
    asked = [(dtype, make) for dtype, makers in contenders().items() for make in makers.values()]
    share = seconds / (len(asked) + 1)
    gflops: dict[str, float] = {}
    for dtype, make in asked:
        with suppress(Exception):  # a build without that kernel says so in its own way
            speed = 2 * SIDE**3 / best(make(threads), share) / 1e9
            gflops[dtype] = max(speed, gflops.get(dtype, 0.0))
    return Peaks(threads=threads, gflops=gflops, read_gbs=read_gbs(threads, share))


def contenders() -> dict[str, dict[str, Maker]]:
    """dtype -> library -> what makes a product there; those that are installed."""
    found: dict[str, dict[str, Maker]] = {
        "fp32": {"onnxruntime": partial(_ort, FLOAT)},
        "int8": {"onnxruntime": partial(_ort, UINT8)},
    }
    if find_spec("openvino"):
        found["fp32"]["openvino"] = partial(_openvino, "f32")
        found["bf16"] = {"openvino": partial(_openvino, "bf16")}
    if find_spec("torch"):
        found["fp32"]["torch"] = partial(_torch, "float32")
        found.setdefault("bf16", {})["torch"] = partial(_torch, "bfloat16")
        found["int8"]["torch"] = partial(_torch, "int8")
    return found


def best(step: Step, seconds: float) -> float:
    """The least time of a step, seconds: of as many as fit, and FEWEST unless they are slow."""
    start = now = time.perf_counter()
    least, done = math.inf, 0
    while now - start < (seconds if done >= FEWEST else SLOW * seconds) or not done:
        step()
        before, now = now, time.perf_counter()
        least, done = min(least, now - before), done + 1
    return least


def read_gbs(threads: int, seconds: float) -> float:
    """1e9 bytes a second that so many threads read together, each its own part of one array."""
    size = min(max(SMALLEST, CACHES * last_cache_bytes()), LARGEST)
    parts = np.array_split(np.ones(size // 4, np.float32), threads)
    with ThreadPoolExecutor(threads) as pool:
        # Numpy lets go of the interpreter while it reads; which loop is the quicker differs.
        reductions = (np.add.reduce, np.maximum.reduce)
        steps: list[Step] = [partial(_all, pool, reduce, parts) for reduce in reductions]
        taken = min(best(step, seconds / len(steps)) for step in steps)
    return size / taken / 1e9


def _all(pool: ThreadPoolExecutor, reduce: Callable[..., Any], parts: Sequence[Any]) -> None:
    list(pool.map(reduce, parts))


def last_cache_bytes(folder: Path = CACHE_FOLDER) -> int:
    """The largest cache that the system tells of; 0 where it tells of none."""
    units = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}
    found = [0]
    for path in folder.glob("index*/size"):
        said = path.read_text(encoding="ascii").strip()
        if said[:-1].isdigit() and said[-1] in units:
            found.append(int(said[:-1]) * units[said[-1]])
    return max(found)


def _ort(kind: int, threads: int) -> Step:
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    model = product("MatMul", SIDE, (FLOAT, FLOAT, FLOAT))
    if kind == UINT8:
        model = product("MatMulInteger", SIDE, (UINT8, INT8, INT32))
    session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    inputs = {"a": np.ones((SIDE, SIDE), np.float32 if kind == FLOAT else np.uint8)}
    return lambda: session.run(None, inputs)


def _openvino(precision: str, threads: int) -> Step:
    import openvino
    from openvino import opset13 as ops

    a = ops.parameter([SIDE, SIDE], np.float32)
    weight = ops.constant(np.ones((SIDE, SIDE), np.float32))
    model = openvino.Model([ops.matmul(a, weight, False, False)], [a])
    config = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": precision,
        "INFERENCE_NUM_THREADS": str(threads),
    }
    request = openvino.Core().compile_model(model, "CPU", config).create_infer_request()
    inputs = {0: np.ones((SIDE, SIDE), np.float32)}
    return lambda: request.infer(inputs)


def _torch(dtype: str, threads: int) -> Step:
    import torch

    kind: Any = getattr(torch, dtype)
    a, b = torch.ones(SIDE, SIDE, dtype=kind), torch.ones(SIDE, SIDE, dtype=kind)
    multiply: Any = torch._int_mm if dtype == "int8" else torch.mm

    def step() -> None:
        with _torch_threads(threads), torch.inference_mode():
            multiply(a, b)

    return step


@contextmanager
def _torch_threads(threads: int) -> Iterator[None]:
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)
