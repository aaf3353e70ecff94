"""A diffusers pipeline's folder -> the folder of ONNX files that optimum.onnxruntime opens.

Its pipelines take one network a folder, under names of their own for inputs and outputs, and the
configurations, tokenizers and scheduler as diffusers saves them.
"""

from __future__ import annotations

import inspect
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from minuet.contracts.errors import RequestError
from minuet.contracts.files import write_folder
from minuet.export.halve import WIDTHS, halve
from minuet.export.onnx_consumers import opset_for
from minuet.export.onnx_graph import graph_from
from minuet.export.onnx_write import LIMIT_BYTES, write_onnx
from minuet.export.quiet import quiet
from minuet.export.sources.folder import PipelineFolder, read_folder
from minuet.export.sources.pipeline import load_pipeline

if TYPE_CHECKING:
    from torch.export import ExportedProgram

# Axes: B prompts (two, so that no shape is taken for 1), H, W sides in the network, L tokens.
BATCH = 2
PRECISIONS = ("fp32", *WIDTHS)
CARRIED = ("scheduler", "tokenizer", "tokenizer_2", "tokenizer_3", "feature_extractor")
# The pipelines of diffusers that optimum.onnxruntime 2.1 has a class for, by their networks.
PIPELINES = frozenset(
    {
        "StableDiffusionPipeline",
        "StableDiffusionImg2ImgPipeline",
        "StableDiffusionInpaintPipeline",
        "StableDiffusionXLPipeline",
        "StableDiffusionXLImg2ImgPipeline",
        "StableDiffusionXLInpaintPipeline",
        "LatentConsistencyModelPipeline",
        "LatentConsistencyModelImg2ImgPipeline",
        "StableDiffusion3Pipeline",
        "StableDiffusion3Img2ImgPipeline",
        "StableDiffusion3InpaintPipeline",
        "FluxPipeline",
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Face:
    """One network as optimum's pipelines call it."""

    folder: str
    module: nn.Module  # whose configuration lies beside the file
    call: Callable[..., tuple[Tensor, ...]]  # the inputs below, in order
    inputs: dict[str, Tensor]  # an example
    outputs: tuple[str, ...]
    open_axes: dict[str, tuple[int, ...]]  # which axes of an input may have any length


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """What became of one network."""

    folder: str
    fixed: tuple[str, ...]  # the open axes that the network holds to one length, "sample.2"
    bytes: int


class Called(nn.Module):
    """A face as a module that torch.export can take."""

    def __init__(self, face: Face) -> None:
        super().__init__()
        self.module, self.call = face.module, face.call

    def forward(self, *given: Tensor) -> tuple[Tensor, ...]:
        return self.call(*given)


def write_optimum(
    source: Path, out: Path, precision: str = "fp32", *, inline_bytes: int = LIMIT_BYTES
) -> tuple[Written, ...]:
    """Write out/<network>/model.onnx and what belongs to it; whole or not at all.

    Batch, sides and number of tokens stay open wherever the network itself leaves them open.

    Raises:
        RequestError: no pipeline, or one that optimum has no class for; an unknown precision; a
            place where something else lies.
        DamagedError: components that are missing or do not belong together.
    """
    if precision not in PRECISIONS:
        raise RequestError(f"optimum's files are {', '.join(PRECISIONS)}, not {precision}.")
    _check_place(source, out)
    found = read_folder(source)
    if found.pipeline not in PIPELINES:
        raise RequestError(
            f"{source}: optimum.onnxruntime has no {found.pipeline}; export it as a bundle instead."
        )
    pipeline = load_pipeline(found)
    with write_folder(out) as staging:
        _carry(found, staging)
        return tuple(_write(face, staging, precision, inline_bytes) for face in faces_of(pipeline))


def _check_place(source: Path, out: Path) -> None:
    """Refuse to replace anything but what was written here before.

    Raises:
        RequestError: the source itself, or a folder of something else.
    """
    if source.resolve().is_relative_to(out.resolve()):
        raise RequestError(f"{out}: is or holds the source itself; choose another place.")
    if not out.is_dir() or not any(out.iterdir()):
        return
    networks = any(out.glob("*/model.onnx")) and (out / "model_index.json").is_file()
    weights = (path for path in out.rglob("*") if path.suffix in (".safetensors", ".bin"))
    if not networks or any(weights):
        raise RequestError(
            f"{out}: exists and is no folder of --optimum alone; choose another place."
        )


def faces_of(pipeline: Any) -> Iterator[Face]:
    """The networks of a pipeline."""
    for name in ("text_encoder", "text_encoder_2", "text_encoder_3"):
        if (encoder := getattr(pipeline, name, None)) is not None:
            yield text_face(name, encoder)
    if getattr(pipeline, "unet", None) is not None:
        yield unet_face(pipeline.unet)
    if (network := getattr(pipeline, "transformer", None)) is not None:
        packed = "img_ids" in inspect.signature(network.forward).parameters
        yield flux_face(network) if packed else sd3_face(network)
    yield from vae_faces(pipeline.vae)


def text_face(folder: str, encoder: Any) -> Face:
    """Token ids to their meanings; CLIP gives those of every layer and of the whole as well."""
    length = getattr(encoder.config, "max_position_embeddings", 77)
    plain = not hasattr(encoder.config, "max_position_embeddings")
    pooled = "text_embeds" if hasattr(encoder, "text_projection") else "pooler_output"
    layers = range(encoder.config.num_hidden_layers)
    states = () if plain else tuple(f"hidden_states.{at}" for at in layers)
    first = ("last_hidden_state",) if plain else ("last_hidden_state", pooled)
    outputs = (*reversed(first), *states) if pooled == "text_embeds" else (*first, *states)

    def call(input_ids: Tensor) -> tuple[Tensor, ...]:
        made = encoder(input_ids, output_hidden_states=not plain, return_dict=True)
        rest = () if plain else tuple(made.hidden_states[at] for at in layers)
        named = tuple(made[name] for name in outputs[: len(first)])
        return (*named, *rest)

    ids = torch.ones((BATCH, length), dtype=torch.int64)
    return Face(
        folder=folder,
        module=encoder,
        call=call,
        inputs={"input_ids": ids},
        outputs=outputs,
        # A causal mask of CLIP is as long as its positions.
        open_axes={"input_ids": (0, 1) if plain else (0,)},
    )


def unet_face(unet: Any) -> Face:
    """Noisy latents, the time and the text to noise; more where its configuration says so."""
    config = unet.config
    sides = [8 << len(config.block_out_channels), 12 << len(config.block_out_channels)]
    inputs = {
        "sample": torch.randn(BATCH, config.in_channels, *sides),
        "timestep": torch.tensor(500.0),
        "encoder_hidden_states": torch.randn(BATCH, 77, _first(config.cross_attention_dim)),
    }
    open_axes = {"sample": (0, 2, 3), "encoder_hidden_states": (0, 1)}
    if config.addition_embed_type == "text_time":
        times = 6 * config.addition_time_embed_dim
        text = config.projection_class_embeddings_input_dim - times
        inputs |= {"text_embeds": torch.randn(BATCH, text), "time_ids": torch.ones(BATCH, 6)}
        open_axes |= {"text_embeds": (0,), "time_ids": (0,)}
    if config.time_cond_proj_dim is not None:
        inputs["timestep_cond"] = torch.randn(BATCH, config.time_cond_proj_dim)
        open_axes["timestep_cond"] = (0,)
    names = list(inputs)

    def call(*given: Tensor) -> tuple[Tensor, ...]:
        named = dict(zip(names, given, strict=True))
        added = {name: named.pop(name) for name in ("text_embeds", "time_ids") if name in named}
        made = unet(**named, added_cond_kwargs=added or None, return_dict=False)
        return (made[0],)

    return _face("unet", unet, call, inputs, "out_sample", open_axes)


def sd3_face(network: Any) -> Face:
    """The same of a transformer over latents."""
    config = network.config
    inputs = {
        "hidden_states": torch.randn(BATCH, config.in_channels, 16, 24),
        "encoder_hidden_states": torch.randn(BATCH, 77, config.joint_attention_dim),
        "pooled_projections": torch.randn(BATCH, config.pooled_projection_dim),
        "timestep": torch.full((BATCH,), 500.0),
    }
    open_axes: dict[str, tuple[int, ...]] = {name: (0,) for name in inputs}
    open_axes |= {"hidden_states": (0, 2, 3), "encoder_hidden_states": (0, 1)}
    return _transformer(network, inputs, open_axes)


def flux_face(network: Any) -> Face:
    """The same of a transformer over a list of packed latents and where each of them is."""
    config = network.config
    inputs = {
        "hidden_states": torch.randn(BATCH, 96, config.in_channels),
        "encoder_hidden_states": torch.randn(BATCH, 64, config.joint_attention_dim),
        "pooled_projections": torch.randn(BATCH, config.pooled_projection_dim),
        "timestep": torch.full((BATCH,), 0.5),
    }
    if config.guidance_embeds:
        inputs["guidance"] = torch.full((BATCH,), 3.5)
    open_axes: dict[str, tuple[int, ...]] = {name: (0,) for name in inputs}
    open_axes |= {"hidden_states": (0, 1), "encoder_hidden_states": (0, 1)}
    inputs |= {"txt_ids": torch.zeros(64, 3), "img_ids": torch.zeros(96, 3)}
    return _transformer(network, inputs, open_axes | {"txt_ids": (0,), "img_ids": (0,)})


def vae_faces(vae: Any) -> Iterator[Face]:
    """An autoencoder's two halves."""
    config = vae.config
    picture = torch.randn(BATCH, config.in_channels, 64, 96)
    latents = torch.randn(BATCH, config.latent_channels, 16, 24)

    def encode(sample: Tensor) -> tuple[Tensor, ...]:
        return (vae.encode(sample).latent_dist.parameters,)

    def decode(latent_sample: Tensor) -> tuple[Tensor, ...]:
        return (vae.decode(latent_sample, return_dict=False)[0],)

    for folder, call, name, example, output in (
        ("vae_encoder", encode, "sample", picture, "latent_parameters"),
        ("vae_decoder", decode, "latent_sample", latents, "sample"),
    ):
        yield _face(folder, vae, call, {name: example}, output, {name: (0, 2, 3)})


def _transformer(
    network: Any, inputs: dict[str, Tensor], open_axes: dict[str, tuple[int, ...]]
) -> Face:
    names = list(inputs)

    def call(*given: Tensor) -> tuple[Tensor, ...]:
        return (network(**dict(zip(names, given, strict=True)), return_dict=False)[0],)

    return _face("transformer", network, call, inputs, "out_hidden_states", open_axes)


def _face(
    folder: str,
    module: nn.Module,
    call: Callable[..., tuple[Tensor, ...]],
    inputs: dict[str, Tensor],
    output: str,
    open_axes: dict[str, tuple[int, ...]],
) -> Face:
    return Face(
        folder=folder,
        module=module,
        call=call,
        inputs=inputs,
        outputs=(output,),
        open_axes=open_axes,
    )


def _write(face: Face, out: Path, precision: str, inline_bytes: int) -> Written:
    exported = _captured(face)
    model = graph_from(exported, list(face.inputs), face.outputs, opset_for("optimum", precision))
    if precision in WIDTHS:
        halve(model, precision)
    folder = out / face.folder
    write_onnx(model, folder / "model.onnx", inline_bytes=inline_bytes)
    config: Any = face.module
    config.save_config(folder) if hasattr(config, "save_config") else config.config.save_pretrained(
        folder
    )
    return Written(
        folder=face.folder,
        fixed=tuple(_fixed(face, exported)),
        bytes=sum(path.stat().st_size for path in folder.glob("model.onnx*")),
    )


def _captured(face: Face) -> ExportedProgram:
    """Open axes are left open where the network allows it, and become fixed where it does not."""
    auto = torch.export.Dim.AUTO
    shapes = [{axis: auto for axis in face.open_axes.get(name, ())} or None for name in face.inputs]
    try:
        with quiet(), torch.no_grad():
            return torch.export.export(
                Called(face).eval(),
                tuple(face.inputs.values()),
                dynamic_shapes=(tuple(shapes),),
                strict=False,
            )
    except Exception as error:
        said = (str(error).strip() or type(error).__name__).splitlines()[0][:300]
        kind = type(face.module).__name__
        raise RequestError(f"torch.export could not capture {kind}: {said}.") from error


def _fixed(face: Face, exported: ExportedProgram) -> Iterator[str]:
    names = exported.graph_signature.user_inputs
    values = {node.name: node.meta.get("val") for node in exported.graph.nodes}
    for name, given in zip(face.inputs, names, strict=True):
        shape = getattr(values.get(str(given)), "shape", ())
        for axis in face.open_axes.get(name, ()):
            if isinstance(shape[axis], int):
                yield f"{name}.{axis}"


def _carry(found: PipelineFolder, out: Path) -> None:
    """What is no network is taken as it is."""
    shutil.copyfile(found.path / "model_index.json", out / "model_index.json")
    for name in CARRIED:
        if (found.path / name).is_dir():
            shutil.copytree(found.path / name, out / name)


def _first(width: int | Sequence[int]) -> int:
    return width if isinstance(width, int) else width[0]
