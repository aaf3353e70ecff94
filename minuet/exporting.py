"""A source and its jobs -> a bundle: each artifact is written, proved, and only then kept."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from minuet import coreml
from minuet.commands.common import Out, Step
from minuet.contracts.artifact import FLOATS, Artifact, Manifest
from minuet.contracts.errors import MinuetError, MissingBackendError, ParityError, RequestError
from minuet.heard import in_short
from minuet.sizes import Sizes
from minuet.sources import Source

if TYPE_CHECKING:
    from minuet.export.shelf import Shelf
    from minuet.proof import Proof

MIB = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One kind of artifact to be written."""

    target: str
    precision: str


@dataclass(frozen=True, slots=True, kw_only=True)
class How:
    """What targets want to know besides the program."""

    consumer: str = ""  # ONNX: who reads it
    max_fallback: float = 1.0
    ios: int = coreml.LATEST
    units: str = ""
    gpu: str = ""  # TensorRT: one or several; none: what the precision takes
    strip_weights: bool = False  # TensorRT: they are refitted from the model
    threads: int = 0
    sizes: Mapping[str, Sizes] = field(default_factory=dict)  # Core ML: by program

    def options(self, job: Job) -> dict[str, Any]:
        """For the exporter of a job."""
        if job.target == "coreml":
            return coreml.options(job.precision, ios=self.ios, units=self.units)
        if job.target == "tensorrt":
            engine = {"capability": self.gpu, "strip": self.strip_weights}
            return engine | _finish(job)
        if job.target == "executorch":
            return {"max_fallback": self.max_fallback}
        if job.target != "onnx":
            return {}
        reader = {"consumer": self.consumer} if self.consumer else {}
        return reader | _finish(job)

    def held(self, part: Any) -> list[Any]:
        """A part, and what else a package of it holds."""
        return [part, *(self.sizes[part.name].others if part.name in self.sizes else ())]


def _quantized(job: Job) -> bool:
    return job.precision not in FLOATS


def _finish(job: Job) -> dict[str, Any]:
    """What makes the ONNX file of a quantized program small, fast, or of other codes."""
    from minuet.quantize import dynamic, onnx_form, onnx_fp8, onnx_w8a16

    if job.target == "tensorrt":
        return {"finish": onnx_fp8.finish} if job.precision == "fp8" else {}
    if not _quantized(job):
        return {}
    own = {"w8a16": onnx_w8a16.finish, "int8-dynamic": dynamic.finish}
    return {"finish": own.get(job.precision, onnx_form.finish)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """One program on its way to one artifact."""

    part: Any  # part.Part, or a file in its place
    program: Any  # captured, and quantized where the job says so
    job: Job
    options: dict[str, Any]  # for the exporter
    sizes: Sizes | None = None  # what else the artifact holds
    sha256: str = ""  # of a program that is a file

    @property
    def captured(self) -> bool:
        """Whether there is a graph of torch's to look into."""
        return not self.sha256

    @property
    def key(self) -> str:
        """What the artifact is known by on the shelf."""
        from minuet.export.shelf import key_of

        told = self.options | (self.sizes.told if self.sizes else {})
        return key_of(self.written, self.job.target, self.job.precision, told, self.sha256)

    @property
    def written(self) -> Any:
        """The program that the exporter takes: one that is free in its sizes, if there is one."""
        return (self.sizes and self.sizes.program) or self.program


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """An artifact on the shelf."""

    root: Path
    artifact: Artifact
    fresh: bool  # not taken from before


def write(
    source: Source, jobs: Sequence[Job], out: Path, how: How, *, say: Out, step: Step
) -> Manifest:
    """The bundle, whole or not at all.

    Raises:
        RequestError: a target cannot hold a program.
        ParityError: an artifact is another model.
    """
    from minuet.contracts.files import write_bytes, write_folder
    from minuet.export.bundle import seal, write_golden
    from minuet.export.shelf import Shelf

    shelf = Shelf(bundle=out)
    with write_folder(out) as staging:
        for name, data in source.files.items():
            write_bytes(staging / name, data)
        programs = [one for part in source.parts for one in how.held(part)]
        for one in programs:
            write_golden(staging, [replace(case, program=one.name) for case in one.cases])
        rows = []
        for piece in pieces(source, jobs, how):
            rows.append(_kept(piece, shelf, staging, how, say))
            step(note=rows[-1].name)
        manifest = seal(
            staging,
            name=source.name,
            family=source.family,
            programs={one.name: one.signature for one in programs},
            sampler=source.sampler,
            artifacts=rows,
            source_sha256=source.sha256,
            quantization=source.quantization if any(_quantized(job) for job in jobs) else {},
        )
        shelf.clear()  # before the bundle is in its place: no file of it is a link any more
    return manifest


def pieces(source: Source, jobs: Sequence[Job], how: How) -> Iterator[Piece]:
    """Every program for every job; each is captured once, when its turn comes."""
    for part in source.parts:
        program = part.program()
        for job in jobs:
            yield piece_of(part, program, job, how, source)


def piece_of(part: Any, program: Any, job: Job, how: How, source: Source | None = None) -> Piece:
    """One program for one job."""
    sizes = how.sizes.get(part.name) if job.target == "coreml" else None
    quantize = source.quantize if source and _quantized(job) else None
    if quantize:
        program = quantize(program, job.target)
        sizes = sizes and replace(sizes, finish=lambda other: quantize(other, job.target))
    return Piece(
        part=part,
        program=program,
        job=job,
        options=how.options(job) | (sizes.options if sizes else {}),
        sizes=sizes,
        sha256=getattr(program, "sha256", ""),
    )


def made_of(piece: Piece, folder: Path) -> Artifact:
    """An exporter's work; what it cannot take is named, with its module.

    Raises:
        RequestError: the target cannot hold the program.
    """
    from minuet.export.table import exporter

    job = piece.job
    try:
        return exporter(job.target)(piece.written, folder, job.precision, **piece.options)
    except (KeyboardInterrupt, MissingBackendError, OSError, MemoryError):
        raise
    except RequestError as error:
        if type(error) is not RequestError:
            raise
        raise RequestError(_explained(piece, error)) from error
    except MinuetError:
        raise
    except Exception as error:
        said = _explained(piece, error)
        raise RequestError(
            f"{job.target} in {job.precision} could not be written: {said}"
        ) from error


def _explained(piece: Piece, error: Exception) -> str:
    from minuet.export.blame import explained

    return explained(piece.written, error) if piece.captured else str(error)


def _kept(piece: Piece, shelf: Shelf, staging: Path, how: How, say: Out) -> Artifact:
    """One artifact in its place, proved."""
    from minuet.export.shelf import place

    key = piece.key
    root, found, fresh = shelf.artifact(key, lambda folder: made_of(piece, folder))
    made = Made(root=root, artifact=replace(found, component=piece.part.name), fresh=fresh)
    started = time.perf_counter()
    proofs = _proofs(piece, made, how)
    for proof in proofs:
        if proof.failed:
            try:
                _refuse(piece, made, proof, say)
            finally:
                shelf.forget(key)
    _tell(made, proofs, time.perf_counter() - started, say)
    placed = place(found, root, staging, piece.part.name)
    return replace(placed, parity=tuple(proof.parity for proof in proofs))


def _proofs(piece: Piece, made: Made, how: How) -> list[Proof]:
    """What each runtime makes of the golden cases, and what a narrow precision costs."""
    from minuet.proof import Known, prove, prove_rounded

    part, program = piece.part, piece.program
    ran = prove(
        made.root,
        made.artifact,
        part.signature,
        part.cases,
        others=piece.sizes.held if piece.sizes else (),
        known=Known(part.name, program) if piece.captured else None,
        threads=how.threads,
        trusted=made.fresh,
    )
    if not piece.captured:
        return [*ran]
    return [*ran, *prove_rounded(made.artifact, program.exported, part.signature, part.cases)]


def _refuse(piece: Piece, made: Made, proof: Proof, say: Out) -> None:
    """Stop, and name the first layer that differs.

    Raises:
        ParityError: always.
    """
    from minuet.benchmarks.parity import insist
    from minuet.divergence import where_it_diverges
    from minuet.export.blame import ADVICE, blame

    reason, artifact = proof.parity.reason, made.artifact
    if not piece.captured:
        return insist(artifact, proof.parity)
    if not proof.parity.metric and (culprit := blame(piece.program, RequestError(reason))):
        raise ParityError(
            f"{artifact.name}: {proof.runtime} cannot run it ({reason}). It is {culprit}. "
            f"Nothing was written. {ADVICE}"
        )
    with say.progress(f"{artifact.name} is another model: looking for the first layer that is"):
        inputs = [case.inputs for case in piece.part.cases]
        where = where_it_diverges(piece.program, made.root, artifact, inputs)
    for line in coreml.lines(made.root, artifact):  # one of the hazards may be why
        say.say(line)
    insist(artifact, proof.parity, where)


def _tell(made: Made, proofs: Sequence[Proof], seconds: float, say: Out) -> None:
    """A line on an artifact, and below it what is known to go wrong with it."""
    artifact = made.artifact
    for proof in proofs:
        if proof.unfit:
            say.warn(f"{artifact.name} is not for {proof.runtime}: {proof.parity.reason}.")
    took = f"{artifact.seconds:5.1f} s" if made.fresh else "as before"
    say.say(
        f"{artifact.name:<16} {artifact.size / MIB:6.2f} MiB  {took}, "
        f"proved in {seconds:.1f} s: {in_short(proofs)}"
    )
    for line in coreml.lines(made.root, artifact):
        say.say(line)
