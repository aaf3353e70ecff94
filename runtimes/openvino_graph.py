"""OpenVINO's graph as it runs, with its counters -> operators: time, kernel, precision and work."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from minuet.contracts.report import Operator
from minuet.contracts.stages import OTHER, stage_of
from minuet.runtimes.work import CONVOLUTIONS, PRODUCTS, TRANSPOSED, Held, Shape, moved_bytes
from minuet.runtimes.work import multiply_accumulates as work_of

UNIT, REFERENCE = "CPU", "CPU ref"  # a kernel made for this processor, or a plain loop
DTYPES = {"f32": "fp32", "f16": "fp16", "bf16": "bf16", "u8": "int8", "i8": "int8"}
KIND, ORIGINALS, PRECISION = WORDS = "layerType", "originalLayersNames", "runtimePrecision"
ITEM_BYTES = {"bf16": 2.0, "fp16": 2.0, "int8": 1.0}
WEIGHED = CONVOLUTIONS | TRANSPOSED | PRODUCTS
FUSED = "Subgraph"  # many small operators, now and then a product among them, as one kernel


@dataclass(frozen=True, slots=True, kw_only=True)
class Counter:
    """One row of OpenVINO's counters."""

    ms: float
    kind: str  # finer than the graph's, e.g. Add of its Eltwise
    kernel: str  # e.g. jit_avx512_bf16, ref_any_f32


def counters(request: Any) -> dict[str, Counter]:
    """By name, of what ran; means over all runs so far."""
    return {
        row.node_name: Counter(
            ms=row.real_time.total_seconds() * 1e3, kind=row.node_type, kernel=row.exec_type
        )
        for row in request.get_profiling_info()
        if row.status == row.Status.EXECUTED
    }


def without_first(
    told: Mapping[str, Counter], first: Mapping[str, Counter], runs: int
) -> dict[str, Counter]:
    """Means over 1 + runs, less the first run: that one fills caches and picks kernels."""
    found = {}
    for name, row in told.items():
        early = first[name].ms if name in first else row.ms
        found[name] = replace(row, ms=max(0.0, ((1 + runs) * row.ms - early) / runs))
    return found


def source_work(model: Any) -> dict[str, float]:
    """Name -> multiply-accumulates of the contractions of a model that is not compiled yet."""
    found = {}
    for node in model.get_ops():
        kind = str(node.get_type_name())
        if kind in WEIGHED and (macs := _macs(kind, node)):
            found[str(node.get_friendly_name())] = macs
    return found


def operators(
    graph: Any,
    told: Mapping[str, Counter],
    stages: Mapping[str, str],
    source: Mapping[str, float],
) -> Iterator[Operator]:
    """What ran, in order of execution.

    What OpenVINO made itself (reorders, pieces of norms) has no name of the program's: it belongs
    to the stage that wrote its first input.

    Args:
        graph: CompiledModel.get_runtime_model().
        stages: operator or value -> stage.
        source: as `source_work` tells it, for kernels that hold several operators.
    """
    seen: dict[str, str] = {}
    for node in graph.get_ordered_ops():
        name, words = str(node.get_friendly_name()), _words(node)
        originals = words.get(ORIGINALS, "").split(",")
        seen[name] = _stage(node, (name, *originals), stages, seen)
        if row := told.get(name):
            macs = _macs(words.get(KIND, ""), node)
            if row.kind == FUSED:
                macs = sum(source.get(one, 0.0) for one in originals)
            yield _operator(node, row, words, seen[name], macs)


def _operator(
    node: Any, row: Counter, words: Mapping[str, str], stage: str, macs: float | None
) -> Operator:
    dtype = _dtype(row.kernel, words)
    return Operator(
        name=str(node.get_friendly_name()),
        kind=row.kind,
        unit=REFERENCE if row.kernel.startswith("ref") else UNIT,
        stage=stage or OTHER,
        dtype=dtype,
        p50_ms=row.ms,
        macs=macs,
        moved_bytes=_moved(node, words.get(KIND, ""), ITEM_BYTES.get(dtype, 4.0)),
    )


def _stage(
    node: Any, names: tuple[str, ...], stages: Mapping[str, str], seen: Mapping[str, str]
) -> str:
    for name in names:
        if (found := stage_of(name, stages)) != OTHER:
            return found
    return next((stage for source in _sources(node) if (stage := seen.get(source))), "")


def _sources(node: Any) -> Iterator[str]:
    for port in node.inputs():
        yield str(port.get_source_output().get_node().get_friendly_name())


def _macs(kind: str, node: Any) -> float | None:
    inputs, outputs = _shapes(node.inputs()), _shapes(node.outputs())
    if inputs is None or outputs is None:
        return None
    weight = inputs[1] if len(inputs) > 1 else None
    if weight and kind in CONVOLUTIONS | TRANSPOSED and len(weight) > len(inputs[0]):
        weight = (weight[0] * weight[1], *weight[2:])  # groups stand in front
    return work_of(kind, inputs, outputs, weight)


def _dtype(kernel: str, words: Mapping[str, str]) -> str:
    """What a kernel's name ends in; weights that it unpacks first may be narrower."""
    ends, told = kernel.rpartition("_")[2].lower(), words.get(PRECISION, "")
    return DTYPES.get(ends) or DTYPES.get(told, told)


def _moved(node: Any, kind: str, item_bytes: float) -> float | None:
    inputs, outputs = _held(node.inputs()), _held(node.outputs())
    if inputs is None or outputs is None:
        return None
    if kind in WEIGHED and len(inputs) > 1:
        # The graph shows a weight as the file has it; it was packed in the kernel's precision.
        inputs[1] = Held(inputs[1].shape, min(inputs[1].item_bytes, item_bytes))
    return moved_bytes(kind, inputs, outputs)


def _shapes(ports: Any) -> list[Shape] | None:
    """None where a size is known only while it runs."""
    partial = [port.get_partial_shape() for port in ports]
    return [tuple(one.to_shape()) for one in partial] if all(p.is_static for p in partial) else None


def _held(ports: Any) -> list[Held] | None:
    shapes = _shapes(ports)
    if shapes is None:
        return None
    sizes = [port.get_element_type().bitwidth / 8 for port in ports]
    return [Held(shape, size) for shape, size in zip(shapes, sizes, strict=True)]


def _words(node: Any) -> dict[str, str]:
    told = node.get_rt_info()
    return {key: str(told[key].astype(str)) for key in WORDS if key in told}
