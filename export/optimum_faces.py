"""A diffusers pipeline -> its networks as optimum.onnxruntime calls them.

Names, order and axes of inputs and outputs are optimum's own.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

TOKENS = 77  # of CLIP


@dataclass(frozen=True, slots=True, kw_only=True)
class Extent:
    """How large a network's inputs are."""

    batch: int
    height: int = 1  # in the network's own places: latents, or px
    width: int = 1
    tokens: int = TOKENS

    def __str__(self) -> str:
        sides = f" of {self.height}x{self.width}" if self.height > 1 else ""
        return f"{self.batch}{sides}"


Given = Callable[[Extent], dict[str, Tensor]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Face:
    """One network as optimum's pipelines call it."""

    folder: str
    module: nn.Module  # whose configuration lies beside the file
    call: Callable[..., tuple[Tensor, ...]]  # the inputs below, in order
    given: Given  # draws inputs of an extent
    own: Extent  # the pipeline's own
    outputs: tuple[str, ...]
    open_axes: dict[str, tuple[int, ...]]  # which axes of an input may have any length
    step: int = 1  # of the network's own places: its sides are multiples of it

    @property
    def example(self) -> Extent:
        """What is captured: two prompts and unlike sides, so that no two axes are taken for one."""
        return self._extent(2, 8, 12, self.own.tokens)

    @property
    def other(self) -> Extent:
        """A size that is neither captured nor the pipeline's own."""
        tokens = self.own.tokens
        return self._extent(3, 12, 10, tokens - 1 if self.opens_tokens else tokens)

    @property
    def opens_tokens(self) -> bool:
        """Whether the number of tokens may be any."""
        name = "input_ids" if "input_ids" in self.open_axes else "encoder_hidden_states"
        return 1 in self.open_axes.get(name, ())

    def _extent(self, batch: int, tall: int, wide: int, tokens: int) -> Extent:
        """An extent in steps; of a network without sides, without sides."""
        sides = {"height": tall * self.step, "width": wide * self.step}
        return Extent(batch=batch, tokens=tokens, **(sides if self.own.height > 1 else {}))

    def inputs(self, extent: Extent, seed: int = 0) -> dict[str, Tensor]:
        """Inputs of an extent, as a seed draws them."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return self.given(extent)


def faces_of(pipeline: Any) -> Iterator[Face]:
    """The networks of a pipeline."""
    for name in ("text_encoder", "text_encoder_2", "text_encoder_3"):
        if (encoder := getattr(pipeline, name, None)) is not None:
            yield text_face(name, encoder)
    side = 64
    if getattr(pipeline, "unet", None) is not None:
        side = _first(pipeline.unet.config.sample_size or side)
        yield unet_face(pipeline.unet, side)
    if (network := getattr(pipeline, "transformer", None)) is not None:
        side = int(getattr(network.config, "sample_size", None) or pipeline.default_sample_size)
        packed = "img_ids" in inspect.signature(network.forward).parameters
        yield flux_face(network, side) if packed else sd3_face(network, side)
    yield from vae_faces(pipeline.vae, side)


def text_face(folder: str, encoder: Any) -> Face:
    """Token ids to their meanings; CLIP gives those of every layer and of the whole as well."""
    config = encoder.config
    plain = not hasattr(config, "max_position_embeddings")
    pooled = "text_embeds" if hasattr(encoder, "text_projection") else "pooler_output"
    layers = range(config.num_hidden_layers)
    states = () if plain else tuple(f"hidden_states.{at}" for at in layers)
    first = ("last_hidden_state",) if plain else ("last_hidden_state", pooled)
    outputs = (*reversed(first), *states) if pooled == "text_embeds" else (*first, *states)

    def call(input_ids: Tensor) -> tuple[Tensor, ...]:
        made = encoder(input_ids, output_hidden_states=not plain, return_dict=True)
        rest = () if plain else tuple(made.hidden_states[at] for at in layers)
        named = tuple(made[name] for name in outputs[: len(first)])
        return (*named, *rest)

    def given(at: Extent) -> dict[str, Tensor]:
        return {"input_ids": torch.randint(0, config.vocab_size, (at.batch, at.tokens))}

    return Face(
        folder=folder,
        module=encoder,
        call=call,
        given=given,
        own=Extent(batch=1, tokens=getattr(config, "max_position_embeddings", TOKENS)),
        outputs=outputs,
        # A causal mask of CLIP is as long as its positions.
        open_axes={"input_ids": (0, 1) if plain else (0,)},
    )


def unet_face(unet: Any, side: int) -> Face:
    """Noisy latents, the time and the text to noise; more where its configuration says so."""
    config = unet.config
    added = ("text_embeds", "time_ids") if config.addition_embed_type == "text_time" else ()

    def given(at: Extent) -> dict[str, Tensor]:
        width = _first(config.cross_attention_dim)
        rows = {
            "sample": torch.randn(at.batch, config.in_channels, at.height, at.width),
            "timestep": torch.tensor(500.0),
            "encoder_hidden_states": torch.randn(at.batch, at.tokens, width),
        }
        if added:
            times = 6 * config.addition_time_embed_dim
            text = config.projection_class_embeddings_input_dim - times
            rows["text_embeds"] = torch.randn(at.batch, text)
            rows["time_ids"] = torch.ones(at.batch, 6)
        if config.time_cond_proj_dim is not None:
            rows["timestep_cond"] = torch.randn(at.batch, config.time_cond_proj_dim)
        return rows

    names = list(given(Extent(batch=1)))

    def call(*tensors: Tensor) -> tuple[Tensor, ...]:
        named = dict(zip(names, tensors, strict=True))
        more = {name: named.pop(name) for name in added}
        made = unet(**named, added_cond_kwargs=more or None, return_dict=False)
        return (made[0],)

    axes = {name: (0,) for name in names if name != "timestep"}
    return Face(
        folder="unet",
        module=unet,
        call=call,
        given=given,
        own=Extent(batch=2, height=side, width=side),
        outputs=("out_sample",),
        open_axes=axes | {"sample": (0, 2, 3), "encoder_hidden_states": (0, 1)},
        step=1 << len(config.block_out_channels),
    )


def sd3_face(network: Any, side: int) -> Face:
    """The same of a transformer over latents."""
    config = network.config

    def given(at: Extent) -> dict[str, Tensor]:
        return {
            "hidden_states": torch.randn(at.batch, config.in_channels, at.height, at.width),
            "encoder_hidden_states": torch.randn(at.batch, at.tokens, config.joint_attention_dim),
            "pooled_projections": torch.randn(at.batch, config.pooled_projection_dim),
            "timestep": torch.full((at.batch,), 500.0),
        }

    open_axes: dict[str, tuple[int, ...]] = {"hidden_states": (0, 2, 3)}
    open_axes |= {"encoder_hidden_states": (0, 1)}
    return _transformer(network, given, Extent(batch=2, height=side, width=side), open_axes)


def flux_face(network: Any, side: int) -> Face:
    """The same of a transformer over a list of packed latents and where each of them is."""
    config = network.config

    def given(at: Extent) -> dict[str, Tensor]:
        places = torch.cartesian_prod(torch.arange(at.height // 2), torch.arange(at.width // 2))
        rows = {
            "hidden_states": torch.randn(at.batch, len(places), config.in_channels),
            "encoder_hidden_states": torch.randn(at.batch, at.tokens, config.joint_attention_dim),
            "pooled_projections": torch.randn(at.batch, config.pooled_projection_dim),
            "timestep": torch.full((at.batch,), 0.5),
        }
        if config.guidance_embeds:
            rows["guidance"] = torch.full((at.batch,), 3.5)
        rows["txt_ids"] = torch.zeros(at.tokens, 3)
        rows["img_ids"] = nn.functional.pad(places.float(), (1, 0))
        return rows

    open_axes: dict[str, tuple[int, ...]] = {"txt_ids": (0,), "img_ids": (0,)}
    open_axes |= {"hidden_states": (0, 1), "encoder_hidden_states": (0, 1)}
    return _transformer(network, given, Extent(batch=1, height=side, width=side), open_axes)


def vae_faces(vae: Any, side: int) -> Iterator[Face]:
    """An autoencoder's two halves.

    Args:
        side: of its latents.
    """
    config = vae.config
    scale = 1 << (len(config.block_out_channels) - 1)

    def encode(sample: Tensor) -> tuple[Tensor, ...]:
        return (vae.encode(sample).latent_dist.parameters,)

    def decode(latent_sample: Tensor) -> tuple[Tensor, ...]:
        return (vae.decode(latent_sample, return_dict=False)[0],)

    for folder, call, name, channels, output, step in (
        ("vae_encoder", encode, "sample", config.in_channels, "latent_parameters", scale),
        ("vae_decoder", decode, "latent_sample", config.latent_channels, "sample", 1),
    ):
        yield Face(
            folder=folder,
            module=vae,
            call=call,
            given=_picture(name, channels),
            own=Extent(batch=1, height=side * step, width=side * step),
            outputs=(output,),
            open_axes={name: (0, 2, 3)},
            step=step,
        )


def _picture(name: str, channels: int) -> Given:
    return lambda at: {name: torch.randn(at.batch, channels, at.height, at.width)}


def _transformer(
    network: Any, given: Given, own: Extent, open_axes: dict[str, tuple[int, ...]]
) -> Face:
    names = list(given(Extent(batch=1, height=2, width=2)))

    def call(*tensors: Tensor) -> tuple[Tensor, ...]:
        return (network(**dict(zip(names, tensors, strict=True)), return_dict=False)[0],)

    return Face(
        folder="transformer",
        module=network,
        call=call,
        given=given,
        own=own,
        outputs=("out_hidden_states",),
        open_axes={name: (0,) for name in names} | open_axes,
        step=2,
    )


def _first(width: int | Sequence[int]) -> int:
    return width if isinstance(width, int) else width[0]
