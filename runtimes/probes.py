"""A saved artifact and inputs -> values inside it, by name: for finding where it went wrong."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from minuet.contracts.probe import Tap
from minuet.contracts.tensors import Array, Arrays

# What exporters append to the name of the node that a value came from.
SUFFIX = re.compile(r"(_cast_fp(16|32))+$|_cast_(u?int\d+|bool)$|\.(half|float|bf16)$")


def matched(found: Iterable[tuple[str, str]], names: Mapping[str, str]) -> list[Tap]:
    """Values, as (name, op) in order of execution, that the program knows too; the last of equals.

    The last, because a cast that an exporter put behind a node bears the node's name as well.
    """
    rows: dict[str, Tap] = {}
    for name, op in found:
        node = names.get(name) or names.get(SUFFIX.sub("", name))
        if node:
            rows.pop(node, None)
            rows[node] = Tap(node=node, name=name, op=op)
    return list(rows.values())


@dataclass(slots=True)
class OnnxProbe:
    """An ONNX file with intermediate values added to its outputs, run by ONNX Runtime."""

    path: Path
    inputs: Arrays
    whole: bool = True
    model: Any = field(init=False, default=None)

    def __post_init__(self) -> None:
        import onnx

        self.model = onnx.load(str(self.path), load_external_data=False)

    def taps(self, names: Mapping[str, str]) -> list[Tap]:
        """The nodes' outputs that bear a name of the program's."""
        rows = ((out, node.op_type) for node in self.model.graph.node for out in node.output)
        return matched(rows, names)

    def values(self, taps: Sequence[Tap]) -> dict[str, Array]:
        """One run of a copy that gives these values too."""
        import onnxruntime as ort

        options = ort.SessionOptions()
        options.log_severity_level = 3
        # Weights in files beside the model are looked for where the model came from.
        key = "session.model_external_initializers_file_folder_path"
        options.add_session_config_entry(key, str(self.path.parent))
        tapped = with_outputs(self.model, [tap.name for tap in taps])
        session = ort.InferenceSession(tapped, options, providers=["CPUExecutionProvider"])
        found = session.run([tap.name for tap in taps], dict(self.inputs))
        return {tap.node: value for tap, value in zip(taps, found, strict=True)}


def with_outputs(model: Any, names: Iterable[str]) -> bytes:
    """The model's bytes with more outputs; ONNX Runtime infers their types."""
    import onnx

    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    there = {output.name for output in copy.graph.output}
    copy.graph.output.extend(onnx.ValueInfoProto(name=n) for n in names if n not in there)
    data: bytes = copy.SerializeToString()
    return data


@dataclass(slots=True)
class MilProbe:
    """A Core ML package, evaluated with every result watched."""

    package: Path
    inputs: Arrays
    rounding: str = "declared"
    whole: bool = True
    function: Any = field(init=False, default=None)

    def __post_init__(self) -> None:
        from minuet.runtimes.mil.package import load_function

        self.function = load_function(self.package)

    def taps(self, names: Mapping[str, str]) -> list[Tap]:
        """The operations' results that bear a name of the program's."""
        ops = (op for op in self.function.operations if op.kind != "const")
        return matched(((out.name, op.kind) for op in ops for out in op.outputs), names)

    def values(self, taps: Sequence[Tap]) -> dict[str, Array]:
        """One evaluation; results of operations with several are told by their order."""
        import torch

        from minuet.runtimes.mil.evaluate import Rules, evaluate

        wanted = {tap.name: tap.node for tap in taps}
        found: dict[str, Array] = {}
        seen: dict[str, int] = {}

        def watch(op: Any, result: Any) -> None:
            place = seen[op.name] = seen.get(op.name, -1) + 1
            name = op.outputs[place].name
            if name in wanted:
                found[wanted[name]] = np.array(result.numpy())

        given = {name: torch.from_numpy(np.array(value)) for name, value in self.inputs.items()}
        evaluate(self.function, given, Rules(self.rounding, watch))
        return found
