"""Captured program and golden cases -> how far the references themselves are from float64.

A golden case is what an eager float32 program, or a pipeline around it, gave. An artifact cannot be
expected nearer to it than it is to the truth: two steps of Stable Video Diffusion, whose scheduler
multiplies by sigmas up to 700 and subtracts again, are 97.3 dB from the same steps in float64,
where their captured program, whose sums were put together beforehand, is at 131.
"""

from __future__ import annotations

import torch
from torch.export import ExportedProgram

from minuet.benchmarks.parity import Difference, difference
from minuet.benchmarks.parity_graph import outputs
from minuet.contracts.tensors import Arrays, Signature


def own_noise(
    program: ExportedProgram, signature: Signature, inputs: Arrays, references: Arrays
) -> dict[str, Difference]:
    """Each reference output against the program's float64 twin on the same inputs."""
    given = [torch.from_numpy(inputs[spec.name].copy()) for spec in signature.inputs]
    twin = outputs(program, given)
    names = [spec.name for spec in signature.outputs]
    return {name: difference(one, references[name]) for name, one in zip(names, twin, strict=True)}
