"""What a build tells of its layers is read, and what it does not tell is not made up."""

import pytest

from minuet.export.tensorrt_layers import HEARD, EngineLayer, products

SHAPE = "Dimensions: [1,64,16,16], Strides: [16384,1,1024,64], StrideOrder: [3,0,2,1]"


def row(kind: str, read: list[str], constants: list[str], made: str = "Half") -> str:
    """A line as TensorRT for RTX 1.7 writes it."""

    def told(types: list[str]) -> str:
        each = (
            f"{{ Name: x{i}, {SHAPE}, Datatype: {one}, Format: (NHWC) [5,2,1,0] }}"
            for i, one in enumerate(types)
        )
        return f"[ {', '.join(each)}]" if types else "[]"

    return (
        f"Name: node_myl0_8, LayerType: {kind}, Inputs: {told(read)}, Constants: "
        f"{told(constants)}, Outputs: {told([made])}, TacticName: stub, StreamId: 1, "
        "Metadata: [ONNX Layer: node_conv2d][ONNX Layer: node_dequantize]"
    )


@pytest.mark.parametrize(
    ("line", "kind", "operands"),
    [
        (row("correlation", ["Int8"], ["Int8", "Float"]), "convolution", ("int8", "int8", "fp32")),
        (row("gemm", ["FP8"], ["FP8"]), "matrix product", ("fp8", "fp8")),
        (row("runtime_fusion", ["Half", "Half"], []), "fused", ("fp16", "fp16")),
        (row("gemm", ["E8M0"], []), "matrix product", ("E8M0",)),
    ],
)
def test_a_product_has_the_types_that_its_kernel_reads(
    line: str, kind: str, operands: tuple[str, ...]
) -> None:
    (found,) = products([f"{HEARD}\n{line}\n"])
    operators = ("node_conv2d", "node_dequantize")
    assert found == EngineLayer(kind=kind, operands=operands, operators=operators)


def test_what_does_not_multiply_and_what_is_no_layer_is_left_out() -> None:
    heard = [f"{HEARD}\n{row('kgen', ['Int8'], [])}\nBindings:\n Name: image, IOMode: Input"]
    assert list(products(heard)) == [] == list(products([]))
