"""Words of the command line -> what is exported, to what, and how."""

from collections.abc import Iterator, Sequence
from dataclasses import fields, replace
from json import loads
from pathlib import Path
from typing import Annotated, Any

import typer

from minuet import coreml
from minuet.able import Able, able, is_onnx
from minuet.commands.common import Json, Out, Seed, Threads
from minuet.contracts.artifact import PRECISIONS, Manifest
from minuet.contracts.errors import MissingBackendError, RequestError
from minuet.exporting import MIB, How, Job, write
from minuet.heard import absent
from minuet.optimum import for_optimum
from minuet.presets import shipped_student
from minuet.sizes import read_sizes
from minuet.sources import read_source
from minuet.wish import Wish

TARGETS = "onnx,executorch,coreml,tensorrt"
ALSO_AS = "functions"
OPTIONS = {"more": "--set"}  # what is not called like its option

Source = Annotated[
    str | None,
    typer.Argument(
        help="a student's or a diffusers pipeline's folder, package.module:factory, "
        "models:family/size, or an ONNX file; none: the shipped student"
    ),
]
Bundle = Annotated[Path, typer.Option("--out", "-o", help="the bundle to write")]
To = Annotated[str, typer.Option("--to", "--targets", help="onnx, executorch, coreml, tensorrt")]
Precision = Annotated[str, typer.Option(help="fp32, fp16, bf16, int8; none: each target's own")]
Size = Annotated[
    str, typer.Option(help="side in px, or HEIGHTxWIDTH; none: 512, or the pipeline's own")
]
# Of pipelines.
Components = Annotated[
    str, typer.Option(help="of a pipeline: e.g. unet,vae_decoder; none: all it calls")
]
Fused = Annotated[
    bool, typer.Option("--fused", help="of a pipeline: its whole denoising as one program")
]
Steps = Annotated[
    int | None, typer.Option(min=1, help="of a pipeline: how many; a fused one has 8 at most")
]
Frames = Annotated[int | None, typer.Option(min=1, help="of a video pipeline")]
Guidance = Annotated[float | None, typer.Option(help="of a pipeline: guidance_scale")]
Setting = Annotated[
    list[str] | None, typer.Option("--set", help="name=value, of a pipeline's call")
]
Optimum = Annotated[
    bool, typer.Option("--optimum", help="of a pipeline: no bundle, but what optimum opens")
]
# Of a factory.
LocalCode = Annotated[
    bool, typer.Option("--local-code", help="package.module may lie in the current folder")
]
# Of targets.
Consumer = Annotated[
    str,
    typer.Option(
        help="ONNX: who reads it: onnxruntime, onnxruntime-cuda, onnxruntime-web, coreml-ep, "
        "openvino, tensorrt, optimum; none: onnxruntime"
    ),
]
MaxFallback = Annotated[
    float, typer.Option(min=0, max=1, help="ExecuTorch: share of work outside the delegate")
]
Ios = Annotated[int, typer.Option(help="Core ML: the oldest that opens it: 16, 17, 18")]
Also = Annotated[str, typer.Option(help="Core ML: other sizes in the same package: 256,320x512")]
AlsoAs = Annotated[
    str, typer.Option(help="Core ML: functions on shared weights (iOS 18), or shapes")
]
Units = Annotated[
    str,
    typer.Option(
        help="Core ML: all, cpuAndNeuralEngine, cpuAndGPU, cpuOnly; none: what fits the rest"
    ),
]
Gpu = Annotated[
    str,
    typer.Option(help="TensorRT: compute capabilities, e.g. SM86,SM89; none: SM86, fp8: SM89"),
]
StripWeights = Annotated[
    bool,
    typer.Option(
        "--strip-weights", help="TensorRT: an engine that is refitted from the model beside it"
    ),
]


def export(
    source: Source = None,
    out: Bundle = Path("bundle"),
    to: To = TARGETS,
    precision: Precision = "",
    size: Size = "",
    components: Components = "",
    fused: Fused = False,
    steps: Steps = None,
    frames: Frames = None,
    guidance: Guidance = None,
    setting: Setting = None,
    local_code: LocalCode = False,
    optimum: Optimum = False,
    consumer: Consumer = "",
    max_fallback: MaxFallback = 1.0,
    ios: Ios = coreml.LATEST,
    also: Also = "",
    also_as: AlsoAs = ALSO_AS,
    units: Units = "",
    gpu: Gpu = "",
    strip_weights: StripWeights = False,
    seed: Seed = 0,
    threads: Threads = 0,
    json: Json = False,
) -> None:
    """Write a model as files that an app ships, and prove each against the eager program.

    All or nothing: where one artifact is not the same model, nothing is written (exit code 1).
    An interrupted export goes on where it was. The same source, seed and versions give the same
    bytes, except for engines of the `tensorrt` package, which times kernels while it builds.
    """
    say, word = Out(json=json), source or str(shipped_student())
    wish = Wish(
        size=sides(size),
        frames=frames,
        steps=steps,
        guidance=guidance,
        components=tuple(words(components)),
        fused=fused,
        seed=seed,
        more=settings(setting or []),
    )
    how = How(
        consumer=consumer,
        max_fallback=max_fallback,
        ios=ios,
        units=units,
        gpu=gpu,
        strip_weights=strip_weights,
        threads=threads,
    )
    if optimum:
        others = {"--to": to != TARGETS, "--local-code": local_code}
        others |= {"--also": bool(also), "--also-as": also_as != ALSO_AS}
        lost = [*given(wish, how), *(name for name, told in others.items() if told)]
        return for_optimum(word, out, words(precision), lost, say)
    jobs = plan_jobs(words(to), words(precision), say, able(word))
    check(word, jobs, how, also, also_as)
    sizes = [pair for one in words(also) if (pair := sides(one, "--also"))]
    check_place(out)
    with say.progress(f"reading {word}"):
        read = read_source(word, wish, local_code=local_code)
        how = replace(how, sizes=read_sizes(word, wish, read, sizes, also_as))
    with say.progress("exporting", total=len(jobs) * len(read.parts)) as step:
        manifest = write(read, jobs, out, how, say=say, step=step)
    _finish(manifest, out, say)


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


def settings(words: Sequence[str]) -> dict[str, Any]:
    """name=value, with a value of JSON where it is some.

    Raises:
        RequestError: a word without a name.
    """
    found = {}
    for word in words:
        name, sign, value = word.partition("=")
        if not sign or not name.isidentifier():
            raise RequestError(f"--set takes name=value, got {word!r}.")
        try:
            found[name] = loads(value)
        except ValueError:
            found[name] = value
    return found


def given(*told: Wish | How) -> Iterator[str]:
    """The options that are not as usual, by what they are called on the command line."""
    for one in told:
        usual = type(one)()
        for row in fields(one):
            if getattr(one, row.name) != getattr(usual, row.name):
                yield OPTIONS.get(row.name, f"--{row.name.replace('_', '-')}")


def plan_jobs(
    targets: Sequence[str], precisions: Sequence[str], say: Out, source: Able
) -> list[Job]:
    """Targets x precisions that exist; what is left out is said.

    Without precisions each target gets its own: int8 of a quantized student where it is written.

    Raises:
        RequestError: an unknown word, a target that has none of the precisions, or what the source
            cannot be.
        MissingBackendError: a target's library is not installed.
    """
    from minuet.export import table

    _check_words(targets, precisions)
    source.check(targets, precisions)
    jobs = []
    for target in targets:
        known = table.row(target).precisions
        own = [word for word in known if word in source.precisions]
        if source.quantized in known:
            own = [source.quantized]
        wanted = [word for word in precisions or own[:1] if word in known]
        if not wanted:
            raise RequestError(f"{target} is written in {', '.join(known)} only.")
        for word in set(precisions) - set(known):
            say.warn(f"{target} is not written in {word}; left out.")
        jobs += [Job(target=target, precision=word) for word in wanted]
    if refusals := [refusal.reason for target in targets if (refusal := table.missing(target))]:
        raise MissingBackendError("; ".join(refusals) + ".")
    return jobs


def _check_words(targets: Sequence[str], precisions: Sequence[str]) -> None:
    from minuet.export import table

    if unknown := [word for word in precisions if word not in PRECISIONS]:
        raise RequestError(
            f"precision {', '.join(unknown)!r} is not known; choose from {', '.join(PRECISIONS)}."
        )
    if not targets:
        raise RequestError(f"no target was asked for; choose from {', '.join(table.EXPORTERS)}.")


def check(word: str, jobs: Sequence[Job], how: How, also: str, also_as: str) -> None:
    """Refuse what does not fit together before anything is read.

    Raises:
        RequestError: an option's value, or an option for a target that was not asked for.
    """
    from minuet.export.onnx_consumers import opset_for
    from minuet.export.to_tensorrt import asked_devices

    targets = {job.target for job in jobs}
    if how.consumer:
        opset_for(how.consumer, "fp32")  # which knows them all
        if is_onnx(word):
            raise RequestError(f"{word}: keeps its own operator set; leave --consumer out.")
    for option, value, target, title in (
        ("--consumer", how.consumer, "onnx", "ONNX"),
        ("--strip-weights", how.strip_weights, "tensorrt", "TensorRT"),
    ):
        if value and target not in targets:
            raise RequestError(f"{option} is for {title}; add {target} to --to.")
    for job in jobs:
        if job.target == "tensorrt":
            asked_devices(how.gpu, job.precision)
    own = [job.precision for job in jobs if job.target == "coreml"]
    coreml.check(own, ios=how.ios, units=how.units, also=also, also_as=also_as)


def check_place(out: Path) -> None:
    """Refuse to replace a folder that is anything but a bundle."""
    if out.is_file() or (out.is_dir() and any(out.iterdir()) and not _is_bundle(out)):
        raise RequestError(f"{out}: exists and is not a bundle; choose another place.")


def _is_bundle(out: Path) -> bool:
    return (out / "manifest.json").is_file() and not (out / "model.json").exists()


def _finish(manifest: Manifest, out: Path, say: Out) -> None:
    for line in absent(manifest.artifacts):
        say.say(line)
    total = sum(row.size for row in manifest.artifacts)
    say.finish(
        {"bundle": str(out), "manifest": manifest.to_json()},
        f"{out}: {len(manifest.artifacts)} artifacts, {total / MIB:.1f} MiB. "
        f"Next: minuet verify {out}",
    )
