"""What TensorRT tells of an engine while it builds it -> what each product is computed in.

An engine can be asked only where there is a GPU. While it is built, the library lists its layers
after all fusions, with the types that their kernels read: a convolution of int8 by int8 runs in
int8, and one of half by half does not, whatever pairs of Q and DQ stand around it in the file.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

LAYERS = "layers.json"
HEARD = "Layers:"  # how the message begins
# TensorRT for RTX 1.7: what it calls a layer that multiplies, and what that is.
PRODUCTS = {"correlation": "convolution", "gemm": "matrix product", "runtime_fusion": "fused"}
TYPES = {"Int8": "int8", "FP8": "fp8", "Half": "fp16", "Float": "fp32", "BFloat16": "bf16"}
ROW = re.compile(r"Name: \S+, LayerType: (\w+), Inputs: (.*?), Constants: (.*?), Outputs: ")
TYPE, OPERATOR = re.compile(r"Datatype: (\w+)"), re.compile(r"\[ONNX Layer: ([^\]]+)\]")


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineLayer:
    """A layer of an engine that multiplies."""

    kind: str
    operands: tuple[str, ...]  # types of what it reads: the two factors first
    operators: tuple[str, ...]  # of the ONNX file, that became it


def products(heard: Iterable[str]) -> Iterator[EngineLayer]:
    """The products among the layers that a build told of; none where a library tells nothing."""
    for line in "\n".join(heard).splitlines():
        row = ROW.match(line)
        if row and row[1] in PRODUCTS:
            read = TYPE.findall(row[2]) + TYPE.findall(row[3])
            yield EngineLayer(
                kind=PRODUCTS[row[1]],
                operands=tuple(TYPES.get(one, one) for one in read),
                operators=tuple(OPERATOR.findall(line)),
            )
