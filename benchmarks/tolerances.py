"""Target, precision and runtime -> how far an artifact may be from the eager program, and why."""

from dataclasses import dataclass

from minuet.contracts.errors import RequestError


@dataclass(frozen=True, slots=True)
class Tolerance:
    """The least PSNR over premultiplied RGBA frames, and the reason for it."""

    psnr_db: float
    reason: str


ORDER = "same arithmetic, another order of sums: a value next to a rounding edge flips by 1/255"
HALF = "10 bits of mantissa through the network; where samples are placed stays float32"
INT8 = "8-bit weights and activations: rounding flips propagate from step to step"

# psnr_db: 8-bit frames of which every value is off by one are 48.1 dB apart.
PARITY = {
    ("onnx", "fp32"): Tolerance(70.0, ORDER),
    ("onnx", "fp16"): Tolerance(48.0, HALF),
    ("onnx", "int8"): Tolerance(24.0, INT8),
    ("executorch", "fp32"): Tolerance(70.0, ORDER),
    ("executorch", "int8"): Tolerance(24.0, INT8),
    ("coreml", "fp32"): Tolerance(70.0, ORDER),
    ("coreml", "fp16"): Tolerance(48.0, HALF),
    ("tensorrt", "fp32"): Tolerance(48.0, "TF32 convolutions: 10 bits of mantissa"),
    ("tensorrt", "fp16"): Tolerance(48.0, HALF),
}

# Where a runtime computes in less than the file says, on purpose.
BY_RUNTIME = {
    ("onnx", "fp32", "openvino-bf16"): Tolerance(36.0, "7 bits of mantissa throughout"),
    ("onnx", "fp16", "openvino-bf16"): Tolerance(36.0, "7 bits of mantissa throughout"),
}


def tolerance(target: str, precision: str, runtime: str = "") -> Tolerance:
    """The row for a target and precision, or the runtime's own where it has one.

    Raises:
        RequestError: nobody has decided one.
    """
    own = BY_RUNTIME.get((target, precision, runtime))
    found = own or PARITY.get((target, precision))
    if found is None:
        raise RequestError(
            f"{target} in {precision} has no parity tolerance; add one, with its reason, "
            "to benchmarks/tolerances.py."
        )
    return found
