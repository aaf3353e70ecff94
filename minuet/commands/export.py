"""A student becomes a bundle: every target in every precision, each proved before it is kept."""

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from minuet.commands.common import Json, Out, Seed, Threads
from minuet.contracts.artifact import PRECISIONS, Artifact
from minuet.contracts.errors import MissingBackendError, RequestError

CASES = 2  # golden examples: enough to notice a wrong program, few enough to ship
MIB = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One artifact to be written."""

    target: str
    precision: str


def export(
    student: Annotated[
        Path | None, typer.Argument(help="the student's folder; none: the shipped one")
    ] = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="the bundle to write")] = Path("bundle"),
    to: Annotated[
        str, typer.Option(help="targets: onnx, executorch, coreml, tensorrt")
    ] = "onnx,executorch,coreml,tensorrt",
    precision: Annotated[str, typer.Option(help="fp32, fp16, int8; none: each target's own")] = "",
    size: Annotated[int, typer.Option(help="side of the stickers in px: 64, 128, 256, 512")] = 512,
    gpu: Annotated[str, typer.Option(help="TensorRT: the compute capability")] = "SM86",
    seed: Seed = 0,
    threads: Threads = 0,
    json: Json = False,
) -> None:
    """Write a student as files that an app ships, and prove each against the eager program.

    All or nothing: where one artifact is not the same model, nothing is written (exit code 1).
    The same student, seed and versions give the same bytes, TensorRT engines aside.
    """
    say = Out(json=json)
    folder = student or _shipped()
    jobs = plan_jobs(words(to), words(precision), say, quantized=_is_quantized(folder))
    _check_place(out)
    with say.progress(f"capturing {folder} at {size} px"):
        source = Source.read(folder, size, seed)
    with say.progress("exporting", total=len(jobs)) as step:
        manifest = write(source, jobs, out, gpu=gpu, threads=threads, say=say, step=step)
    total = sum(row.size for row in manifest.artifacts)
    say.finish(
        {"bundle": str(out), "manifest": manifest.to_json()},
        f"{out}: {len(manifest.artifacts)} artifacts, {total / MIB:.1f} MiB. "
        f"Next: minuet verify {out}",
    )


def words(text: str) -> list[str]:
    """A comma-separated list without its blanks and repetitions."""
    return list(dict.fromkeys(word.strip() for word in text.split(",") if word.strip()))


def plan_jobs(
    targets: Sequence[str], precisions: Sequence[str], say: Out, *, quantized: bool = False
) -> list[Job]:
    """Targets x precisions that exist; what is left out is said.

    Without precisions each target gets its own: int8 of a quantized student where it is written.

    Raises:
        RequestError: an unknown word, a target that has none of the precisions, or int8 of a
            student that is not quantized.
        MissingBackendError: a target's library is not installed.
    """
    from minuet.export import table

    unknown = [word for word in precisions if word not in PRECISIONS]
    if unknown or not targets:
        raise RequestError(
            f"precision {', '.join(unknown)!r} is not known; choose from {', '.join(PRECISIONS)}."
            if unknown
            else "no target was asked for; choose from " + ", ".join(table.EXPORTERS)
        )
    if "int8" in precisions and not quantized:
        raise RequestError("int8 needs a calibrated student; make one with `minuet quantize`.")
    jobs = []
    for target in targets:
        known = table.row(target).precisions
        own = ["int8"] if quantized and "int8" in known else known[:1]
        wanted = [word for word in precisions or own if word in known]
        if not wanted:
            raise RequestError(f"{target} is written in {', '.join(known)} only.")
        for word in set(precisions) - set(known):
            say.warn(f"{target} is not written in {word}; left out.")
        jobs += [Job(target=target, precision=word) for word in wanted]
    if refusals := [refusal.reason for target in targets if (refusal := table.missing(target))]:
        raise MissingBackendError("; ".join(refusals) + ".")
    return jobs


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A student made ready for export."""

    folder: Path
    student: Any  # minuet.models.student.Student
    animator: Any  # its one-call program, a module
    program: Any  # the same, captured
    cases: tuple[Any, ...]  # golden inputs and what the module makes of them

    @classmethod
    def read(cls, folder: Path, size: int, seed: int) -> "Source":
        """Load, capture, and run the reference on stickers of the world."""
        from minuet.export.bundle import Golden
        from minuet.export.capture import capture
        from minuet.models.student import load_student
        from minuet.runtimes.eager import EagerRuntime

        student = load_student(folder)
        animator = student.animator(size)
        signature = animator.signature()
        given = [golden_inputs(student, signature, seed, at) for at in range(CASES)]
        program = capture(animator, given[0], signature)
        with EagerRuntime(lambda: animator).open(folder, None, signature) as session:
            made = [session.run(inputs) for inputs in given]
        cases = tuple(
            Golden(name=f"{at:02d}", inputs=inputs, outputs=outputs)
            for at, (inputs, outputs) in enumerate(zip(given, made, strict=True))
        )
        return cls(folder=folder, student=student, animator=animator, program=program, cases=cases)

    def quantized(self, target: str) -> Any:
        """The program with the quantization that the student's folder describes."""
        from minuet.quantize.apply import quantize_program
        from minuet.quantize.recipe import read_recipe

        recipe, ranges = read_recipe(self.folder, self.student.sha256)
        whole = self.program
        made = quantize_program(whole.exported, whole.inputs, recipe, ranges, target)
        return replace(whole, exported=made)


def golden_inputs(student: Any, signature: Any, seed: int, at: int) -> dict[str, Any]:
    """The held-out sticker at an address: image, tokens of its caption, noise."""
    from tokenizers import Tokenizer

    from minuet.stickers import captions, world

    image, tokens, noise = signature.inputs
    spec = world.sample(seed, at, "test")
    drawn = world.render_static(spec, image.shape[-1], "pillow")
    ids = Tokenizer.from_str(student.tokenizer).encode(captions.caption(spec)).ids
    padded = np.zeros(tokens.shape, np.int32)
    known = ids[: tokens.shape[1]]
    padded[0, : len(known)] = known
    rng = np.random.default_rng((seed, at))
    return {
        image.name: np.moveaxis(drawn, 2, 0)[None].astype(np.float32) / np.float32(255),
        tokens.name: padded,
        noise.name: rng.standard_normal(noise.shape, dtype=np.float32),
    }


def write(
    source: Source, jobs: Sequence[Job], out: Path, *, gpu: str, threads: int, say: Out, step: Any
) -> Any:
    """The bundle, whole or not at all."""
    from minuet.contracts.files import write_bytes, write_folder
    from minuet.export.bundle import seal, write_golden

    student = source.student
    with write_folder(out) as staging:
        write_bytes(staging / "tokenizer.json", student.tokenizer.encode())
        write_bytes(staging / "card.md", student.card.encode())
        write_golden(staging, source.cases)
        rows = []
        for job in jobs:
            rows.append(_one(source, job, staging, gpu=gpu, threads=threads, say=say))
            step(note=rows[-1].name)
        return seal(
            staging,
            name=source.folder.resolve().name,
            family=type(student.network).__name__,
            signature=source.program.signature,
            sampler=_about(student),
            artifacts=rows,
            student_sha256=student.sha256,
        )


def _one(source: Source, job: Job, staging: Path, *, gpu: str, threads: int, say: Out) -> Artifact:
    from minuet.benchmarks.parity import insist
    from minuet.export.table import exporter
    from minuet.proof import prove

    program = source.quantized(job.target) if job.precision == "int8" else source.program
    extra = _extra(job, gpu)
    artifact = exporter(job.target)(program, staging, job.precision, **extra)
    started = time.perf_counter()
    proofs = tuple(
        prove(staging, artifact, program.signature, source.cases, threads=threads, trusted=True)
    )
    for proof in proofs:
        if proof.failed:
            insist(artifact, proof.parity)
        if proof.unfit:
            say.warn(f"{artifact.name} is not for {proof.runtime}: {proof.parity.reason}.")
    heard = "; ".join(_in_short(proof) for proof in proofs)
    say.say(
        f"{artifact.name:<16} {artifact.size / MIB:6.2f} MiB  {artifact.seconds:5.1f} s, "
        f"proved in {time.perf_counter() - started:.1f} s: {heard}"
    )
    return replace(artifact, parity=tuple(proof.parity for proof in proofs))


def _extra(job: Job, gpu: str) -> dict[str, Any]:
    """What one target wants to know besides the program."""
    if job.target == "tensorrt":
        return {"capability": gpu}
    if job == Job(target="onnx", precision="int8"):
        from minuet.quantize import onnx_form

        return {"finish": onnx_form.finish}
    return {}


def _in_short(proof: Any) -> str:
    if proof.parity.value is None:
        return f"{proof.runtime} not run: {proof.parity.reason}"
    return f"{proof.runtime} {proof.parity.value:.1f} dB"


def _about(student: Any) -> dict[str, Any]:
    """How a student is sampled and what that costs, for the manifest."""
    from minuet.evaluation import gigaflops

    sampler = student.sampler
    cost = {"steps": sampler.steps, "nfe": sampler.evaluations, "macs": gigaflops(student) * 5e8}
    return asdict(sampler) | cost


def _check_place(out: Path) -> None:
    """Refuse to replace a folder that is anything but a bundle."""
    if out.is_file() or (out.is_dir() and any(out.iterdir()) and not _is_bundle(out)):
        raise RequestError(f"{out}: exists and is not a bundle; choose another place.")


def _is_bundle(out: Path) -> bool:
    return (out / "manifest.json").is_file() and not (out / "model.json").exists()


def _is_quantized(folder: Path) -> bool:
    from minuet.quantize.recipe import is_quantized

    return is_quantized(folder)


def _shipped() -> Path:
    from minuet import shipped

    folder = shipped.folder() / "student"
    if not folder.is_dir():
        raise RequestError("no student is shipped with this copy; name a student's folder.")
    return folder
