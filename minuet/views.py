"""An artifact and its program -> its inner values: each component alone, each step, on the way.

ONNX files are run themselves, with more inputs and outputs. Other formats show nothing inside: the
program is cut and exported anew for them, so what is found there is the exporter's doing, and not a
change to the file afterwards.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from minuet.benchmarks.parity import Difference, difference, worst_of
from minuet.benchmarks.parity_bisect import names
from minuet.benchmarks.parity_graph import depths, nodes, values
from minuet.benchmarks.parity_stages import Stage, stages, step_ends
from minuet.benchmarks.parity_trajectory import COMPONENT, STEP, TRAJECTORY, Finding
from minuet.contracts.artifact import Artifact
from minuet.contracts.errors import RequestError
from minuet.contracts.files import contained
from minuet.contracts.runtime import Runtime
from minuet.contracts.tensors import Array, Arrays, Signature, TensorSpec
from minuet.export.cut import cut
from minuet.export.table import exporter
from minuet.runtimes.probes import matched

if TYPE_CHECKING:
    from minuet.export.capture import Program

FLAT = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """A copy of an artifact that takes and shows values inside; names are the program's."""

    folder: Path
    artifact: Artifact
    signature: Signature
    given: Mapping[str, str]  # node -> the copy's input
    shown: Mapping[str, str]  # node -> the copy's output


class Views:
    """One program, one case: everything that is asked of every artifact of it."""

    def __init__(self, program: Program, inputs: Arrays) -> None:
        self.program, self.inputs = program, inputs
        exported = program.exported
        self.stages, self.ends = stages(exported), step_ends(exported)
        self.depths = depths(exported)
        (results,) = next(node for node in exported.graph.nodes if node.op == "output").args
        self.results = {
            node.name: spec.name
            for node, spec in zip(results, program.signature.outputs, strict=True)
        }
        quantized = any("quantize_per" in str(node.target) for node in nodes(exported))
        given = tuple(torch.from_numpy(inputs[s.name].copy()) for s in program.signature.inputs)
        asked = {name for stage in self.stages for name in stage.outputs}
        asked |= {name for end in self.ends for name in end} | set(self.results)
        self.oracle = values(exported, given, asked, "fp32" if quantized else "fp64")
        self.eager = values(exported, given, asked, "fp32")

    def of(self, bundle: Path, artifact: Artifact, runtime: Runtime) -> Iterator[Finding]:
        """Every view of one artifact on one runtime.

        Raises:
            RequestError: nothing inside it can be shown.
        """
        handed = tuple(dict.fromkeys(name for stage in self.stages for name in stage.outputs))
        ends = (*self.ends, tuple(self.results))
        free, _ = self._run(bundle, artifact, runtime, (), (*handed, *ends[0]))
        alone, given = self._run(bundle, artifact, runtime, handed, (*handed, *self.results))
        yield from self._components(alone, whole=given == len(handed))
        yield self._step(0, ends[0], free)
        for at in range(1, len(ends)):
            made, _ = self._run(bundle, artifact, runtime, ends[at - 1], ends[at])
            yield self._step(at, ends[at], made)
        yield from self._trajectory(free)

    def _components(self, made: Arrays, whole: bool) -> Iterator[Finding]:
        for stage in self.stages:
            yield from self._stage(COMPONENT, stage, made, stage.depth)
        if not whole:  # a value without a name in the file hands on what came before it
            return
        for node, output in self.results.items():  # what is computed around the components
            one = difference(self.oracle[node], made[node])
            yield Finding(
                scope=COMPONENT, component="the rest", step=0, output=output, found=one, depth=0
            )

    def _trajectory(self, made: Arrays) -> Iterator[Finding]:
        for stage in self.stages:
            deep = max((self.depths[name] for name in stage.outputs), default=0)
            yield from self._stage(TRAJECTORY, stage, made, deep)

    def _stage(self, scope: str, stage: Stage, made: Arrays, depth: int) -> Iterator[Finding]:
        found = self._differences(stage.outputs, made)
        if found:
            yield Finding(
                scope=scope,
                component=stage.component,
                step=stage.call,
                output="",
                found=worst_of(found),
                depth=depth,
                own_db=self._own(stage.outputs),
            )

    def _step(self, at: int, ends: Sequence[str], made: Arrays) -> Finding:
        return Finding(
            scope=STEP,
            component="",
            step=at,
            output="",
            found=worst_of(self._differences(ends, made)),
            depth=max(self.depths.values()),
            own_db=self._own(ends),
        )

    def _differences(self, names: Sequence[str], made: Arrays) -> list[Difference]:
        return [difference(self.oracle[name], made[name]) for name in names if name in made]

    def _own(self, names: Sequence[str]) -> float:
        return min(difference(self.oracle[name], self.eager[name]).db for name in names)

    def _run(
        self,
        bundle: Path,
        artifact: Artifact,
        runtime: Runtime,
        given: Sequence[str],
        shown: Sequence[str],
    ) -> tuple[dict[str, Array], int]:
        """The values shown, where readers of the given ones are handed the oracle's; how many."""
        make = _tapped if artifact.target == "onnx" else _cut
        handed = {name: np.asarray(self.oracle[name], np.float32) for name in given}
        with tempfile.TemporaryDirectory() as folder:
            one = make(self.program, bundle, artifact, Path(folder), handed, shown)
            told = {one.given[name]: handed[name] for name in one.given}
            with runtime.open(one.folder, one.artifact, one.signature) as session:
                found = session.run({**self.inputs, **told})
            return {node: found[name] for node, name in one.shown.items()}, len(one.given)


def _cut(
    program: Program,
    bundle: Path,
    artifact: Artifact,
    folder: Path,
    given: Arrays,
    shown: Sequence[str],
) -> Opened:
    """A program cut open, exported anew."""
    handed = {name: torch.from_numpy(value) for name, value in given.items()}
    ends = tuple(dict.fromkeys(shown))
    part = cut(program, ends, handed)
    return Opened(
        folder=folder,
        artifact=exporter(artifact.target)(part, folder, artifact.precision),
        signature=part.signature,
        given={name: f"given_{i}" for i, name in enumerate(given)},
        shown={name: f"cut_{i}" for i, name in enumerate(ends)},
    )


def _tapped(
    program: Program,
    bundle: Path,
    artifact: Artifact,
    folder: Path,
    given: Arrays,
    shown: Sequence[str],
) -> Opened:
    """An ONNX file with more inputs and outputs, which are float32 whatever it holds inside.

    Raises:
        RequestError: its weights lie outside the file, which would have to be copied.
    """
    import onnx

    if f"{artifact.entry}.data" in {file.path for file in artifact.files}:
        raise RequestError(f"{artifact.name}: its inner values are shown up to 2 GB only.")
    model = onnx.load(str(contained(bundle, artifact.entry)), load_external_data=False)
    known = names(program.exported, [spec.name for spec in program.signature.outputs])
    made = ((out, node.op_type) for node in model.graph.node for out in node.output)
    inside = {tap.node: tap.name for tap in matched(made, known)}
    handed = {
        name: _handed(model.graph, inside[name], given[name]) for name in given if name in inside
    }
    ends = {name: inside[name] for name in dict.fromkeys(shown) if name in inside}
    results = {output.name for output in model.graph.output}
    seen = {
        name: value if value in results else _shown(model.graph, value)
        for name, value in ends.items()
    }
    onnx.save(model, str(folder / "model.onnx"))
    more = tuple(_spec(handed[name], given[name].shape) for name in handed)
    told = program.signature
    shapes = {node.name: tuple(node.meta["val"].shape) for node in nodes(program.exported)}
    extra = tuple(_spec(seen[name], shapes[name]) for name in seen if seen[name] not in results)
    return Opened(
        folder=folder,
        artifact=Artifact(
            target="onnx",
            precision=artifact.precision,
            entry="model.onnx",
            files=(),
            requires=artifact.requires,
        ),
        signature=Signature(inputs=(*told.inputs, *more), outputs=(*told.outputs, *extra)),
        given=handed,
        shown=seen,
    )


def _handed(graph: Any, value: str, array: Array) -> str:
    """Hand the readers of a value a new input instead, in the value's own type."""
    from onnx import TensorProto, helper

    name, cast = f"{value}__given", f"{value}__cast"
    for node in graph.node:
        node.input[:] = [cast if one == value else one for one in node.input]
    graph.input.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, array.shape))
    place = 1 + next(i for i, node in enumerate(graph.node) if value in node.output)
    graph.node.insert(place, helper.make_node("CastLike", [name, value], [cast]))
    return name


def _shown(graph: Any, value: str) -> str:
    """One more output: a value in float32."""
    from onnx import TensorProto, helper

    name = f"{value}__shown"
    graph.node.append(helper.make_node("Cast", [value], [name], to=TensorProto.FLOAT))
    graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, None))
    return name


def _spec(name: str, shape: Sequence[int]) -> TensorSpec:
    return TensorSpec(name=name, axes=FLAT[: len(shape)], shape=tuple(shape), dtype="float32")
