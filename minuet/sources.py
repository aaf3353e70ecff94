"""A word of the command line -> what is exported: a student, a pipeline, a family, any module."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from minuet.able import is_onnx
from minuet.contracts.artifact import MAIN
from minuet.contracts.errors import RequestError
from minuet.wish import ASKED, Wish

if TYPE_CHECKING:
    from minuet.export.capture import Program
    from minuet.export.sources.onnx_file import OnnxPart
    from minuet.export.sources.part import Part
    from minuet.models.student import Student

CASES = 2  # golden examples: enough to notice a wrong program, few enough to ship
STUDENT_SIZE = 512  # px
FAMILY = "models:"  # models:denoiser/pocket, models:autoencoder/f4
# What an app needs of a pipeline besides its programs; weights and code stay behind.
KEPT = frozenset({".json", ".txt", ".model"})
# Files that are taken for a source, and why they are none.
KINDS = {
    ".safetensors": "weights without the network that they are of",
    ".gguf": "weights without the network that they are of",
    ".ckpt": "a pickle, which can run code when it is read",
    ".pt": "a pickle, which can run code when it is read",
    ".pth": "a pickle, which can run code when it is read",
    ".py": "code; what is taken is named like a module, with a dot and not a slash",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Programs to export, and what is said of them."""

    name: str
    family: str
    sha256: str  # of the weights
    parts: tuple[Part | OnnxPart, ...]
    sampler: dict[str, Any] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)  # in the bundle, by path
    quantize: Callable[[Program, str], Program] | None = None  # program and target -> quantized
    quantization: dict[str, Any] = field(default_factory=dict)  # what it was weighed to bring


def read_source(word: str, wish: Wish, *, local_code: bool = False) -> Source:
    """Whatever a word names; what was asked of it is kept with how it is sampled.

    Args:
        local_code: whether a factory may lie in the current folder.

    Raises:
        RequestError: it names nothing, or the wish does not fit it.
    """
    source = _read(word, wish, local_code)
    return replace(source, sampler=source.sampler | {ASKED: wish.to_json()})


def _read(word: str, wish: Wish, local_code: bool) -> Source:
    from minuet.export.sources.factory import is_factory
    from minuet.export.sources.folder import is_pipeline

    if word.startswith(FAMILY):
        return _alone(_family(word, wish), wish)
    path = Path(word)
    if is_pipeline(path):
        return _pipeline(path, wish)
    if (path / "model.json").exists():
        return _alone(_student(path, wish), wish)
    if not path.exists() and is_factory(word):
        return _alone(_module(word, wish, local_code), wish)
    if is_onnx(word):
        return _alone(_file(path, wish), wish)
    if path.is_dir():
        from minuet.export.sources.folder import read_folder

        read_folder(path)  # says what is missing
    what = KINDS.get(path.suffix, "a file") if path.exists() else "not there"
    raise RequestError(
        f"{word}: {what}. Name a student's or a diffusers pipeline's folder, an ONNX file, "
        f"package.module:factory, or one of {', '.join(families())}."
    )


def families() -> tuple[str, ...]:
    """The networks of models/ by name and size."""
    from minuet.models.autoencoder import CODECS
    from minuet.models.config import SIZES

    denoisers = (f"{FAMILY}denoiser/{size}" for size in SIZES)
    return (*denoisers, *(f"{FAMILY}autoencoder/{codec}" for codec in CODECS))


def golden_inputs(
    student: Student, signature: Any, seed: int, at: int, split: str = "test"
) -> dict[str, Any]:
    """The sticker at an address of the world: image, tokens of its caption, noise."""
    from tokenizers import Tokenizer

    from minuet.stickers import captions, world

    image, tokens, noise = signature.inputs
    spec = world.sample(seed, at, split)
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


def _alone(source: Source, wish: Wish) -> Source:
    """Refuse wishes that only a pipeline can grant."""
    asked = {
        "--components": wish.components,
        "--fused": wish.fused,
        "--steps": wish.steps,
        "--frames": wish.frames,
        "--guidance": wish.guidance,
        "--set": wish.more,
    }
    if given := [name for name, value in asked.items() if value not in (None, (), {}, False)]:
        raise RequestError(
            f"{source.name}: is one program already; {', '.join(given)} is for pipelines."
        )
    return source


def _student(folder: Path, wish: Wish) -> Source:
    """A student's one-call program; in int8 too, where its folder says how."""
    from minuet.models.student import load_student
    from minuet.quantize.recipe import read_weighed

    student = load_student(folder)
    source = _whole(student, folder.resolve().name, student.sha256, wish)
    return replace(
        source,
        quantize=lambda program, target: _quantized(folder, student, program, target),
        quantization=read_weighed(folder),
    )


def _whole(student: Student, name: str, sha256: str, wish: Wish) -> Source:
    height, width = wish.size or (STUDENT_SIZE, STUDENT_SIZE)
    if height != width:
        raise RequestError(f"stickers are square, not {height}x{width}; --size {height} will do.")
    return Source(
        name=name,
        family=type(student.network).__name__,
        sha256=sha256,
        parts=(_animator(student, height, wish.seed),),
        sampler=_about(student),
        files={"tokenizer.json": student.tokenizer.encode(), "card.md": student.card.encode()},
    )


def _animator(student: Student, side: int, seed: int) -> Part:
    from minuet.export.bundle import Golden
    from minuet.export.sources.part import Part
    from minuet.runtimes.eager import EagerRuntime

    animator = student.animator(side)
    signature = animator.signature()
    given = [golden_inputs(student, signature, seed, at) for at in range(CASES)]
    with EagerRuntime(lambda: animator).open(None, None, signature) as session:
        cases = tuple(
            Golden(name=f"{at:02d}", inputs=inputs, outputs=session.run(inputs))
            for at, inputs in enumerate(given)
        )
    return Part(name=MAIN, module=animator, signature=signature, cases=cases)


def _quantized(folder: Path, student: Student, program: Program, target: str) -> Program:
    """The program with the quantization that the student's folder describes."""
    from minuet.export.quiet import quiet
    from minuet.quantize.apply import changed_program, quantize_program, rounded_program
    from minuet.quantize.recipe import read_recipe
    from minuet.quantize.schemes import SCHEMES

    stored = read_recipe(folder, student.sha256)
    recipe, exported = stored.recipe, changed_program(program.exported, stored.tensors)
    with quiet():
        if SCHEMES[recipe.scheme].calibrated:
            made = quantize_program(exported, program.inputs, recipe, stored.ranges, target)
        else:
            made = rounded_program(exported, recipe)
    return replace(program, exported=made)


def _about(student: Student) -> dict[str, Any]:
    """How a student is sampled and what that costs, for the manifest."""
    from minuet.evaluation import gigaflops

    sampler = student.sampler
    cost = {"steps": sampler.steps, "nfe": sampler.evaluations, "macs": gigaflops(student) * 5e8}
    return asdict(sampler) | cost


def _family(word: str, wish: Wish) -> Source:
    """A network of models/ with the weights that a seed draws: for its speed, not its looks."""
    import torch

    from minuet.models.autoencoder import CODECS
    from minuet.models.config import SIZES
    from minuet.models.denoiser import Denoiser
    from minuet.models.student import Sampler, Student
    from minuet.stickers import captions

    kind, _, size = word.removeprefix(FAMILY).partition("/")
    if word not in families():
        raise RequestError(f"{word}: no such family; there are {', '.join(families())}.")
    torch.manual_seed(wish.seed)
    if kind == "autoencoder":
        return _autoencoder(word, CODECS[size], wish)
    network = settled(Denoiser(SIZES[size]))
    student = Student(
        network=network,
        sampler=Sampler(levels=(1.0, 0.0)),
        tokenizer=captions.tokenizer_json(),
        card=f"# {word}\n\nRandom weights of seed {wish.seed}: nothing was learned.\n",
    )
    return _whole(student, word.removeprefix(FAMILY), _sha256(network), wish)


def _autoencoder(word: str, config: Any, wish: Wish) -> Source:
    """Encoder and decoder of frames, each a program of its own."""
    import torch

    from minuet.export.sources.part import Call, given_to, part_of
    from minuet.models.autoencoder import Autoencoder

    network = settled(Autoencoder(config))
    height, width = wish.size or (64, 64)
    frames = [torch.rand(config.frames, 4, height, width) for _ in range(CASES)]
    parts, given = [], frames
    for name, module in (("encoder", network.encoder), ("decoder", network.decoder)):
        with torch.no_grad():
            made = [module(one) for one in given]
        told = [given_to(module.forward, (one,), {}) for one in given]
        calls = [Call(given=g, made=m) for g, m in zip(told, made, strict=True)]
        parts.append(part_of(name, module, "forward", calls))
        given = made
    return Source(
        name=word.removeprefix(FAMILY),
        family=type(network).__name__,
        sha256=_sha256(network),
        parts=tuple(parts),
    )


def settled(network: Any) -> Any:
    """Draw what starts at zero: layers that do nothing would hide what an export does to them."""
    import torch

    with torch.no_grad():
        for parameter in network.parameters():
            if not parameter.any():
                parameter.normal_(0, 0.02)
    return network.eval().requires_grad_(False)


def _sha256(network: Any) -> str:
    digest = hashlib.sha256()
    for name, tensor in network.state_dict().items():
        digest.update(name.encode() + tensor.contiguous().numpy().tobytes())
    return digest.hexdigest()


def _module(word: str, wish: Wish, local_code: bool) -> Source:
    from minuet.export.sources.factory import part_from

    if wish.size:
        raise RequestError(
            f"{word}: a factory's examples say its size; --size and --also are not for it."
        )
    part, sha256 = part_from(word, here=local_code)
    family = part.signature.outputs[0].meaning.partition(".")[0]
    return Source(name=word.partition(":")[2], family=family, sha256=sha256, parts=(part,))


def _file(path: Path, wish: Wish) -> Source:
    """An ONNX file, as it is."""
    from minuet.export.sources.onnx_file import onnx_part

    if wish.size:
        raise RequestError(f"{path}: an ONNX file has the size that it has; leave --size out.")
    part = onnx_part(path, wish.seed)
    return Source(name=path.stem, family="ONNX", sha256=part.held.sha256, parts=(part,))


def _pipeline(path: Path, wish: Wish) -> Source:
    """A diffusers pipeline: what was asked for of it."""
    from minuet.export.sources.folder import read_folder
    from minuet.export.sources.pipeline import components, whole
    from minuet.export.sources.record import Request

    folder = read_folder(path)
    usual = {"steps": wish.steps} if wish.steps else {}
    request = Request(
        **usual,
        size=wish.size,
        frames=wish.frames,
        guidance=wish.guidance,
        seed=wish.seed,
        more=wish.more,
    )
    if wish.fused and wish.components:
        raise RequestError("--fused is the whole as one program; --components asks for parts.")
    make = whole(folder, request) if wish.fused else components(folder, request, wish.components)
    return Source(
        name=path.resolve().name,
        family=folder.pipeline,
        sha256=folder.sha256,
        parts=make,
        sampler={"pipeline": folder.pipeline, **(make[0].about if wish.fused else {})},
        files=_configurations(path),
    )


def _configurations(path: Path) -> dict[str, bytes]:
    """Tokenizers, scheduler and configurations: what an app needs around the programs."""
    from minuet.export.sources.weights import is_shard_index

    files = (file for file in sorted(path.rglob("*")) if file.suffix in KEPT and file.is_file())
    names = {file.relative_to(path).as_posix(): file for file in files}
    return {
        f"pipeline/{name}": file.read_bytes()
        for name, file in names.items()
        if not is_shard_index(name)
    }
