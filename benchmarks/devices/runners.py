"""Native programs that time a model -> their commands, and the strict reading of what they say.

Flags and outputs are those of the programs' own sources:

* onnxruntime_perf_test: microsoft/onnxruntime, onnxruntime/test/perftest/{command_args_parser,
  performance_runner}.cc and README.md;
* executor_runner: pytorch/executorch, examples/portable/executor_runner/executor_runner.cpp.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from minuet.benchmarks.devices.files import beside, raw_inputs, tensor_proto
from minuet.benchmarks.devices.shell import Done
from minuet.benchmarks.subject import GoneError
from minuet.contracts.errors import RequestError
from minuet.contracts.tensors import Arrays

PROVIDERS = ("cpu", "nnapi", "xnnpack", "qnn", "acl", "webgpu")
DECIMAL = r"([0-9]{1,12}(?:\.[0-9]{1,12})?(?:e[+-]?[0-9]{1,3})?)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What a runner said of one process."""

    load_ms: float
    first_ms: float
    runs_ms: tuple[float, ...]  # the first one among them only where the runner times it so


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One process of a runner."""

    folder: str  # on the device
    entry: str  # the artifact's, below it
    program: str  # the runner's own file there
    tag: str  # makes the names of this process's files
    runs: int
    threads: int  # 0: the runner's own choice
    outputs: bool = False  # keep them


class Runner(Protocol):
    """A program that runs a model many times and says how long each took."""

    @property
    def name(self) -> str:
        """What it is called in messages."""
        ...

    @property
    def binary(self) -> Path:
        """Its file on this machine."""
        ...

    @property
    def libraries(self) -> tuple[Path, ...]:
        """Files that must lie beside it."""
        ...

    def inputs(self, entry: str, inputs: Arrays, order: tuple[str, ...]) -> Mapping[str, bytes]:
        """Files that hold the inputs, by name below the folder."""
        ...

    def command(self, call: Call, order: tuple[str, ...]) -> list[str]:
        """The program and its arguments."""
        ...

    def answer(self, call: Call) -> str:
        """The file that it writes its samples to; "" where it prints them."""
        ...

    def told(self, done: Done, samples: str, call: Call) -> Told:
        """What it said.

        Raises:
            GoneError: it says something else than this version knows.
        """
        ...

    def output(self, call: Call, index: int) -> str:
        """The file of one output; "" where it keeps none."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class OrtPerfTest:
    """onnxruntime_perf_test: inputs as TensorProto files, a CSV line a run in seconds."""

    binary: Path
    libraries: tuple[Path, ...] = ()
    provider: str = "cpu"
    name: str = "onnxruntime_perf_test"

    def __post_init__(self) -> None:
        if self.provider not in PROVIDERS:
            raise RequestError(
                f"provider {self.provider!r:.40} is not known; choose from {', '.join(PROVIDERS)}."
            )

    def inputs(self, entry: str, inputs: Arrays, order: tuple[str, ...]) -> Mapping[str, bytes]:
        """Beside the model, where the program looks for them."""
        return {
            beside(entry, f"test_data_set_0/input_{index}.pb"): tensor_proto(name, inputs[name])
            for index, name in enumerate(order)
        }

    def command(self, call: Call, order: tuple[str, ...]) -> list[str]:
        """So many times, and every time is kept."""
        threads = ["-x", str(call.threads)] if call.threads else []
        counted = ["-m", "times", "-r", str(call.runs), "-e", self.provider, *threads]
        files = [f"{call.folder}/{call.entry}", f"{call.folder}/{self.answer(call)}"]
        return [call.program, *counted, *files]

    def answer(self, call: Call) -> str:
        """A file of its own: the program appends to what is there."""
        return f"{call.tag}.csv"

    def told(self, done: Done, samples: str, call: Call) -> Told:
        """Times of runs from the file; of loading and the first run from what it printed."""
        line = re.compile(rf"[^,]{{0,200}},{DECIMAL},[0-9]{{1,20}},-?[0-9]{{1,6}},[0-9]{{1,9}}")
        found = [line.fullmatch(row.strip()) for row in samples.splitlines() if row.strip()]
        if len(found) != call.runs or not all(found):
            raise GoneError(f"{self.name}: its file does not hold the times of {call.runs} runs")
        return Told(
            load_ms=1e3 * one(rf"^Session creation time cost: {DECIMAL} s", done, self.name),
            first_ms=one(rf"^First inference time cost: {DECIMAL} ms", done, self.name),
            runs_ms=tuple(1e3 * float(match[1]) for match in found if match),
        )

    def output(self, call: Call, index: int) -> str:
        """It keeps none."""
        return ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutorRunner:
    """executor_runner: inputs as raw files, a line of its log a run in milliseconds."""

    binary: Path
    libraries: tuple[Path, ...] = ()
    name: str = "executor_runner"

    def inputs(self, entry: str, inputs: Arrays, order: tuple[str, ...]) -> Mapping[str, bytes]:
        """One file an input."""
        files = enumerate(raw_inputs(inputs, order))
        return {beside(entry, f"inputs/{index}.bin"): data for index, data in files}

    def command(self, call: Call, order: tuple[str, ...]) -> list[str]:
        """Flags of gflags; the model's first method."""
        named = [
            f"{call.folder}/{beside(call.entry, f'inputs/{index}.bin')}"
            for index in range(len(order))
        ]
        flags = {
            "model_path": f"{call.folder}/{call.entry}",
            "inputs": ",".join(named),
            "num_executions": str(call.runs),
        }
        if call.threads:
            flags["cpu_threads"] = str(call.threads)
        if call.outputs:
            flags["output_file"] = f"{call.folder}/{call.tag}"
        return [call.program, *(f"--{key}={value}" for key, value in flags.items())]

    def answer(self, call: Call) -> str:
        """It prints them."""
        return ""

    def told(self, done: Done, samples: str, call: Call) -> Told:
        """Every iteration's line, in order."""
        each = re.findall(
            rf"\] Iteration ([0-9]{{1,9}}) of {call.runs}: {DECIMAL} ms$", done.both, re.M
        )
        if [int(number) for number, _ in each] != list(range(1, call.runs + 1)):
            raise GoneError(
                f"{self.name}: does not print the time of each of {call.runs} runs; build it from "
                "a newer ExecuTorch, with logging on (EXECUTORCH_ENABLE_LOGGING)"
            )
        runs = tuple(float(took) for _, took in each)
        load = one(rf"\] Model loaded in {DECIMAL} ms\.", done, self.name)
        return Told(load_ms=load, first_ms=runs[0], runs_ms=runs)

    def output(self, call: Call, index: int) -> str:
        """As the program names it."""
        return f"{call.tag}-{index}.bin"


def one(pattern: str, done: Done, name: str) -> float:
    """The one number that a program printed in a known sentence."""
    found = re.findall(pattern, done.both, re.MULTILINE)
    if len(found) != 1 or not math.isfinite(float(found[0])):
        raise GoneError(f"{name}: says {len(found)} times what matches {pattern!r}, not once")
    return float(found[0])


def chosen(runners: Mapping[str, Runner], runtime: str, where: str) -> Runner:
    """The runner that does what a runtime does here.

    Raises:
        GoneError: there is none; says how to name one.
    """
    if runtime in runners:
        return runners[runtime]
    raise GoneError(f"{where}: no runner for {runtime} was named; add {runtime}=/path/to/runner")


def program_files(runner: Runner) -> dict[str, Path]:
    """The runner and its libraries, by name below the device's folder."""
    return {path.name: path for path in (runner.binary, *runner.libraries)}
