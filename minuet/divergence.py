"""An artifact that fails parity -> the first layer of its program where it does so."""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from minuet.contracts.artifact import Artifact
from minuet.contracts.errors import InconclusiveError, MissingBackendError
from minuet.contracts.files import contained
from minuet.contracts.probe import Probe, Tap
from minuet.contracts.runtime import Runtime
from minuet.contracts.tensors import Arrays
from minuet.export.cut import cut
from minuet.export.table import exporter
from minuet.runtimes.table import runtimes_for

if TYPE_CHECKING:
    from torch.export import ExportedProgram

    from minuet.benchmarks.parity_bisect import Divergence
    from minuet.export.capture import Program


PATIENCE_S = 120.0  # of the search at an export; the question that is being asked is finished


def where_it_diverges(
    program: Program,
    bundle: Path,
    artifact: Artifact,
    cases: Iterable[Arrays],
    seconds: float = PATIENCE_S,
) -> str:
    """A sentence: the first layer that differs, or why none is named.

    Args:
        cases: inputs, tried in order until a layer differs.
    """
    end = time.monotonic() + seconds
    try:
        for inputs in cases:
            left = end - time.monotonic()
            if found := diverges(program, bundle, artifact, inputs, seconds=max(left, 0.0)):
                return f"It {found}"
    except InconclusiveError as error:
        return f"Where it begins is not known: {error}."
    except (KeyboardInterrupt, MemoryError):
        raise
    except Exception as error:  # an exporter or a backend on a part of the program
        told = (str(error).strip() or type(error).__name__).splitlines()[0][:200].rstrip(".")
        return f"Where it begins is not known: its layers could not be compared ({told})."
    return "Every value inside that has a name agrees: the outputs themselves are at fault."


def diverges(
    program: Program,
    bundle: Path,
    artifact: Artifact,
    inputs: Arrays,
    *,
    seconds: float = math.inf,
) -> Divergence | None:
    """Compare values inside an artifact with the program's, in order, and stop at the first.

    ONNX files and Core ML packages are read themselves. ExecuTorch files and TensorRT engines
    show no inner values: cuts of the program are exported anew for them, log2(nodes) times, so
    what is found there is the exporter's doing and not a change to the file afterwards.

    Returns:
        None where every value that could be compared agrees.

    Raises:
        MissingBackendError: the backend cannot run here.
        InconclusiveError: the seconds did not suffice.
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
    return first_divergence(known, given, probe, arithmetic, outputs, seconds)


def _forms(program: Program, target: str) -> Iterator[ExportedProgram]:
    """The program under every naming that an exporter may have seen.

    Decomposing renames nodes, so that `add_5` may be another sum: the right form is the one of
    which an artifact knows most names.
    """
    yield program.exported
    if target == "onnx":
        from minuet.export.rewrites.table import rewrite

        yield rewrite(program, target)[0].exported
    if target == "coreml":
        from minuet.export.coreml_convert import formed

        yield formed(program).exported


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
