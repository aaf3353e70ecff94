"""An ONNX file from elsewhere -> a part: its signature, and golden cases that it makes itself.

There is no other program to compare with: ONNX Runtime on the CPU, without its optimizations, runs
the file as it came, and what is written from it must do the same.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from minuet.contracts.artifact import MAIN
from minuet.contracts.errors import RequestError
from minuet.contracts.files import sha256_of
from minuet.contracts.tensors import DTYPES, Array, Arrays, Signature, TensorSpec
from minuet.export.bundle import Golden
from minuet.export.halve import halve
from minuet.export.onnx_graph import strip
from minuet.export.onnx_read import read_onnx

if TYPE_CHECKING:
    import onnx_ir as ir

CASES = 2
BELOW = (1000, 10, 2)  # of whole numbers drawn: times, words, places; the first that the file takes
WIDTHS = {"FLOAT": "fp32", "FLOAT16": "fp16", "BFLOAT16": "bf16"}
INTEGER = ("quantizelinear", "qlinear", "integer")  # in the names of operators of int8
FIX = "python -m onnxruntime.tools.make_dynamic_shape_fixed sets it"

Run = Callable[[Arrays], Arrays]


@dataclass(frozen=True, slots=True, kw_only=True)
class OnnxProgram:
    """A file in the place of a captured program."""

    path: Path
    signature: Signature
    precision: str  # the file's own
    sha256: str  # of the file and what lies beside it
    run: Run  # as it came: the oracle

    def graph(self, precision: str) -> ir.Model:
        """The file anew, bare; in fewer bits than its own where that is asked."""
        model = strip(read_onnx(self.path))
        return model if precision == self.precision else halve(model, precision)


@dataclass(frozen=True, slots=True, kw_only=True)
class OnnxPart:
    """What part.Part is of a module, of a file."""

    held: OnnxProgram
    cases: tuple[Golden, ...]
    name: str = MAIN

    @property
    def signature(self) -> Signature:
        return self.held.signature

    def program(self) -> OnnxProgram:
        """The file itself."""
        return self.held


def onnx_part(path: Path, seed: int = 0) -> OnnxPart:
    """A file as one program, once nothing about it is a lie.

    Raises:
        DamagedError: see onnx_read.
        RequestError: no model, custom operators, open axes, or one that ONNX Runtime cannot run.
    """
    model = read_onnx(path)
    inputs = tuple(_taken(path, value) for value in _inputs(model))
    run = _oracle(path)
    cases = _cases(inputs, run, seed)
    outputs = tuple(_given(path, name, value) for name, value in cases[0].outputs.items())
    program = OnnxProgram(
        path=path,
        signature=Signature(inputs=inputs, outputs=outputs),
        precision=precision_of(model),
        sha256=_sha256(path, model),
        run=run,
    )
    return OnnxPart(held=program, cases=cases)


def precision_of(model: ir.Model) -> str:
    """int8 where operators say so, else the type that most of the weights' bytes have."""
    if any(word in node.op_type.lower() for node in model.graph.all_nodes() for word in INTEGER):
        return "int8"
    held: Counter[str] = Counter()
    for tensor in _weights(model):
        held[tensor.dtype.name] += tensor.nbytes
    known = Counter({name: count for name, count in held.items() if name in WIDTHS})
    return WIDTHS[known.most_common(1)[0][0]] if known else "fp32"


def _inputs(model: ir.Model) -> list[ir.Value]:
    return [value for value in model.graph.inputs if value.name not in model.graph.initializers]


def _weights(model: ir.Model) -> list[Any]:
    """Every stored tensor of the graph itself."""
    values = (value.const_value for value in model.graph.initializers.values())
    return [tensor for tensor in values if tensor is not None]


def _taken(path: Path, value: ir.Value) -> TensorSpec:
    sides = tuple(value.shape) if value.shape is not None else None
    if sides is None or not all(isinstance(side, int) and side > 0 for side in sides):
        told = "any shape" if sides is None else f"the shape ({', '.join(map(str, sides))})"
        raise RequestError(
            f"{path}: its input {value.name} has {told}; a program has one size. "
            f"{FIX} (--help says how)."
        )
    dtype = str(value.dtype.numpy()) if value.dtype is not None else "an unknown type"
    return _spec(path, f"takes {value.name}", str(value.name), sides, dtype)


def _given(path: Path, name: str, value: Array) -> TensorSpec:
    return _spec(path, f"gives {name}", name, value.shape, str(value.dtype))


def _spec(path: Path, does: str, name: str, shape: Iterable[Any], dtype: str) -> TensorSpec:
    if dtype not in DTYPES:
        raise RequestError(f"{path}: {does} in {dtype}; golden cases hold {', '.join(DTYPES)}.")
    sides = tuple(map(int, shape))
    return TensorSpec(name=name, axes="?" * len(sides), shape=sides, dtype=dtype)


def _oracle(path: Path) -> Run:
    """The file as it came, run by ONNX Runtime without optimizations.

    Raises:
        RequestError: it cannot; there is nothing to compare with then.
    """
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    with _explained(path):
        session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    names = [value.name for value in session.get_outputs()]

    def run(inputs: Arrays) -> Arrays:
        with _explained(path):
            return dict(zip(names, session.run(names, dict(inputs)), strict=True))

    return run


@contextmanager
def _explained(path: Path) -> Generator[None]:
    try:
        yield
    except Exception as error:
        said = (str(error).strip() or type(error).__name__).splitlines()[0][:300]
        raise RequestError(
            f"{path}: ONNX Runtime cannot run it as it is ({said}), so there is nothing to compare "
            "with; name the model that it was made from."
        ) from error


def _cases(inputs: Sequence[TensorSpec], run: Run, seed: int) -> tuple[Golden, ...]:
    """Inputs drawn by the seed, and what the file makes of them."""
    for below in BELOW:
        try:
            return tuple(_case(inputs, run, seed, at, below) for at in range(CASES))
        except RequestError:
            if below == BELOW[-1]:
                raise
    raise AssertionError(BELOW)


def _case(inputs: Sequence[TensorSpec], run: Run, seed: int, at: int, below: int) -> Golden:
    rng = np.random.default_rng((seed, at))
    drawn = {spec.name: _drawn(spec, rng, below) for spec in inputs}
    return Golden(name=f"{at:02d}", inputs=drawn, outputs=run(drawn))


def _drawn(spec: TensorSpec, rng: np.random.Generator, below: int) -> Array:
    if spec.dtype.startswith("float"):
        return rng.standard_normal(spec.shape).astype(spec.dtype)
    most = {"bool": 2, "uint8": 256, "int8": 128}.get(spec.dtype, below)
    return rng.integers(0, min(most, below), spec.shape).astype(spec.dtype)


def _sha256(path: Path, model: ir.Model) -> str:
    """Of the file, and of what holds its weights beside it."""
    import onnx_ir as ir

    beside = {Path(row.path) for row in _weights(model) if isinstance(row, ir.ExternalTensor)}
    digests = "".join(sha256_of(one) for one in (path, *sorted(beside)))
    return hashlib.sha256(digests.encode()).hexdigest()
