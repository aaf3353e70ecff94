"""ONNX graph in memory -> files; weights go from where they are to the disk, one at a time.

Protobuf cannot hold 2 GiB, and its library would copy every weight twice on the way. So the graph
is serialized without its large tensors, and these follow in the same file, as more entries of the
same repeated field, or in a file beside it.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from minuet.contracts.files import writing

if TYPE_CHECKING:
    import onnx_ir as ir

LIMIT_BYTES = 2_000_000_000  # protobuf ends at 2^31 - 1
SMALL_BYTES = 1024  # tensors up to this stay inside the graph: shapes, axes, scalars
ALIGN_BYTES = 4096  # a page, so that a runtime may map a weight
# Protobuf field numbers: ModelProto.graph, GraphProto.initializer, TensorProto.raw_data.
GRAPH, INITIALIZER, RAW_DATA = 7, 5, 9


def write_onnx(model: ir.Model, path: Path, *, inline_bytes: int = LIMIT_BYTES) -> None:
    """Write path, and path.data for the weights where together they take more than inline_bytes.

    The same graph gives the same bytes. Both files are there whole, or neither.
    """
    large = _large(model)
    size = sum(tensor.nbytes for tensor in large.values())
    if size > inline_bytes:
        _write_beside(model, large, path)
    else:
        _write_inside(model, large, path)


def _write_inside(model: ir.Model, large: dict[str, Any], path: Path) -> None:
    proto = lean_proto(model, dict.fromkeys(large, ""))
    entries = [row for row in proto.graph.initializer if row.name in large]
    kept = [row for row in proto.graph.initializer if row.name not in large]
    del proto.graph.initializer[:]
    proto.graph.initializer.extend(kept)
    graph = proto.graph.SerializeToString(deterministic=True)
    proto.ClearField("graph")
    heads = [_head(row, large[row.name].nbytes) for row in entries]
    sizes = [len(head) + large[row.name].nbytes for row, head in zip(entries, heads, strict=True)]
    frames = [_opening(INITIALIZER, size) for size in sizes]
    total = len(graph) + sum(sizes) + sum(map(len, frames))
    with writing(path, sync=False) as stream:
        stream.write(proto.SerializeToString(deterministic=True))
        stream.write(_opening(GRAPH, total) + graph)
        for row, frame, head in zip(entries, frames, heads, strict=True):
            stream.write(frame + head)
            _pour(large[row.name], stream)


def _write_beside(model: ir.Model, large: dict[str, Any], path: Path) -> None:
    data = path.with_name(f"{path.name}.data")
    proto = lean_proto(model, dict.fromkeys(large, data.name))
    rows = {row.name: row for row in proto.graph.initializer}
    with writing(path, sync=False) as graph, writing(data, sync=False) as stream:
        for name, tensor in large.items():
            stream.write(b"\0" * (-stream.tell() % ALIGN_BYTES))
            _place(rows[name], offset=stream.tell(), length=tensor.nbytes)
            _pour(tensor, stream)
        graph.write(proto.SerializeToString(deterministic=True))


def lean_proto(model: ir.Model, elsewhere: dict[str, str]) -> Any:
    """An onnx.ModelProto in which the named tensors say only where they are."""
    import onnx_ir as ir

    stored = {name: model.graph.initializers[name].const_value for name in elsewhere}
    try:
        for name, location in elsewhere.items():
            tensor: Any = stored[name]
            model.graph.initializers[name].const_value = ir.ExternalTensor(
                location or "inside", None, None, tensor.dtype, shape=tensor.shape, name=name
            )
        proto = ir.to_proto(model)
    finally:
        for name, tensor in stored.items():
            model.graph.initializers[name].const_value = tensor
    return bare(proto)


def bare(proto: Any) -> Any:
    """Without what weights say of themselves, and without inferred shapes.

    Runtimes infer those anyway, and quantizers stumble over them.
    """
    del proto.graph.value_info[:]
    for row in proto.graph.initializer:
        row.ClearField("doc_string")
        del row.metadata_props[:]
    return proto


def _large(model: ir.Model) -> dict[str, Any]:
    """The tensors that are not written inside the graph, by name, in the graph's order."""
    rows = ((name, value.const_value) for name, value in model.graph.initializers.items())
    return {name: row for name, row in rows if row is not None and row.nbytes > SMALL_BYTES}


def _place(row: Any, *, offset: int, length: int) -> None:
    location = row.external_data[0].value
    del row.external_data[:]
    for key, value in (("location", location), ("offset", offset), ("length", length)):
        row.external_data.add(key=key, value=str(value))


def _head(row: Any, size: int) -> bytes:
    """A tensor's serialized form up to where its bytes begin."""
    row.ClearField("external_data")
    row.ClearField("data_location")
    found: bytes = row.SerializeToString(deterministic=True)
    return found + _opening(RAW_DATA, size)


def _opening(field: int, size: int) -> bytes:
    """Protobuf's announcement of a field of so many bytes."""
    return _varint(field << 3 | 2) + _varint(size)


def _varint(value: int) -> bytes:
    groups = []
    while value > 0x7F:
        groups.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*groups, value])


def _pour(tensor: Any, stream: BinaryIO) -> None:
    before = stream.tell()
    tensor.tofile(stream)
    assert stream.tell() - before == tensor.nbytes, tensor.name
