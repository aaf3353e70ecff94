"""ONNX file from elsewhere -> graph in memory, once nothing about it is a lie."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from minuet.contracts.errors import DamagedError, RequestError
from minuet.contracts.files import contained
from minuet.contracts.tensors import Signature

if TYPE_CHECKING:
    import onnx_ir as ir

MAX_GRAPH_BYTES = (1 << 31) - 1  # as protobuf has it
MAX_WEIGHT_BYTES = 64 << 30  # all weights of one model
MAX_ELEMENTS = 1 << 34  # one tensor
# Operators that ONNX and ONNX Runtime define themselves; any other would need somebody's code.
DOMAINS = frozenset({"", "ai.onnx", "com.microsoft"})


def read_onnx(path: Path, signature: Signature | None = None) -> ir.Model:
    """Look at everything before anything is taken; weights beside the file are mapped, not read.

    Raises:
        DamagedError: a weight outside the folder or behind a link, or more or less of it than its
            shape says; shapes that the operators contradict.
        RequestError: no model, custom operators, or not what the signature says.
    """
    import onnx_ir as ir

    proto = _parsed(path)
    _check_operators(proto, path)
    total = 0
    for tensor in _tensors(proto):
        total += _check_tensor(tensor, path)
        if total > MAX_WEIGHT_BYTES:
            raise DamagedError(f"{path}: its weights claim over {MAX_WEIGHT_BYTES >> 30} GiB.")
    _check_shapes(proto, path)
    if signature is not None:
        _check_signature(proto, signature, path)
    model: ir.Model = ir.from_proto(proto)
    ir.external_data.set_base_dir(model.graph, path.parent)
    return model


def _parsed(path: Path) -> Any:
    import onnx

    if not path.is_file() or path.stat().st_size > MAX_GRAPH_BYTES:
        raise RequestError(f"{path}: not a sound ONNX model (no file, or above 2 GiB).")
    try:
        proto = onnx.load_model_from_string(path.read_bytes())
        if not proto.graph.node or not proto.opset_import:
            raise ValueError("no operators")
        return proto
    except Exception as error:
        raise RequestError(f"{path}: not a sound ONNX model ({error}).") from error


def _check_operators(proto: Any, path: Path) -> None:
    ours = {function.domain for function in proto.functions}
    for graph in _graphs(proto):
        for node in graph.node:
            if node.domain not in DOMAINS | ours:
                raise RequestError(
                    f"{path}: {node.domain}.{node.op_type} (node {node.name!r}) is no operator of "
                    "ONNX or ONNX Runtime; export the model without custom operators."
                )


def _check_tensor(tensor: Any, path: Path) -> int:
    """The bytes of a stored tensor, which must be as many as its shape takes."""
    import onnx

    where = f"{path}: the weight {tensor.name!r:.80}"
    size = math.prod(tensor.dims)
    if any(side < 0 for side in tensor.dims) or size > MAX_ELEMENTS:
        raise DamagedError(f"{where} has the impossible shape {tuple(tensor.dims)}; refused.")
    if tensor.data_location == onnx.TensorProto.EXTERNAL:
        return _check_beside(tensor, path, size, where)
    if tensor.data_type == onnx.TensorProto.STRING:
        return sum(map(len, tensor.string_data))
    try:
        found = onnx.numpy_helper.to_array(tensor)
    except Exception as error:
        raise DamagedError(f"{where} does not fill its shape {tuple(tensor.dims)}.") from error
    return int(found.nbytes)


def _check_beside(tensor: Any, path: Path, size: int, where: str) -> int:
    """The same of a tensor in another file, which is found but not opened."""
    import onnx_ir as ir

    rows = {row.key: row.value for row in tensor.external_data}
    file = contained(path.parent, rows.get("location", ""))
    if file.is_symlink() or not file.is_file() or file.stat().st_nlink > 1:
        raise DamagedError(f"{where} lies in {file.name!r}: missing, or a link; refused.")
    try:
        offset, needed = (
            int(rows.get("offset", 0)),
            math.ceil(size * ir.DataType(tensor.data_type).bitwidth / 8),
        )
        length = int(rows.get("length", needed))
    except (ValueError, TypeError) as error:
        raise DamagedError(f"{where} says {rows} of where it lies; refused.") from error
    if offset < 0 or length != needed or offset + length > file.stat().st_size:
        raise DamagedError(
            f"{where} takes {needed} bytes by its shape, {length} are claimed at {offset} of "
            f"{file.name}, which has {file.stat().st_size}; refused."
        )
    return needed


def _check_shapes(proto: Any, path: Path) -> None:
    """Let ONNX infer every shape; what the file declares must agree."""
    import onnx

    try:
        onnx.checker.check_model(_without_weights(proto))
        onnx.shape_inference.infer_shapes(
            _without_weights(proto), check_type=True, strict_mode=True, data_prop=True
        )
    except Exception as error:
        reason = " ".join(str(error).split())[:300]
        raise DamagedError(
            f"{path}: not a sound ONNX model: what it says of itself does not hold ({reason})."
        ) from error


def _without_weights(proto: Any) -> Any:
    """A copy whose weights beside the file are inputs: their bytes are not needed here."""
    import onnx

    outside = [row for row in proto.graph.initializer if row.external_data]
    if not outside:
        return proto
    copy = onnx.ModelProto()
    copy.CopyFrom(proto)
    inside = [row for row in copy.graph.initializer if not row.external_data]
    del copy.graph.initializer[:]
    copy.graph.initializer.extend(inside)
    there = {value.name for value in copy.graph.input}
    copy.graph.input.extend(
        onnx.helper.make_tensor_value_info(row.name, row.data_type, row.dims)
        for row in outside
        if row.name not in there
    )
    return copy


def _check_signature(proto: Any, signature: Signature, path: Path) -> None:
    stored = {row.name for row in proto.graph.initializer}
    found = [_said(value) for value in proto.graph.input if value.name not in stored]
    found += [_said(value) for value in proto.graph.output]
    specs = (*signature.inputs, *signature.outputs)
    for spec in specs:
        wanted = (spec.name, spec.dtype, spec.shape)
        if wanted not in found:
            raise RequestError(f"{path}: needs {wanted}, the model has {found}.")
    if len(found) != len(specs):
        raise RequestError(f"{path}: takes or gives {found}, more than the signature knows.")


def _said(value: Any) -> tuple[str, str, tuple[int, ...]]:
    import onnx

    kind = value.type.tensor_type
    dtype = onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type) if kind.elem_type else "?"
    return value.name, str(dtype), tuple(side.dim_value for side in kind.shape.dim)


def _tensors(proto: Any) -> Iterator[Any]:
    """Every stored tensor: initializers and attributes, in subgraphs and functions too."""
    for graph in _graphs(proto):
        if getattr(graph, "sparse_initializer", ()):
            raise RequestError("sparse weights are not taken; export the model with dense ones.")
        yield from getattr(graph, "initializer", ())
        for node in graph.node:
            for attribute in node.attribute:
                yield from (*([attribute.t] if attribute.HasField("t") else ()), *attribute.tensors)


def _graphs(proto: Any) -> Iterator[Any]:
    """The graph, the functions, and the graphs that their nodes hold."""
    waiting = [proto.graph, *proto.functions]
    while waiting:
        graph = waiting.pop()
        yield graph
        for node in graph.node:
            for attribute in node.attribute:
                waiting.extend([attribute.g] if attribute.HasField("g") else [])
                waiting.extend(attribute.graphs)
