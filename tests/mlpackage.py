"""Operations in words -> a small ML Program package on disk, written without any converter."""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

MODEL = "com.apple.CoreML/model.mlmodel"
WEIGHTS = "@model_path/weights/weight.bin"
TYPES = {
    "bool": 1, "string": 2, "fp16": 10, "fp32": 11, "int8": 21, "int16": 22, "int32": 23,
    "int4": 25, "uint8": 31, "uint16": 32, "uint4": 35, "uint1": 37,
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Tensor:
    """A name, an element type and sizes; None is a size known only when it runs."""

    name: str
    type: str = "fp32"
    shape: tuple[int | None, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Op:
    """Arguments are names, arrays, strings, or lists of names."""

    kind: str
    outputs: Sequence[Tensor]
    inputs: dict[str, Any] = field(default_factory=dict)
    blocks: Sequence[tuple[Sequence[Tensor], Sequence[Op], Sequence[str]]] = ()


def write(
    folder: Path,
    inputs: Sequence[Tensor],
    ops: Sequence[Op],
    outputs: Sequence[str],
    names: Sequence[str] = ("main",),
) -> Path:
    """A package whose functions are all the same; the first is the default."""
    model = message()
    for name in names:
        function = model.mlProgram.functions[name]
        function.opset = "CoreML8"
        for one in inputs:
            _port(function.inputs.add(), one)
        _fill(function.block_specializations["CoreML8"], ops, outputs)
    model.description.defaultFunctionName = names[0]
    return save(folder / "m.mlpackage", model)


def message() -> Any:
    """An empty ML Program."""
    logging.disable(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from coremltools.proto.Model_pb2 import Model
    logging.disable(logging.NOTSET)
    model = Model()
    model.specificationVersion = 9
    model.mlProgram.version = 1
    return model


def save(package: Path, model: Any) -> Path:
    """The package's files."""
    path = package / "Data" / MODEL
    (path.parent / "weights").mkdir(parents=True)
    path.write_bytes(model.SerializeToString())
    entries = {"1": {"path": MODEL, "name": "model.mlmodel", "author": "", "description": ""}}
    index = {"fileFormatVersion": "1.0.0", "itemInfoEntries": entries, "rootModelIdentifier": "1"}
    (package / "Manifest.json").write_text(json.dumps(index))
    return package


class Saved:
    """A package on disk whose program is tampered with: constants, arguments, operations."""

    def __init__(self, package: Path) -> None:
        self.path = package / "Data" / MODEL
        self.model = message()
        self.model.ParseFromString(self.path.read_bytes())
        function = self.model.mlProgram.functions["main"]
        self.block = function.block_specializations[function.opset]

    def keep(self) -> None:
        """Write it back."""
        self.path.write_bytes(self.model.SerializeToString())

    def op(self, name: str) -> Any:
        """The operation whose first result is called so, casts to a narrower type aside."""
        names = {name, f"{name}_cast_fp16", f"{name}_to_fp16", f"{name}_promoted_to_fp16"}
        return next(op for op in self.block.operations if names & {one.name for one in op.outputs})

    def values(self, kind: str = "const") -> dict[str, np.ndarray[Any, Any]]:
        """Every array among a kind's own values, by name."""
        from minuet.runtimes.mil.values import constant as read

        rows = ((op, op.attributes) for op in self.block.operations if op.type == kind)
        found = {op.outputs[0].name: read(a["val"], self.path.parent).array() for op, a in rows}
        return {name: value for name, value in found.items() if isinstance(value, np.ndarray)}

    def put(self, name: str, value: np.ndarray[Any, Any]) -> None:
        """Another value for a constant, in its own type; the weight file stays as it was."""
        spec = self.op(name)
        before = self.values()[spec.outputs[0].name]
        spec.attributes["val"].Clear()
        constant(spec.attributes["val"], np.ascontiguousarray(value, before.dtype))

    def behind(self, name: str, kind: str, **arguments: Any) -> None:
        """One more operation between a result and whoever reads it."""
        maker = self.op(name)
        out = next(one for one in maker.outputs if one.name == name)
        made = type(maker)()
        made.type = kind
        made.outputs.add().CopyFrom(out)
        out.name = f"{name}_before"
        for key, value in {"x": out.name, **arguments}.items():
            argument = made.inputs[key].arguments.add()
            if isinstance(value, str):
                argument.name = value
            else:
                constant(argument.value, value)
        place = 1 + list(self.block.operations).index(maker)
        after = [*self.block.operations]
        after.insert(place, made)
        kept = [type(maker).FromString(op.SerializeToString()) for op in after]
        del self.block.operations[:]
        self.block.operations.extend(kept)


def _fill(block: Any, ops: Sequence[Op], outputs: Sequence[str]) -> None:
    for op in ops:
        made = block.operations.add(type=op.kind)
        for one in op.outputs:
            _port(made.outputs.add(), one)
        for name, value in op.inputs.items():
            target = made.attributes[name] if op.kind == "const" else None
            if target is not None:
                constant(target, value)
                continue
            for one in value if isinstance(value, list) else [value]:
                argument = made.inputs[name].arguments.add()
                if isinstance(one, str) and not one.startswith("="):
                    argument.name = one
                else:
                    constant(argument.value, one)
        for inputs, inner, results in op.blocks:
            under = made.blocks.add()
            for one in inputs:
                _port(under.inputs.add(), one)
            _fill(under, inner, results)
    block.outputs.extend(outputs)


def _port(spec: Any, tensor: Tensor) -> None:
    spec.name = tensor.name
    kind = spec.type.tensorType
    kind.dataType, kind.rank = TYPES[tensor.type], len(tensor.shape)
    for size in tensor.shape:
        dimension = kind.dimensions.add()
        if size is None:
            dimension.unknown.variadic = False
        else:
            dimension.constant.size = size


def constant(spec: Any, value: Any) -> None:
    """A value: a string that begins with =, a number, or an array."""
    if isinstance(value, str):
        spec.type.tensorType.dataType = TYPES["string"]
        spec.immediateValue.tensor.strings.values.append(value.removeprefix("="))
        return
    array = np.asarray(value)
    name = {"f4": "fp32", "f8": "fp32", "f2": "fp16", "i8": "int32", "i4": "int32", "b1": "bool"}
    kind = name.get(array.dtype.str[1:], str(array.dtype))
    _port(_Named(spec), Tensor(name="", type=kind, shape=array.shape))
    stored = spec.immediateValue.tensor
    if kind == "fp32":
        stored.floats.values.extend(array.reshape(-1).tolist())
    elif kind == "int32":
        stored.ints.values.extend(array.reshape(-1).tolist())
    elif kind == "bool":
        stored.bools.values.extend(array.reshape(-1).tolist())
    else:
        stored.bytes.values = array.tobytes()


@dataclass
class _Named:
    """A value seen as a named type."""

    spec: Any
    name: str = ""

    @property
    def type(self) -> Any:
        return self.spec.type
