"""The command line's words on optimum -> the folder that optimum.onnxruntime opens, proved."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from minuet.commands.common import Out
from minuet.contracts.artifact import Artifact
from minuet.contracts.errors import RequestError
from minuet.heard import absent, in_short

if TYPE_CHECKING:
    from torch.export import ExportedProgram

    from minuet.export.optimum_faces import Extent, Face
    from minuet.export.optimum_layout import Written
    from minuet.proof import Held, Proof

MIB = 1 << 20


def for_optimum(
    word: str, out: Path, precisions: Sequence[str], lost: Sequence[str], say: Out
) -> None:
    """Write a pipeline as ONNX files in optimum's layout and under its names, and prove each.

    Args:
        lost: other options that were given; none has a meaning here.

    Raises:
        RequestError: no pipeline, an option that says nothing here, or several precisions.
        ParityError: a file is another network; nothing is written then.
    """
    from minuet.export.optimum_layout import write_optimum

    _check(word, precisions, lost)
    judge = Judge(precision=precisions[0] if precisions else "fp32", say=say)
    with say.progress(f"exporting {word}"):
        written = write_optimum(Path(word), out, judge.precision, check=judge)
    for line in absent(judge.proved):
        say.say(line)
    say.finish(
        {
            "pipeline": str(out),
            "networks": [row.folder for row in written],
            "parity": {row.component: [asdict(one) for one in row.parity] for row in judge.proved},
        },
        f"{out}: {len(written)} networks for optimum.onnxruntime.",
    )


def _check(word: str, precisions: Sequence[str], lost: Sequence[str]) -> None:
    if lost:
        raise RequestError(
            f"{', '.join(lost)} says nothing to --optimum, which writes every network of a "
            "pipeline as ONNX with open sizes; leave it out."
        )
    if len(precisions) > 1:
        raise RequestError(f"--optimum writes one precision at a time, not {len(precisions)}.")
    if (Path(word) / "model.json").exists():
        raise RequestError(f"{word}: a student; --optimum is for pipelines. Leave it out.")
    if not Path(word).exists():
        raise RequestError(f"{word}: not there; --optimum takes a diffusers pipeline's folder.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Judge:
    """Runs each network's file beside the network itself, and says how near it came."""

    precision: str
    say: Out
    proved: list[Artifact] = field(default_factory=list)

    def __call__(self, face: Face, folder: Path, program: ExportedProgram, row: Written) -> None:
        """Prove one network.

        Raises:
            ParityError: it is another.
        """
        from minuet.benchmarks.parity import insist

        artifact = self._artifact(face, folder)
        # What the network holds to one length is what was captured.
        extents = (face.example,) if row.fixed else (face.own, face.other)
        held = [_held(face, extent, at) for at, extent in enumerate(extents)]
        proofs = _proofs(folder.parent, artifact, held, program)
        for proof in proofs:
            if proof.failed:
                insist(artifact, proof.parity)
            if proof.unfit:
                self.say.warn(f"{face.folder} is not for {proof.runtime}: {proof.parity.reason}.")
        fixed = f"; fixed: {', '.join(row.fixed)}" if row.fixed else ""
        sizes = " and ".join(map(str, extents))
        self.say.say(
            f"{row.folder:<16} {row.bytes / MIB:6.2f} MiB  proved at {sizes}: "
            f"{in_short(proofs)}{fixed}"
        )
        self.proved.append(replace(artifact, parity=tuple(proof.parity for proof in proofs)))

    def _artifact(self, face: Face, folder: Path) -> Artifact:
        from minuet.export.files import file_entry

        found = sorted(folder.glob("model.onnx*"))
        return Artifact(
            target="onnx",
            precision=self.precision,
            entry=f"{face.folder}/model.onnx",
            files=tuple(file_entry(folder.parent, path) for path in found),
            requires={},
            component=face.folder,
        )


def _held(face: Face, extent: Extent, at: int) -> Held:
    """The network at one extent, with what it makes of inputs that a seed draws."""
    import torch

    from minuet.contracts.tensors import Signature
    from minuet.export.bundle import Golden
    from minuet.export.sources.part import arrays_of, specs_of
    from minuet.proof import Held

    given = face.inputs(extent, seed=at)
    with torch.no_grad():
        made = face.call(*given.values())
    inputs = tuple(specs_of(given, given.values(), face.folder))
    outputs = tuple(specs_of(face.outputs, made, face.folder))
    case = Golden(
        name=f"{at:02d}",
        program=face.folder,
        inputs=arrays_of(inputs, given.values()),
        outputs=arrays_of(outputs, made),
    )
    return Held(
        name=face.folder, signature=Signature(inputs=inputs, outputs=outputs), cases=(case,)
    )


def _proofs(
    root: Path, artifact: Artifact, held: Sequence[Held], exported: ExportedProgram
) -> list[Proof]:
    from minuet.export.capture import Program
    from minuet.proof import Known, prove, prove_rounded

    first, *others = held
    told = first.signature, first.cases
    # Its sizes are open, so that it is the program of every extent.
    program = Program(exported=exported, signature=first.signature, inputs=())
    known = Known(artifact.component, program)
    return [
        *prove(root, artifact, *told, others=others, known=known),
        *prove_rounded(artifact, exported, *told),
    ]
