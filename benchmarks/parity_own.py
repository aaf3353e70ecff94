"""Captured program and golden cases -> how far it is from float64 by itself, in an arithmetic.

A golden case is what an eager float32 program, or a pipeline around it, gave. An artifact cannot be
expected nearer to it than it is to the truth: two steps of Stable Video Diffusion, whose scheduler
multiplies by sigmas up to 700 and subtracts again, are 97.3 dB from the same steps in float64,
where their captured program, whose sums were put together beforehand, is at 131. In fewer bits than
float32 the program itself, with every result rounded, says what can be expected.
"""

from __future__ import annotations

import torch
from torch.export import ExportedProgram

from minuet.benchmarks.parity import Difference, difference
from minuet.benchmarks.parity_graph import outputs
from minuet.contracts.tensors import Arrays, Signature


def own_noise(
    program: ExportedProgram,
    signature: Signature,
    inputs: Arrays,
    references: Arrays,
    arithmetic: str = "fp32",
) -> dict[str, Difference]:
    """Each output against the program's float64 twin on the same inputs.

    In fp32 the outputs are the references; in a row of parity_graph.ARITHMETIC, the program's own.
    """
    given = [torch.from_numpy(inputs[spec.name].copy()) for spec in signature.inputs]
    names = [spec.name for spec in signature.outputs]
    twin = outputs(program, given)
    found = (
        [references[name] for name in names]
        if arithmetic == "fp32"
        else outputs(program, given, arithmetic)
    )
    rows = zip(names, twin, found, strict=True)
    return {name: difference(one, other) for name, one, other in rows}
