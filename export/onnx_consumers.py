"""Who will read an ONNX file -> its operator set, with the reason."""

from __future__ import annotations

from dataclasses import dataclass

from minuet.contracts.errors import RequestError

# Conv, InstanceNormalization, GridSample, Sin and Cos take bfloat16 from this operator set on.
BFLOAT16_OPSET = 22
# At 21 an int8 model does not load in onnxruntime 1.31: "output_dtype INT8 does not match
# y_zero_point type UINT8" (its QDQPropagationTransformer).
INT8_OPSET = 18
CODES16_OPSET = 21  # the first with quantized activations of 16 bits


@dataclass(frozen=True, slots=True, kw_only=True)
class Consumer:
    """A reader of ONNX files and the operator set that suits it."""

    opset: int
    why: str


CONSUMERS = {
    "onnxruntime": Consumer(opset=18, why="21 and 23 load too and run no faster (1.31, CPU)"),
    "onnxruntime-cuda": Consumer(opset=18, why="the CPU finishes what CUDA leaves: same file"),
    "onnxruntime-web": Consumer(opset=18, why="its kernels cover it; newer operators are expanded"),
    "coreml-ep": Consumer(opset=18, why="what Core ML leaves, the CPU finishes: same file"),
    "openvino": Consumer(opset=18, why="the file that ONNX Runtime reads, for a second opinion"),
    "tensorrt": Consumer(opset=21, why="GroupNormalization is one operator, and fuses as one"),
    "optimum": Consumer(opset=18, why="what its own exporter writes; onnxruntime opens it"),
}


def opset_for(consumer: str, precision: str) -> int:
    """The operator set for a reader and a precision.

    Raises:
        RequestError: nobody of that name is known.
    """
    if consumer not in CONSUMERS:
        known = ", ".join(CONSUMERS)
        raise RequestError(f"nothing is known of the consumer {consumer!r}; choose from {known}.")
    if precision == "int8":
        return INT8_OPSET
    least = {"bf16": BFLOAT16_OPSET, "w8a16": CODES16_OPSET}.get(precision, 0)
    return max(CONSUMERS[consumer].opset, least)
