from pathlib import Path

import numpy as np
import pytest

from minuet.benchmarks import peaks
from minuet.benchmarks.peaks import best, contenders, last_cache_bytes, measure_peaks, read_gbs
from minuet.benchmarks.peaks_model import FLOAT, INT8, INT32, UINT8, product
from minuet.contracts.errors import RequestError

SIDE = 48


def test_the_best_repetition_counts() -> None:
    import time

    naps = iter([0.03, 0.001, 0.02])
    least = best(lambda: time.sleep(next(naps)), 0.04)
    assert 0.001 <= least < 0.02


def test_a_slow_step_is_not_repeated_for_its_own_sake() -> None:
    done: list[int] = []
    best(lambda: done.append(sum(range(100_000))), 1e-9)
    assert len(done) == 1


def test_the_product_that_is_timed_is_a_product() -> None:
    import onnx
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    rng = np.random.default_rng(0)
    whole = product("MatMul", SIDE, (FLOAT, FLOAT, FLOAT))
    onnx.checker.check_model(onnx.load_from_string(whole), full_check=True)
    a = rng.normal(size=(SIDE, SIDE)).astype(np.float32)
    (found,) = ort.InferenceSession(whole, options).run(None, {"a": a})
    np.testing.assert_allclose(
        found, np.repeat(a.sum(1, keepdims=True), SIDE, 1), rtol=1e-4, atol=1e-4
    )
    codes = rng.integers(0, 256, (SIDE, SIDE), np.uint8)
    model = product("MatMulInteger", SIDE, (UINT8, INT8, INT32))
    (found,) = ort.InferenceSession(model, options).run(None, {"a": codes})
    assert np.array_equal(found[:, 0], codes.sum(1, dtype=np.int32))


def test_peaks_are_of_every_dtype_that_is_here_and_no_library_beats_its_peak(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(peaks, "SIDE", 256)
    monkeypatch.setattr(peaks, "SMALLEST", 1 << 20)
    found = measure_peaks(1, 0.5)
    assert found.threads == 1 and found.gflops.keys() == contenders().keys() >= {"fp32", "int8"}
    assert min(found.gflops.values()) > 0.1 and found.read_gbs > 0.05
    # A second look, in the same noise: of the same order, or one of the two counts wrongly.
    seconds = best(contenders()["fp32"]["onnxruntime"](1), 0.1)
    assert 0.02 < 2 * 256**3 / seconds / 1e9 / found.gflops["fp32"] < 5


def test_a_library_that_cannot_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(threads: int) -> peaks.Step:
        raise RuntimeError("no kernel")

    real = contenders()["fp32"]["onnxruntime"]
    monkeypatch.setattr(peaks, "SIDE", 64)
    monkeypatch.setattr(peaks, "SMALLEST", 1 << 20)
    monkeypatch.setattr(
        peaks, "contenders", lambda: {"fp32": {"ort": real, "x": broken}, "bf16": {"x": broken}}
    )
    assert measure_peaks(1, 0.1).gflops.keys() == {"fp32"}


def test_more_is_read_than_a_cache_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the bandwidth of a cache is taken for that of the memory."""
    sizes: list[int] = []
    monkeypatch.setattr(peaks, "last_cache_bytes", lambda: 1 << 20)
    monkeypatch.setattr(peaks, "SMALLEST", 0)
    ones = np.ones

    def noted(size: int, dtype: type[np.float32]) -> object:
        sizes.append(4 * size)
        return ones(size, dtype)

    monkeypatch.setattr(np, "ones", noted)
    assert read_gbs(2, 0.05) > 0.05
    assert sizes == [peaks.CACHES << 20]


def test_the_largest_cache_is_found(tmp_path: Path) -> None:
    for at, size in enumerate(["32K\n", "512K\n", "32M\n", "strange\n"]):
        (tmp_path / f"index{at}").mkdir()
        (tmp_path / f"index{at}" / "size").write_text(size)
    assert last_cache_bytes(tmp_path) == 32 << 20
    assert last_cache_bytes(tmp_path / "none") == 0


def test_no_time_and_no_threads_are_refused() -> None:
    with pytest.raises(RequestError, match="seconds above 0"):
        measure_peaks(1, 0.0)
