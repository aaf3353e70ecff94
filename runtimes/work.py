"""An operator's kind and shapes -> its multiply-accumulates, and the bytes that it must move.

Shapes decide, not layouts: a convolution of C channels that a runtime pads to sixteens, or runs
with its channels last, has the work that the program asked for.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

Shape = tuple[int, ...]

# As ONNX, ONNX Runtime's own domains and OpenVINO call them.
CONVOLUTIONS = {
    *("Conv", "FusedConv", "NhwcFusedConv", "ConvInteger", "QLinearConv"),
    *("Convolution", "GroupConvolution"),
}
TRANSPOSED = {
    *("ConvTranspose", "QLinearConvTranspose"),
    *("ConvolutionBackpropData", "GroupConvolutionBackpropData", "Deconvolution"),
}
PRODUCTS = {
    *("MatMul", "FusedMatMul", "FusedMatMulActivation", "Gemm", "FusedGemm", "FullyConnected"),
    *("MatMulInteger", "MatMulIntegerToFloat", "QLinearMatMul", "QGemm", "DynamicQuantizeMatMul"),
    *("MatMulNBits", "MatMulBnb4"),
}
ATTENTION = {"MultiHeadAttention", "ScaledDotProductAttention"}
# Their work is in attributes, in what they hold, or in shapes that no rule here covers.
UNCOUNTED = {
    *("Attention", "QAttention", "GroupQueryAttention", "PagedAttention", "Einsum", "EinSum"),
    *("LSTM", "GRU", "RNN", "RNNCell", "RNNSeq"),
    *("DeformConv", "DeformableConvolution", "MoE", "QMoE", "LLMMLP", "QKVProjection"),
}
VIEWS = {"Reshape", "Squeeze", "Unsqueeze", "Identity", "Flatten"}  # in place, as a rule
PICKS = {"Gather", "GatherElements", "GatherND", "Slice", "StridedSlice"}  # read what they write


@dataclass(frozen=True, slots=True)
class Held:
    """A tensor as an operator reads or writes it."""

    shape: Shape
    item_bytes: float

    @property
    def bytes(self) -> float:
        """Of all its elements."""
        return math.prod(self.shape) * self.item_bytes


def multiply_accumulates(
    kind: str, inputs: Sequence[Shape], outputs: Sequence[Shape], weight: Shape | None = None
) -> float | None:
    """What contractions multiply and add; 0 of all other operators.

        convolution   |W| * places of the output        transposed: * places of the input
        product       |Y| * K
        attention     B * L * S * (E + E_values)        scores, then values

    Args:
        weight: of a convolution, the output's channels first (transposed: the input's).

    Returns:
        None where shapes do not tell.
    """
    if kind in UNCOUNTED:
        return None
    if kind in CONVOLUTIONS:
        return _convolved(weight, outputs)
    if kind in TRANSPOSED:
        return _convolved(weight, inputs)
    if kind in PRODUCTS:
        return _multiplied(inputs, outputs)
    if kind in ATTENTION:
        return _attended(inputs)
    return 0.0


def moved_bytes(kind: str, inputs: Sequence[Held], outputs: Sequence[Held]) -> float:
    """Inputs, weights and outputs, each once: what must pass through memory with no cache."""
    if kind in VIEWS:
        return 0.0
    written = sum(one.bytes for one in outputs)
    if kind in PICKS:
        return 2 * written + sum(one.bytes for one in inputs[1:])
    return sum(one.bytes for one in inputs) + written


def _convolved(weight: Shape | None, over: Sequence[Shape]) -> float | None:
    if not weight or not over or len(over[0]) < 3:
        return None
    shape = over[0]
    channels = (
        weight[0] if weight[0] in (shape[1], shape[-1]) else shape[1]
    )  # padded, channels last
    return math.prod(weight) * math.prod(shape) / channels if channels else 0.0


def _multiplied(inputs: Sequence[Shape], outputs: Sequence[Shape]) -> float | None:
    if not inputs or not outputs or not inputs[0]:
        return None
    first, written = inputs[0], outputs[0]
    if len(first) < 2 or len(written) < 2:
        return float(math.prod(written) * first[-1])
    if not math.prod(written):
        return 0.0
    # By the rows of the output, so that a first factor that is transposed counts alike; by all its
    # elements where the batch stands between its rows and columns.
    depth = first[-2] * first[-1] / written[-2]
    if depth not in first[-2:]:
        depth = math.prod(first) * written[-1] / math.prod(written)
    return math.prod(written) * depth


def _attended(inputs: Sequence[Shape]) -> float | None:
    if len(inputs) < 3 or min(len(shape) for shape in inputs[:3]) < 3:
        return None
    queries, keys, values = inputs[:3]
    return float(math.prod(queries[:-1]) * keys[-2] * (queries[-1] + values[-1]))
