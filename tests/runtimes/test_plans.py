"""What Core ML's plan and TensorRT's profiler say, as far as it can be read without either."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from minuet.runtimes.coreml import _operations, _planned
from minuet.runtimes.tensorrt import _layer, _profiler


class MLNeuralEngineComputeDevice:
    """A device by the name that coremltools gives its class."""


class MLCPUComputeDevice:
    """Another."""


def operation(kind: str, *blocks: Any) -> SimpleNamespace:
    name = SimpleNamespace(name=kind.rpartition(".")[2] + "_0")
    return SimpleNamespace(operator_name=kind, outputs=[name], blocks=blocks)


class Plan:
    """Half of the time is convolution, on the Neural Engine; constants run nowhere."""

    def get_compute_device_usage_for_mlprogram_operation(self, one: Any) -> Any:
        if one.operator_name == "const":
            return None
        conv = one.operator_name.endswith("conv")
        device = MLNeuralEngineComputeDevice() if conv else MLCPUComputeDevice()
        return SimpleNamespace(preferred_compute_device=device)

    def get_estimated_cost_for_mlprogram_operation(self, one: Any) -> Any:
        return SimpleNamespace(weight=0.5) if one.operator_name.endswith("conv") else None


def test_a_plan_tells_units_and_estimates() -> None:
    inner = SimpleNamespace(operations=[operation("ios17.conv")])
    block = SimpleNamespace(operations=[operation("const"), operation("cond", inner)])
    const, cond, conv = [_planned(Plan(), one, 8.0) for one in _operations(block)]
    assert const is None and cond is not None and conv is not None
    assert (cond.kind, cond.unit, cond.p50_ms) == ("cond", "CPU", 0.0)
    assert (conv.name, conv.kind, conv.unit, conv.p50_ms) == ("conv_0", "conv", "NeuralEngine", 4.0)


def test_tensorrts_profiler_is_one_and_collects_layers() -> None:
    engine = pytest.importorskip("tensorrt_rtx_libs") and pytest.importorskip(
        "tensorrt_rtx_bindings"
    )
    profiler = _profiler(engine)
    assert isinstance(profiler, engine.IProfiler)
    report: Callable[[str, float], None] = profiler.report_layer_time
    report("conv + relu", 0.25)
    (layer,) = [_layer(*row) for row in profiler.rows]
    assert (layer.name, layer.unit, layer.p50_ms) == ("conv + relu", "GPU", 0.25)
