"""ONNX Runtime's profile -> the runs that it tells of: each operator's time, provider and work."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from minuet.contracts.report import Operator
from minuet.contracts.stages import plain
from minuet.runtimes.onnx_weights import position
from minuet.runtimes.watched import Run
from minuet.runtimes.work import Held, Shape, moved_bytes, multiply_accumulates

KERNEL = "_kernel_time"  # what the profiler writes behind an operator's name
HOLDERS = {"If", "Loop", "Scan"}  # their time is that of the operators inside, told as well
INTEGER = {
    *("ConvInteger", "MatMulInteger", "MatMulIntegerToFloat", "DynamicQuantizeMatMul", "QGemm"),
    *("QLinearConv", "QLinearConvTranspose", "QLinearMatMul"),
}
DTYPES = {"float": "fp32", "float16": "fp16", "bfloat16": "bf16", "uint8": "int8"}
ITEM_BYTES = {
    **dict.fromkeys(("bool", "int8", "uint8", "float8e4m3fn", "float8e5m2"), 1.0),
    **dict.fromkeys(("float16", "bfloat16", "int16", "uint16"), 2.0),
    **dict.fromkeys(("double", "int64", "uint64"), 8.0),
    **dict.fromkeys(("int4", "uint4"), 0.5),
}
Event = Mapping[str, Any]


def runs_of(events: Iterable[Event], weights: Mapping[str, Shape]) -> list[Run]:
    """For each run its time and its operators in order; they ran one after another."""
    found: list[Run] = []
    operators: list[Operator] = []
    for event in sorted(events, key=lambda row: row["ts"] + row["dur"]):
        name = str(event["name"])
        if event["cat"] == "Node" and name.endswith(KERNEL):
            if event["args"].get("op_name") not in HOLDERS:
                operators.append(_operator(name.removesuffix(KERNEL), event, weights))
        elif name == "model_run":
            found.append((event["dur"] / 1e3, operators))
            operators = []
    return found


def _operator(name: str, event: Event, weights: Mapping[str, Shape]) -> Operator:
    told = event["args"]
    kind = str(told.get("op_name", ""))
    types, inputs = _tensors(told.get("input_type_shape", ()))
    _, outputs = _tensors(told.get("output_type_shape", ()))
    weight = weights.get(name) or weights.get(plain(name))
    shown = _shown(kind, inputs, weight)
    packed = [Held(weight, 1.0 if kind in INTEGER else 4.0)] if weight and shown is None else []
    shapes = [one.shape for one in inputs], [one.shape for one in outputs]
    return Operator(
        name=name,
        kind=kind,
        unit=str(told.get("provider", "")),
        dtype="int8" if kind in INTEGER else types[0] if types else "",
        p50_ms=event["dur"] / 1e3,
        macs=multiply_accumulates(kind, *shapes, weight or shown),
        moved_bytes=moved_bytes(kind, [*inputs, *packed], outputs),
    )


def _shown(kind: str, inputs: Sequence[Held], weight: Shape | None) -> Shape | None:
    """The weight as the profile has it: none where it was packed, padded where channels are."""
    at = position(kind)
    shape = inputs[at].shape if len(inputs) > at else ()
    return shape if len(shape) >= 2 and (not weight or len(shape) == len(weight)) else None


def _tensors(rows: Iterable[Mapping[str, Sequence[int]]]) -> tuple[list[str], list[Held]]:
    """[{"float": [1, 3]}] -> what was computed in, and shapes."""
    pairs = [pair for row in rows for pair in row.items()]
    held = [Held(tuple(shape), ITEM_BYTES.get(name, 4.0)) for name, shape in pairs]
    return [DTYPES.get(name, name) for name, _ in pairs], held
