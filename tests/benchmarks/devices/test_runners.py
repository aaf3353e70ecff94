"""What the runners print is put together from their sources' format strings, and then broken."""

from pathlib import Path

import numpy as np
import onnx
import onnx.numpy_helper
import pytest

from minuet.benchmarks.devices.files import DTYPES, beside, raw_inputs, tensor_proto
from minuet.benchmarks.devices.runners import Call, ExecutorRunner, OrtPerfTest, Told, chosen
from minuet.benchmarks.devices.shell import Done
from minuet.benchmarks.subject import GoneError
from minuet.contracts.errors import RequestError

CALL = Call(folder="/t", entry="b/m.onnx", program="/t/perf", tag="s-1", runs=2, threads=0)
PRINTED = (
    "Session creation time cost: 0.0421 s\nFirst inference time cost: 57 ms\n"
    "Total inference time cost: 0.0601 s\n"
)
SAMPLES = "m,0.0301,91234304,48,0\nm,3.05e-02,91234304,-1,1\n"
ORT = OrtPerfTest(binary=Path("perf"))
LOG = (
    "I 00:00:00.018214 executorch:executor_runner.cpp:512] Model loaded in 17.902000 ms.\n"
    "I 00:00:00.063214 executorch:executor_runner.cpp:667] Iteration 1 of 2: 61.250000 ms\n"
    "I 00:00:00.103214 executorch:executor_runner.cpp:667] Iteration 2 of 2: 40.500000 ms\n"
)
EXECUTORCH = ExecutorRunner(binary=Path("executor_runner"))


@pytest.mark.parametrize("dtype", DTYPES)
def test_inputs_are_read_by_onnx_itself(dtype: str) -> None:
    value = (np.arange(2 * 150).reshape(2, 150) % 2).astype(dtype)
    proto = onnx.TensorProto.FromString(tensor_proto("an input", value.T))
    assert proto.name == "an input"
    np.testing.assert_array_equal(onnx.numpy_helper.to_array(proto), value.T)
    assert onnx.numpy_helper.to_array(proto).dtype == np.dtype(dtype)


def test_a_scalar_and_a_foreign_byte_order_are_inputs_too() -> None:
    scalar = onnx.TensorProto.FromString(tensor_proto("s", np.array(3.5, dtype=np.float32)))
    assert onnx.numpy_helper.to_array(scalar) == 3.5
    big = np.array([1, 2], dtype=">i4")
    assert list(raw_inputs({"x": big}, ("x",))) == [b"\1\0\0\0\2\0\0\0"]


def test_onnx_runtime_is_asked_for_so_many_runs_and_no_more() -> None:
    assert ORT.command(CALL, ("x",)) == [
        *("/t/perf", "-m", "times", "-r", "2", "-e", "cpu", "/t/b/m.onnx", "/t/s-1.csv")
    ]
    assert list(ORT.inputs(CALL.entry, {"x": np.zeros(1)}, ("x",))) == [
        "b/test_data_set_0/input_0.pb"
    ]
    assert beside("m.onnx", "x") == "x"


def test_onnx_runtimes_words_are_read() -> None:
    told = ORT.told(Done(code=0, out=PRINTED.encode()), SAMPLES, CALL)
    assert told.load_ms == pytest.approx(42.1) and told.first_ms == 57.0
    assert told.runs_ms == pytest.approx([30.1, 30.5])


@pytest.mark.parametrize(
    ("printed", "samples", "said"),
    [
        (PRINTED, "", "does not hold the times of 2 runs"),
        (PRINTED, SAMPLES + SAMPLES, "times of 2 runs"),
        (PRINTED, SAMPLES.replace("0.0301", "nan"), "times of 2 runs"),
        (PRINTED, SAMPLES.replace("0.0301", "-0.0301"), "times of 2 runs"),
        (PRINTED, SAMPLES.replace("m,0.0301", "x" * 300 + ",0.0301"), "times of 2 runs"),
        ("", SAMPLES, "says 0 times"),
        (PRINTED + PRINTED, SAMPLES, "says 2 times"),
        (PRINTED.replace("0.0421", "inf"), SAMPLES, "says 0 times"),
        (PRINTED.replace("0.0421", "1e999"), SAMPLES, "says 1 times"),
    ],
)
def test_other_words_of_onnx_runtime_are_refused(printed: str, samples: str, said: str) -> None:
    with pytest.raises(GoneError, match=said):
        ORT.told(Done(code=0, out=printed.encode()), samples, CALL)


def test_executorchs_words_are_read_from_its_log() -> None:
    told = EXECUTORCH.told(Done(code=0, err=LOG.encode()), "", CALL)
    assert told == Told(load_ms=17.902, first_ms=61.25, runs_ms=(61.25, 40.5))
    assert EXECUTORCH.command(CALL, ("x", "y")) == [
        "/t/perf",
        "--model_path=/t/b/m.onnx",
        "--inputs=/t/b/inputs/0.bin,/t/b/inputs/1.bin",
        "--num_executions=2",
    ]


@pytest.mark.parametrize(
    "log",
    [
        "",
        LOG.replace("Iteration 2", "Iteration 1"),
        LOG.replace("of 2", "of 3"),
        LOG.replace("40.500000", "nan"),
        "Model executed successfully 2 time(s) in 101.750000 ms.\n",  # all that older ones say
    ],
)
def test_an_executor_runner_that_does_not_tell_each_run_is_refused(log: str) -> None:
    with pytest.raises(GoneError, match="build it from a newer ExecuTorch"):
        EXECUTORCH.told(Done(code=0, err=log.encode()), "", CALL)


def test_a_provider_is_one_that_phones_have() -> None:
    with pytest.raises(RequestError, match="provider 'cuda' is not known; choose from cpu"):
        OrtPerfTest(binary=Path("perf"), provider="cuda")
    with pytest.raises(GoneError, match="add tensorrt=/path/to/runner"):
        chosen({"ort": ORT}, "tensorrt", "adb:X")
