"""Captured program and a precision -> what it costs on hardware that really computes in it.

ONNX Runtime's CPU kernels run a float16 file in float32: it inserts casts and cancels them in
pairs, with every optimization off as well (1.31.1). A sum of 70000 is infinite on a phone or GPU,
and fine there. So a narrow file is judged twice: as the runtime ran it, and as its program fares
when every result is rounded.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor
from torch.export import ExportedProgram

from minuet.benchmarks.parity import Difference, difference, furthest, judge, not_run
from minuet.benchmarks.parity_graph import depth, outputs
from minuet.benchmarks.tolerances import NARROW
from minuet.contracts.artifact import Artifact, Parity

NAME = "rounded"


def rounded(program: ExportedProgram, inputs: Sequence[Tensor], precision: str) -> list[Difference]:
    """Each output with every result rounded to a precision, against float64."""
    oracle = outputs(program, inputs)
    found = outputs(program, inputs, precision)
    return [difference(one, other) for one, other in zip(oracle, found, strict=True)]


def judge_rounded(
    artifact: Artifact, program: ExportedProgram, cases: Sequence[Sequence[Tensor]]
) -> Parity:
    """The verdict on an artifact's precision; the worst output of the worst case decides.

    What is rounded here is the program itself, so it may be as noisy as any program may.
    """
    if artifact.precision not in NARROW:
        return not_run(NAME, f"{artifact.precision} is not a narrow floating type")
    found = [one for case in cases for one in rounded(program, case, artifact.precision)]
    backend = f"torch, every result in {artifact.precision}"
    deep = depth(program)
    return furthest(judge(artifact, NAME, backend, one, depth=deep, own_db=one.db) for one in found)
