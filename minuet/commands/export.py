"""A model becomes a bundle: every program in every target, each proved before it is kept."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

import typer

from minuet import coreml
from minuet.commands.common import Json, Out, Seed, Threads
from minuet.contracts.artifact import PRECISIONS, Artifact
from minuet.contracts.errors import MinuetError, MissingBackendError, ParityError, RequestError
from minuet.heard import absent, in_short
from minuet.optimum import for_optimum
from minuet.presets import shipped_student
from minuet.sizes import Sizes, read_sizes
from minuet.sources import Source, Wish, is_quantized, read_source

MIB = 1 << 20
TARGETS = "onnx,executorch,coreml,tensorrt"
GPU = "SM86"


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One kind of artifact to be written."""

    target: str
    precision: str


@dataclass(frozen=True, slots=True, kw_only=True)
class How:
    """What targets want to know besides the program."""

    gpu: str = GPU
    max_fallback: float = 1.0
    ios: int = coreml.LATEST
    units: str = ""
    sizes: Mapping[str, Sizes] = field(default_factory=dict)  # Core ML: by program
    threads: int = 0


def export(
    source: Annotated[
        str | None,
        typer.Argument(
            help="a student's or a diffusers pipeline's folder, package.module:factory, or "
            "models:family/size; none: the shipped student"
        ),
    ] = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="the bundle to write")] = Path("bundle"),
    to: Annotated[
        str, typer.Option("--to", "--targets", help="onnx, executorch, coreml, tensorrt")
    ] = TARGETS,
    precision: Annotated[
        str, typer.Option(help="fp32, fp16, bf16, int8; none: each target's own")
    ] = "",
    size: Annotated[
        str, typer.Option(help="side in px, or HEIGHTxWIDTH; none: 512, or the pipeline's own")
    ] = "",
    components: Annotated[
        str, typer.Option(help="of a pipeline: e.g. unet,vae_decoder; none: all it calls")
    ] = "",
    fused: Annotated[
        bool, typer.Option("--fused", help="of a pipeline: its whole denoising as one program")
    ] = False,
    steps: Annotated[
        int | None, typer.Option(min=1, help="of a pipeline: how many; a fused one has 8 at most")
    ] = None,
    frames: Annotated[int | None, typer.Option(min=1, help="of a video pipeline")] = None,
    guidance: Annotated[float | None, typer.Option(help="of a pipeline: guidance_scale")] = None,
    setting: Annotated[
        list[str] | None, typer.Option("--set", help="name=value, of a pipeline's call")
    ] = None,
    local_code: Annotated[
        bool, typer.Option("--local-code", help="package.module may lie in the current folder")
    ] = False,
    optimum: Annotated[
        bool, typer.Option("--optimum", help="of a pipeline: no bundle, but what optimum opens")
    ] = False,
    gpu: Annotated[str, typer.Option(help="TensorRT: the compute capability")] = GPU,
    max_fallback: Annotated[
        float, typer.Option(min=0, max=1, help="ExecuTorch: share of work outside the delegate")
    ] = 1.0,
    ios: Annotated[
        int, typer.Option(help="Core ML: the oldest that opens it: 16, 17, 18")
    ] = coreml.LATEST,
    also: Annotated[
        str, typer.Option(help="Core ML: other sizes in the same package: 256,320x512")
    ] = "",
    also_as: Annotated[
        str, typer.Option(help="Core ML: functions on shared weights (iOS 18), or shapes")
    ] = "functions",
    units: Annotated[
        str,
        typer.Option(
            help="Core ML: all, cpuAndNeuralEngine, cpuAndGPU, cpuOnly; none: what fits the rest"
        ),
    ] = "",
    seed: Seed = 0,
    threads: Threads = 0,
    json: Json = False,
) -> None:
    """Write a model as files that an app ships, and prove each against the eager program.

    All or nothing: where one artifact is not the same model, nothing is written (exit code 1).
    An interrupted export goes on where it was. The same source, seed and versions give the same
    bytes, except for engines of the `tensorrt` package, which times kernels while it builds.
    """
    from minuet.export.sources.record import parse_more

    say = Out(json=json)
    word = source or str(shipped_student())
    if optimum:
        asked = {
            "--to": to != TARGETS,
            "--size": bool(size),
            "--components": bool(components),
            "--fused": fused,
            "--steps": steps is not None,
            "--frames": frames is not None,
            "--guidance": guidance is not None,
            "--set": bool(setting),
            "--local-code": local_code,
            "--gpu": gpu != GPU,
            "--max-fallback": max_fallback != 1,
            "--ios": ios != coreml.LATEST,
            "--also": bool(also),
            "--also-as": also_as != "functions",
            "--units": bool(units),
            "--seed": seed != 0,
            "--threads": threads != 0,
        }
        return for_optimum(word, out, words(precision), asked, say)
    jobs = plan_jobs(words(to), words(precision), say, quantized=is_quantized(word))
    own = [job.precision for job in jobs if job.target == "coreml"]
    coreml.check(own, ios=ios, units=units, also=also, also_as=also_as)
    others = [pair for one in words(also) if (pair := sides(one, "--also"))]
    check_place(out)
    wish = Wish(
        size=sides(size),
        frames=frames,
        steps=steps,
        guidance=guidance,
        components=tuple(words(components)),
        fused=fused,
        seed=seed,
        more=parse_more(setting or []),
        local_code=local_code,
    )
    with say.progress(f"reading {word}"):
        read = read_source(word, wish)
        more = read_sizes(word, wish, read, others, also_as)
    how = How(gpu=gpu, max_fallback=max_fallback, ios=ios, units=units, sizes=more, threads=threads)
    with say.progress("exporting", total=len(jobs) * len(read.parts)) as step:
        manifest = write(read, jobs, out, how, say=say, step=step)
    for line in absent(manifest.artifacts):
        say.say(line)
    total = sum(row.size for row in manifest.artifacts)
    say.finish(
        {"bundle": str(out), "manifest": manifest.to_json()},
        f"{out}: {len(manifest.artifacts)} artifacts, {total / MIB:.1f} MiB. "
        f"Next: minuet verify {out}",
    )


def words(text: str) -> list[str]:
    """A comma-separated list without its blanks and repetitions."""
    return list(dict.fromkeys(word.strip() for word in text.split(",") if word.strip()))


def sides(text: str, option: str = "--size") -> tuple[int, int] | None:
    """512 or 320x512 -> height and width.

    Raises:
        RequestError: anything else.
    """
    parts = [part.strip() for part in text.lower().split("x")] if text.strip() else []
    if not parts:
        return None
    if len(parts) > 2 or not all(part.isdecimal() and len(part) < 6 for part in parts):
        raise RequestError(f"{option} is a side or HEIGHTxWIDTH in px, got {text!r}.")
    return int(parts[0]), int(parts[-1])


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


def write(source: Source, jobs: Sequence[Job], out: Path, how: How, *, say: Out, step: Any) -> Any:
    """The bundle, whole or not at all."""
    from minuet.contracts.files import write_bytes, write_folder
    from minuet.export.bundle import seal, write_golden
    from minuet.export.shelf import Shelf

    shelf = Shelf(bundle=out)
    with write_folder(out) as staging:
        for name, data in source.files.items():
            write_bytes(staging / name, data)
        rows = []
        for part in source.parts:
            for one in _and_other_sizes(part, how):
                write_golden(staging, [replace(case, program=one.name) for case in one.cases])
            program = part.program()
            for job in jobs:
                rows.append(_one(source, part, program, job, staging, shelf, how, say))
                step(note=rows[-1].name)
        manifest = seal(
            staging,
            name=source.name,
            family=source.family,
            programs={
                one.name: one.signature
                for part in source.parts
                for one in _and_other_sizes(part, how)
            },
            sampler=source.sampler,
            artifacts=rows,
            source_sha256=source.sha256,
        )
        shelf.clear()  # before the bundle is in its place: no file of it is a link any more
    return manifest


def _one(
    source: Source,
    part: Any,
    program: Any,
    job: Job,
    staging: Path,
    shelf: Any,
    how: How,
    say: Out,
) -> Artifact:
    """One artifact in its place, proved."""
    from minuet.export.shelf import key_of, place
    from minuet.proof import Known, prove, prove_rounded

    if job.precision == "int8" and source.quantize:
        program = source.quantize(program, job.target)
    options = _options(job, how)
    sizes = how.sizes.get(part.name) if job.target == "coreml" else None
    free = sizes and sizes.program
    told = options | (sizes.told if sizes else {})
    options |= sizes.options if sizes else {}
    key = key_of(free or program, job.target, job.precision, told)
    root, made, fresh = shelf.artifact(
        key, lambda folder: _written(free or program, job, folder, options)
    )
    artifact = replace(made, component=part.name)
    started = time.perf_counter()
    case = (part.signature, part.cases)
    proofs = (
        *prove(
            root,
            artifact,
            *case,
            others=sizes.held if sizes else (),
            known=Known(part.name, program),
            threads=how.threads,
            trusted=fresh,
        ),
        *prove_rounded(artifact, program.exported, *case),
    )
    for proof in proofs:
        if proof.failed:
            try:
                _refuse(root, artifact, program, part, proof, say)
            finally:
                shelf.forget(key)
        if proof.unfit:
            say.warn(f"{artifact.name} is not for {proof.runtime}: {proof.parity.reason}.")
    took = f"{artifact.seconds:5.1f} s" if fresh else "as before"
    say.say(
        f"{artifact.name:<16} {artifact.size / MIB:6.2f} MiB  {took}, "
        f"proved in {time.perf_counter() - started:.1f} s: {in_short(proofs)}"
    )
    _say_hazards(root, made, say)
    placed = place(made, root, staging, part.name)
    return replace(placed, parity=tuple(proof.parity for proof in proofs))


def _refuse(root: Path, artifact: Artifact, program: Any, part: Any, proof: Any, say: Out) -> None:
    """Stop, and name the first layer that differs.

    Raises:
        ParityError: always.
    """
    from minuet.benchmarks.parity import insist
    from minuet.divergence import where_it_diverges
    from minuet.export.blame import ADVICE, blame

    reason = proof.parity.reason
    if not proof.parity.metric and (culprit := blame(program, RequestError(reason))):
        raise ParityError(
            f"{artifact.name}: {proof.runtime} cannot run it ({reason}). It is {culprit}. "
            f"Nothing was written. {ADVICE}"
        )
    with say.progress(f"{artifact.name} is another model: looking for the first layer that is"):
        inputs = [case.inputs for case in part.cases]
        where = where_it_diverges(program, root, artifact, inputs)
    _say_hazards(root, artifact, say)  # one of them may be why
    insist(artifact, proof.parity, where)


def _say_hazards(root: Path, artifact: Artifact, say: Out) -> None:
    for line in coreml.lines(root, artifact):
        say.say(line)


def _written(program: Any, job: Job, folder: Path, options: dict[str, Any]) -> Artifact:
    """An exporter's work; what it cannot take is named, with its module.

    Raises:
        RequestError: the target cannot hold the program.
    """
    from minuet.export.blame import explained
    from minuet.export.table import exporter

    try:
        return exporter(job.target)(program, folder, job.precision, **options)
    except (KeyboardInterrupt, MissingBackendError, OSError, MemoryError):
        raise
    except RequestError as error:
        if type(error) is not RequestError:
            raise
        raise RequestError(explained(program, error)) from error
    except MinuetError:
        raise
    except Exception as error:
        raise RequestError(
            f"{job.target} in {job.precision} could not be written: {explained(program, error)}"
        ) from error


def _and_other_sizes(part: Any, how: How) -> list[Any]:
    """A part, and what else a package of it holds."""
    return [part, *(how.sizes[part.name].others if part.name in how.sizes else ())]


def _options(job: Job, how: How) -> dict[str, Any]:
    """What one target wants to know besides the program."""
    if job.target == "coreml":
        return coreml.options(job.precision, ios=how.ios, units=how.units)
    if job.target == "tensorrt":
        return {"capability": how.gpu}
    if job.target == "executorch":
        return {"max_fallback": how.max_fallback}
    if job == Job(target="onnx", precision="int8"):
        from minuet.quantize import onnx_form

        return {"finish": onnx_form.finish}
    return {}


def check_place(out: Path) -> None:
    """Refuse to replace a folder that is anything but a bundle."""
    if out.is_file() or (out.is_dir() and any(out.iterdir()) and not _is_bundle(out)):
        raise RequestError(f"{out}: exists and is not a bundle; choose another place.")


def _is_bundle(out: Path) -> bool:
    return (out / "manifest.json").is_file() and not (out / "model.json").exists()
