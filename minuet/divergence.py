"""An artifact that fails parity -> the first layer of its program where it does so."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from minuet.contracts.artifact import Artifact
from minuet.contracts.errors import MissingBackendError
from minuet.contracts.files import contained
from minuet.contracts.probe import Probe, Tap
from minuet.contracts.runtime import Runtime
from minuet.contracts.tensors import Arrays
from minuet.export.cut import cut
from minuet.export.quiet import quiet
from minuet.export.table import exporter
from minuet.runtimes.table import runtimes_for

if TYPE_CHECKING:
    from torch.export import ExportedProgram

    from minuet.benchmarks.parity_bisect import Divergence
    from minuet.export.capture import Program


def diverges(
    program: Program, bundle: Path, artifact: Artifact, inputs: Arrays
) -> Divergence | None:
    """Compare values inside an artifact with the program's, in order, and stop at the first.

    ONNX files and Core ML packages are read themselves. ExecuTorch files and TensorRT engines
    show no inner values: cuts of the program are exported anew for them, log2(nodes) times, so
    what is found there is the exporter's doing and not a change to the file afterwards.

    Returns:
        None where every value that could be compared agrees.

    Raises:
        MissingBackendError: the backend cannot run here.
    """
    import torch

    from minuet.benchmarks.parity_bisect import first_divergence, names
    from minuet.benchmarks.tolerances import tolerance

    given = tuple(torch.from_numpy(inputs[s.name].copy()) for s in program.signature.inputs)
    arithmetic = tolerance(artifact.target, artifact.precision).arithmetic
    probe = _probe(program, bundle, artifact, inputs)
    outputs = [spec.name for spec in program.signature.outputs]
    known = max(
        _forms(program, artifact.target), key=lambda form: len(probe.taps(names(form, outputs)))
    )
    return first_divergence(known, given, probe, arithmetic, outputs)


def _forms(program: Program, target: str) -> Iterator[ExportedProgram]:
    """The program under every naming that an exporter may have seen.

    Decomposing renames nodes, so that `add_5` may be another sum: the right form is the one of
    which an artifact knows most names.
    """
    yield program.exported
    if target == "coreml":
        from minuet.export.rewrites.table import rewrite
        from minuet.export.shims_coreml_9_0 import lowered
        from minuet.export.to_coreml import float_outputs

        with quiet():
            yield lowered(float_outputs(rewrite(program, "coreml")[0].exported))


def _probe(program: Program, bundle: Path, artifact: Artifact, inputs: Arrays) -> Probe:
    from minuet.runtimes.probes import MilProbe, OnnxProbe

    if artifact.target == "onnx":
        return OnnxProbe(contained(bundle, artifact.entry), inputs)
    if artifact.target == "coreml":
        return MilProbe(contained(bundle, artifact.entry), inputs)
    runtime = runtimes_for(artifact.target)[0]
    if refusal := runtime.available():
        raise MissingBackendError(f"{artifact.name}: {refusal}; its layers were not compared.")
    return CutProbe(program, runtime, artifact.precision, inputs)


@dataclass(frozen=True, slots=True)
class CutProbe:
    """Parts of the program, each exported and run on the backend."""

    program: Program
    runtime: Runtime
    precision: str
    inputs: Arrays
    whole: bool = False

    def taps(self, names: Mapping[str, str]) -> list[Tap]:
        """Every node, in the program's order."""
        op = f"{self.runtime.targets[0]} export of"
        return [Tap(node=node, name=node, op=op) for node in dict.fromkeys(names.values())]

    def values(self, taps: Sequence[Tap]) -> Arrays:
        """One export and one run."""
        part = cut(self.program, [tap.node for tap in taps])
        with tempfile.TemporaryDirectory() as folder:
            written = exporter(self.runtime.targets[0])(part, Path(folder), self.precision)
            with self.runtime.open(Path(folder), written, part.signature) as session:
                found = session.run(self.inputs)
        return {tap.node: found[f"cut_{i}"] for i, tap in enumerate(taps)}
