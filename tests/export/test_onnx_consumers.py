"""Each reader of ONNX files gets the operator set that suits it."""

import onnx
import pytest

from minuet.contracts.errors import RequestError
from minuet.export.onnx_consumers import BFLOAT16_OPSET, CONSUMERS, opset_for


@pytest.mark.parametrize("consumer", CONSUMERS)
def test_every_reader_has_an_operator_set_and_a_reason(consumer: str) -> None:
    assert 18 <= opset_for(consumer, "fp32") <= onnx.defs.onnx_opset_version()
    assert len(CONSUMERS[consumer].why) > 20
    assert opset_for(consumer, "int8") == 18
    assert opset_for(consumer, "w8a16") == 21


@pytest.mark.parametrize("op", ["Conv", "InstanceNormalization", "GridSample", "Sin", "Cos"])
def test_bfloat16_has_the_operators_that_it_is_said_to_have(op: str) -> None:
    def takes(opset: int) -> bool:
        first = onnx.defs.get_schema(op, opset).type_constraints[0]
        return "tensor(bfloat16)" in first.allowed_type_strs

    assert takes(opset_for("openvino", "bf16")) and not takes(BFLOAT16_OPSET - 1)


def test_an_unknown_reader_is_refused() -> None:
    with pytest.raises(RequestError, match=r"consumer 'toaster'; choose from onnxruntime,"):
        opset_for("toaster", "fp32")
