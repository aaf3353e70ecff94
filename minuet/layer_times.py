"""A program and two treatments of all its layers -> what each layer takes in either, in seconds."""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, cast

from minuet.contracts.stages import OTHER
from minuet.contracts.tensors import Arrays

if TYPE_CHECKING:
    from minuet.contracts.artifact import Artifact
    from minuet.contracts.runtime import Watcher
    from minuet.export.capture import Program

ROUNDS = 10  # each of BURST runs in turn, so that a neighbour's noise falls on both alike
BURST = 4
Times = Mapping[str, float]  # layer -> seconds a run


def layer_times(
    programs: Mapping[str, Program],
    layers: Collection[str],
    inputs: Arrays,
    runtime: str = "ort",
    *,
    threads: int = 0,
) -> dict[str, Times]:
    """Write programs as ONNX, run them watched and in turns, and sum operators by layer.

    What a layer takes is its own operators and the rounding of its input and output: not what a
    runtime does between layers of different layouts. A profiler slows what it watches, the quick
    operators most. So times are good for comparing layers; what a choice gains is measured whole.

    Args:
        programs: by precision, fp32 or int8.
        layers: by module path.
        inputs: one call's.

    Returns:
        By precision, each layer's median; 0 of layers that the runtime fused out of sight.
    """
    from minuet.runtimes.table import runtime as named

    watcher = cast("Watcher", named(runtime))
    with tempfile.TemporaryDirectory(prefix="minuet-layers-") as folder:
        root = Path(folder)
        made = {name: _written(root, one, name, layers) for name, one in programs.items()}
        seen: dict[str, dict[str, list[float]]] = {
            name: {layer: [] for layer in layers} for name in programs
        }
        for _ in range(ROUNDS):
            for name, artifact in made.items():
                told = watcher.stages(
                    root, artifact, programs[name].signature, inputs, runs=BURST, threads=threads
                )
                for layer, ms in told.stages_ms.items():
                    if layer != OTHER:
                        seen[name][layer] += ms
    return {name: {layer: _middle(ms) for layer, ms in rows.items()} for name, rows in seen.items()}


def _written(root: Path, program: Program, precision: str, layers: Collection[str]) -> Artifact:
    from minuet.export.onnx_layers import noting_layers
    from minuet.export.to_onnx import export_onnx
    from minuet.quantize import onnx_form

    finish = onnx_form.finish if precision == "int8" else None
    return export_onnx(program, root, precision, note=noting_layers(layers), finish=finish)


def _middle(samples_ms: list[float]) -> float:
    return statistics.median(samples_ms) / 1e3 if samples_ms else 0.0
