import pytest

from minuet.contracts.wire import field, fields, numbers


def test_what_is_written_is_read() -> None:
    inner = field(1, "name") + field(2, 300)
    message = field(7, inner) + field(8, b"\x00\xff") + field(9, 0) + field(1000, 2**63)
    found = dict(fields(memoryview(message)))
    held, data = found[7], found[8]
    assert isinstance(held, memoryview) and isinstance(data, memoryview)
    assert list(fields(held)) == [(1, b"name"), (2, 300)] and data.tobytes() == b"\x00\xff"
    assert (found[9], found[1000]) == (0, 2**63)


def test_the_onnx_package_reads_what_is_written_and_the_other_way_round() -> None:
    from onnx import TensorProto, helper

    tensor = TensorProto()
    tensor.ParseFromString(field(1, 3) + field(1, 70000) + field(2, 1) + field(8, "w"))
    assert (list(tensor.dims), tensor.data_type, tensor.name) == ([3, 70000], 1, "w")
    tensor = helper.make_tensor("w", TensorProto.FLOAT, [2, 300], [0.5] * 600)
    rows = list(fields(memoryview(tensor.SerializeToString())))
    dims = [size for number, value in rows if number == 1 for size in numbers(value)]
    assert dims == [2, 300]
    attribute = helper.make_attribute("epsilon", 0.5)
    assert {number for number, _ in fields(memoryview(attribute.SerializeToString()))} >= {1, 2}


@pytest.mark.parametrize(
    "message",
    [
        field(7, b"long enough")[:-1],  # its end is missing
        b"\x3a\xff\xff\xff\xff\xff\xff\xff\xff\x7f",  # claims 2^63 bytes
        b"\x80" * 40,  # a number without end
        b"\x80",
        b"\x0b",  # groups are of another age
        b"\x0d\x00\x00",  # half of a float
    ],
)
def test_what_is_none_is_refused(message: bytes) -> None:
    with pytest.raises(ValueError, match="no protocol buffer"):
        list(fields(memoryview(message)))
