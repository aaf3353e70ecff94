"""A program, and a file that claims to be it -> what its proof says, as every export asks for."""

from pathlib import Path

import torch

from minuet.contracts.artifact import MAIN, Artifact, Parity
from minuet.contracts.tensors import Arrays
from minuet.export.bundle import Golden
from minuet.export.capture import Program
from minuet.proof import Known, prove


def proven(
    program: Program, artifact: Artifact, folder: Path, inputs: Arrays, runtime: str
) -> Parity:
    """What one runtime makes of one golden case: the worst output, whatever the precision."""
    signature = program.signature
    with torch.inference_mode():
        given = (torch.from_numpy(inputs[spec.name]) for spec in signature.inputs)
        found = program.exported.module()(*given)
    named = zip(signature.outputs, found, strict=True)
    outputs = {spec.name: one.numpy() for spec, one in named}
    case = Golden(name="00", inputs=inputs, outputs=outputs)
    known = Known(MAIN, program)
    rows = prove(folder, artifact, signature, [case], known=known, threads=1)
    return next(row.parity for row in rows if row.runtime == runtime)
