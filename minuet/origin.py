"""A bundle and the word for what it was made from -> its programs, captured again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from minuet.contracts.artifact import QUANTIZED, Artifact, Manifest
from minuet.contracts.errors import DamagedError, Refusal, RequestError
from minuet.contracts.tensors import Arrays, Signature
from minuet.export.sources.onnx_file import OnnxProgram
from minuet.sources import Source, read_source
from minuet.wish import asked_of

if TYPE_CHECKING:
    from minuet.export.bundle import Golden
    from minuet.export.capture import Program
    from minuet.export.sources.onnx_file import OnnxPart
    from minuet.export.sources.part import Part


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """The source of a bundle, at the size of the bundle."""

    source: Source
    captured: dict[str, Program | OnnxProgram] = field(default_factory=dict)
    checked: set[str] = field(default_factory=set)

    def program(self, artifact: Artifact) -> Program | Refusal:
        """What an artifact was exported from, or why that is not known."""
        if artifact.precision in QUANTIZED and self.source.quantize is None:
            return Refusal("how it was quantized is not known")
        program = self._captured(artifact.component)
        if isinstance(program, OnnxProgram):
            return Refusal("an ONNX file holds no modules to look into")
        if artifact.precision not in QUANTIZED or self.source.quantize is None:
            return program
        try:
            return self.source.quantize(program, artifact.target)
        except RequestError as error:  # a folder without a recipe
            return Refusal(str(error))

    def check(self, component: str, cases: Sequence[Golden]) -> None:
        """Run the program in float32 on the golden inputs, once a component.

        Raises:
            DamagedError: a case's outputs are not what the program makes of its inputs.
        """
        if component not in self.checked:
            for case in cases:
                _check_case(self._outputs(component, case), self._part(component).signature, case)
            self.checked.add(component)

    def _part(self, component: str) -> Part | OnnxPart:
        return next(one for one in self.source.parts if one.name == component)

    def _captured(self, component: str) -> Program | OnnxProgram:
        if component not in self.captured:
            self.captured[component] = self._part(component).program()
        return self.captured[component]

    def _outputs(self, component: str, case: Golden) -> Arrays:
        """What the source makes of a case's inputs in float32, or the file as it came."""
        import torch

        from minuet.benchmarks.parity_graph import outputs

        program = self._captured(component)
        if isinstance(program, OnnxProgram):
            return program.run(case.inputs)
        told = program.signature
        given = [torch.from_numpy(case.inputs[spec.name].copy()) for spec in told.inputs]
        made = outputs(program.exported, given, "fp32")
        return {spec.name: one for spec, one in zip(told.outputs, made, strict=True)}


def _check_case(made: Arrays, signature: Signature, case: Golden) -> None:
    """Both are float32, so that they differ by no more than float32 may, whatever the program."""
    from minuet.benchmarks.parity import difference
    from minuet.benchmarks.tolerances import LEAST_DB

    for spec in signature.outputs:
        found = difference(case.outputs[spec.name], made[spec.name].astype(spec.dtype))
        if found.fault or found.db < LEAST_DB[found.metric]:
            raise DamagedError(
                f"golden case {case.program}/{case.name}: its {spec.name} is not what the source "
                f"makes of its inputs in float32 ({found}; {LEAST_DB[found.metric]} dB needed); "
                "export again."
            )


def read_origin(manifest: Manifest, word: str) -> Origin:
    """The source that a word names, once it is known to be the bundle's.

    Raises:
        RequestError: the word names nothing, other weights, or programs of other shapes.
        DamagedError: what the manifest says was asked for is nothing that could have been.
    """
    asked = asked_of(manifest)
    source = read_source(word, replace(asked, size=asked.size or _size(manifest)))
    if source.sha256 != manifest.source_sha256:
        raise RequestError(
            f"{word}: its weights are {source.sha256[:12]}, and the bundle was made from "
            f"{manifest.source_sha256[:12]}; name that model with --source."
        )
    found = {part.name: part.signature for part in source.parts}
    needed = {row.component for row in manifest.artifacts}
    if strange := [name for name in sorted(needed) if found.get(name) != manifest.programs[name]]:
        raise RequestError(
            f"{word}: gives no program {strange[0]!r} of the shapes in the bundle, which was "
            "exported by another version; verify it without --source."
        )
    return Origin(source=source)


def _size(manifest: Manifest) -> tuple[int, int] | None:
    """Height and width of a student's stickers; other sources know their own."""
    if "levels" not in manifest.sampler or "main" not in manifest.programs:
        return None
    height, width = manifest.signature.inputs[0].shape[-2:]
    return height, width
