"""Core ML package -> its functions, parsed: sizes bounded, files contained, nothing run.

The format is read here and not by coremltools' own loader: what is checked is the file, weights
stay on disk until an operation asks for them, and no constant is folded on the way.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from minuet.contracts.errors import DamagedError, RequestError
from minuet.contracts.files import contained, read_json
from minuet.runtimes.mil.values import Constant, Port, constant, port

MAX_PROGRAM_BYTES = 1 << 30  # weights lie in a file of their own
MAX_OPERATIONS = 1_000_000
MAX_NESTING = 8  # blocks inside the blocks of loops and conditions


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One step: named arguments, each a constant, another result's name, or several of these."""

    kind: str
    name: str
    arguments: dict[str, Any]  # str: a result's name; Constant; or a tuple of them
    outputs: tuple[Port, ...]
    blocks: tuple[Block, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """Operations in order; what they begin with and what they leave."""

    inputs: tuple[Port, ...]
    operations: tuple[Operation, ...]
    outputs: tuple[str, ...]

    def walk(self) -> Iterator[Operation]:
        """Every operation, those of inner blocks included."""
        for op in self.operations:
            yield op
            for block in op.blocks:
                yield from block.walk()


def load_functions(package: Path) -> dict[str, Block]:
    """Every function of a package by name, the default one first.

    Raises:
        DamagedError: missing, truncated, too large, or not an ML Program.
    """
    path = _model_path(package)
    try:
        model = _parsed(path)
        program = model.mlProgram
        names = sorted(program.functions, key=lambda name: (name != _default(model), name))
        return {name: _function(program.functions[name], path.parent) for name in names}
    except RequestError:
        raise
    except Exception as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
        raise DamagedError(
            f"{path}: not a readable ML Program ({reason}); export again."
        ) from error


def load_function(package: Path, name: str = "") -> Block:
    """One function; without a name, the one that Core ML would run.

    Raises:
        RequestError: there is no such function.
    """
    functions = load_functions(package)
    if not name:
        return next(iter(functions.values()))
    if name not in functions:
        raise RequestError(f"{package}: no function {name!r}; it has {', '.join(functions)}.")
    return functions[name]


def _model_path(package: Path) -> Path:
    index = read_json(package / "Manifest.json")
    try:
        row = index["itemInfoEntries"][index["rootModelIdentifier"]]
        return contained(package / "Data", row["path"])
    except (KeyError, TypeError) as error:
        raise DamagedError(f"{package}: its index names no model; export again.") from error


def _parsed(path: Path) -> Any:
    if not path.is_file():
        raise DamagedError(f"{path}: missing; export again.")
    if path.stat().st_size > MAX_PROGRAM_BYTES:
        raise DamagedError(f"{path}: larger than {MAX_PROGRAM_BYTES >> 20} MiB; refused.")
    model = _message()
    model.ParseFromString(path.read_bytes())
    if model.WhichOneof("Type") != "mlProgram" or not model.mlProgram.functions:
        raise DamagedError(f"{path}: holds no ML Program; export again.")
    return model


def _message() -> Any:
    """An empty model; coremltools speaks, at import, of what it lacks outside macOS."""
    before = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from coremltools.proto.Model_pb2 import Model
    finally:
        logging.disable(before)
    return Model()


def _default(model: Any) -> str:
    return model.description.defaultFunctionName or "main"


def _function(spec: Any, folder: Path) -> Block:
    if spec.opset not in spec.block_specializations:
        raise DamagedError(f"no block for opset {spec.opset!r}")
    return _block(spec.block_specializations[spec.opset], spec.inputs, folder, depth=0)


def _block(spec: Any, inputs: Any, folder: Path, depth: int) -> Block:
    if len(spec.operations) > MAX_OPERATIONS or depth > MAX_NESTING:
        raise DamagedError(f"{len(spec.operations)} operations, {depth} blocks deep: refused")
    return Block(
        inputs=tuple(port(one) for one in inputs),
        operations=tuple(_operation(op, folder, depth) for op in spec.operations),
        outputs=tuple(spec.outputs),
    )


def _operation(spec: Any, folder: Path, depth: int) -> Operation:
    attributes = {name: constant(value, folder) for name, value in spec.attributes.items()}
    attributes.pop("name", None)  # results have names, which is all that others refer to
    outputs = tuple(port(one) for one in spec.outputs)
    blocks = tuple(_block(b, b.inputs, folder, depth + 1) for b in spec.blocks)
    return Operation(
        kind=spec.type,
        name=outputs[0].name if outputs else spec.type,
        # Compressed weights of iOS 16 keep in attributes what later ones take as inputs.
        arguments=attributes | {n: _argument(a, folder) for n, a in spec.inputs.items()},
        outputs=outputs,
        blocks=blocks,
    )


def _argument(spec: Any, folder: Path) -> str | Constant | tuple[str | Constant, ...]:
    found = tuple(
        one.name if one.WhichOneof("binding") == "name" else constant(one.value, folder)
        for one in spec.arguments
    )
    return found[0] if len(found) == 1 else found
