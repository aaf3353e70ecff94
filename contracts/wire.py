"""Protocol-buffer bytes <-> their fields by number: what an ONNX file is made of."""

from collections.abc import Iterator

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
FIXED = {FIXED64: 8, FIXED32: 4}
MOST_SHIFT = 63  # of a number of 64 bits

Value = int | memoryview


def fields(message: memoryview) -> Iterator[tuple[int, Value]]:
    """Every field of a message: its number, and a whole number or the bytes of it.

    Raises:
        ValueError: the message is cut short, or none.
    """
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        number, kind = key >> 3, key & 7
        if kind == VARINT:
            value, at = _varint(message, at)
            yield number, value
            continue
        size = FIXED.get(kind, 0)
        if kind == BYTES:
            size, at = _varint(message, at)
        if (kind != BYTES and not size) or at + size > len(message):
            raise ValueError(f"no protocol buffer: field {number} of kind {kind} at byte {at}")
        yield number, message[at : at + size]
        at += size


def field(number: int, value: int | bytes | str) -> bytes:
    """One field, as a message bears it; messages of messages are bytes."""
    if isinstance(value, int):
        return _packed(number << 3 | VARINT) + _packed(value)
    data = value.encode() if isinstance(value, str) else value
    return _packed(number << 3 | BYTES) + _packed(len(data)) + data


def numbers(value: Value) -> list[int]:
    """A repeated whole number, packed or alone."""
    if isinstance(value, int):
        return [value]
    found: list[int] = []
    at = 0
    while at < len(value):
        one, at = _varint(value, at)
        found.append(one)
    return found


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    found = shift = 0
    while at < len(message) and shift <= MOST_SHIFT:
        byte = message[at]
        found |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return found, at
    raise ValueError(f"no protocol buffer: a number without end at byte {at}")


def _packed(value: int) -> bytes:
    found = bytearray()
    while value >= 0x80:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*found, value])
