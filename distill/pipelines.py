"""A diffusers pipeline -> a teacher: asked at a level, sampled by its own sampler, or filmed.

No pipeline is known by name. Its own call is run with a scheduler of one step that goes to the
clean estimate at once (diffusion.OneStep), so batches doubled for guidance, two scales, guidance a
frame, experts by level and packed latents are what the pipeline makes of them.
"""

# Shapes: B examples, then the latents' own; N bytes of a caption; L tokens; C = 3, or 4 with alpha.

import copy
import inspect
import zlib
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from minuet.contracts.errors import RequestError
from minuet.distill.diffusion import one_step, schedule_of
from minuet.distill.path import noise as noise_of
from minuet.distill.predict import Condition
from minuet.distill.teacher import Space, digest_of

USUAL = {"prompt": "text", "image": "image"}  # argument of a call: name in a condition
SCALES = "scales"  # a condition's own guidance scales, in the place of the pipeline's
WHITE = (1.0, 1.0, 1.0)


def utf8(caption: Sequence[int]) -> str:
    """Bytes, padded by zeros -> words."""
    return bytes(byte for byte in caption if byte).decode("utf-8", "replace")


def text(captions: Sequence[str]) -> Tensor:
    """Words -> uint8 (B, N): a condition that every tokenizer can read, padded by zeros."""
    rows = [torch.tensor(list(caption.encode()), dtype=torch.uint8) for caption in captions]
    return nn.utils.rnn.pad_sequence(rows, batch_first=True)


class PipelineTeacher:
    """A pipeline with the arguments it is always called with."""

    def __init__(
        self,
        name: str,
        pipeline: Any,
        arguments: Mapping[str, Any],
        *,
        weights: str,
        told: Mapping[str, str] = USUAL,
        scales: Sequence[str] = ("guidance_scale",),
        size: tuple[int, int] | None = None,
        spell: Callable[[Sequence[int]], str] = utf8,
        backdrop: tuple[float, float, float] = WHITE,
    ) -> None:
        """Ask once, so that what cannot be asked is refused before anything is learnt.

        Args:
            name: what its examples are signed with.
            pipeline: of diffusers, loaded, on its device.
            arguments: of every call, by name; plain values: steps, guidance, height, frames.
            weights: the digest of its folder.
            told: which argument is told which condition. A condition of integers (B, N) becomes
                words by `spell`; one of pictures (B, C, H, W) in [0, 1] a picture (with alpha:
                premultiplied, over the backdrop); any other is handed over as it is.
            scales: the arguments that a condition's "scales" (B, n) stand for.
            size: height and width in px of pictures; None: as in arguments, or the pipeline's.

        Raises:
            RequestError: a pipeline, a scheduler or arguments that cannot be asked like this.
        """
        self.name, self.pipeline, self.arguments = name, pipeline, dict(arguments)
        self.scales, self.spell, self.backdrop = tuple(scales), spell, backdrop
        takes = inspect.signature(type(pipeline).__call__).parameters
        if lacking := [word for word in ("latents", *arguments) if word not in takes]:
            kind = type(pipeline).__name__
            raise RequestError(f"{name}: {kind} takes no {', '.join(lacking)}; it cannot be asked.")
        self.told = {to: given for to, given in told.items() if to in takes}
        self.schedule = schedule_of(pipeline.scheduler)
        self.size = size or _size(pipeline, arguments)
        scheduler = [type(pipeline.scheduler).__name__, dict(pipeline.scheduler.config)]
        about = [weights, type(pipeline).__name__, scheduler, self.arguments, self.told, self.size]
        self.digest = digest_of([about, backdrop, str(pipeline.dtype)])
        pipeline.set_progress_bar_config(disable=True)
        self.held: Tensor | None = None
        self.space = self._look()

    @torch.no_grad()
    def predict(self, noisy: Tensor, t_B: Tensor, condition: Condition) -> Tensor:
        """The guided clean estimate; examples of one level are one call."""
        clean = torch.empty_like(noisy, dtype=torch.float32)
        for rows in self._together(t_B.tolist(), condition):
            asked = self.schedule(float(t_B[rows[0]]))
            probe = one_step(self.pipeline.scheduler, asked)
            seeds = [0] * len(rows)
            made = self._call(noisy[rows] * asked.scale, _rows(condition, rows), probe, seeds)
            clean[rows] = made.to(clean)
        return clean

    @torch.no_grad()
    def sample(self, noise: Tensor, condition: Condition) -> Tensor:
        """Clean latents by the pipeline's own sampler; the same noise gives the same."""
        return self._sampled(noise, condition, "latent").to(noise.device)

    @torch.no_grad()
    def film(self, condition: Condition, seed: int, numbers: Sequence[int]) -> Tensor:
        """RGB frames (B, T, 3, H, W) in [0, 1]; a picture is a film of one frame."""
        starts = torch.stack([noise_of(seed, number, self.space.shape) for number in numbers])
        frames = self._sampled(starts, condition, "pt").cpu().clamp(0, 1)
        return frames if frames.ndim == 5 else frames[:, None]

    def _sampled(self, noise: Tensor, condition: Condition, kind: str) -> Tensor:
        found: dict[int, Tensor] = {}
        for rows in self._together([0.0] * len(noise), condition):
            scheduler = copy.deepcopy(self.pipeline.scheduler)  # its steps leave traces in it
            seeds = [self._seed(noise[row]) for row in rows]
            made = self._call(noise[rows], _rows(condition, rows), scheduler, seeds, kind)
            found |= dict(zip(rows, made.float(), strict=True))
        return torch.stack([found[row] for row in range(len(noise))])

    def _seed(self, noise: Tensor) -> int:
        """Of what a sampler draws on its way: as the noise it began with.

        A picture in the latents is drawn too, and is to be the one that `predict` saw.
        """
        return zlib.crc32(noise.cpu().numpy().tobytes()) if self.held is None else 0

    def _call(
        self,
        latents: Tensor | None,
        condition: Condition,
        scheduler: Any,
        seeds: Sequence[int],
        kind: str = "latent",
    ) -> Tensor:
        """The pipeline's own call, with this scheduler in the place of its own."""
        generators = [torch.Generator("cpu").manual_seed(seed) for seed in seeds]
        given = self.arguments | self._spoken(condition)
        given |= {"output_type": kind, "return_dict": False}
        given["generator"] = generators[0] if len(seeds) == 1 else generators
        with _swapped(self.pipeline, "scheduler", scheduler), _seeded():
            if latents is None:
                return self._run(given)
            self._insist_shape(latents)
            latents = latents.to(self.pipeline.device, self.pipeline.dtype)
            if self.held is None:
                return self._run(given | {"latents": latents})
            held, free = self.held, latents
            with _drawing(self.pipeline, lambda drawn: torch.where(held, drawn, free)):
                return self._run(given)

    def _run(self, given: Mapping[str, Any]) -> Tensor:
        """The call itself; what goes wrong in it becomes one message."""
        kind = type(self.pipeline).__name__
        try:
            made = self.pipeline(**given)
        except RequestError:
            raise
        except Exception as error:
            said = (str(error).strip() or type(error).__name__).splitlines()[0][:300]
            raise RequestError(
                f"{self.name}: {kind} could not be called with {self.arguments}: {said}."
            ) from error
        first = made[0] if isinstance(made, tuple) else made
        if not isinstance(first, Tensor):
            raise RequestError(f"{self.name}: {kind} gives no tensors; it cannot teach.")
        return first

    def _spoken(self, condition: Condition) -> dict[str, Any]:
        """A condition in the pipeline's own arguments."""
        if lacking := sorted(set(self.told.values()) - set(condition)):
            raise RequestError(
                f"{self.name}: must be told {', '.join(lacking)}; the condition has "
                f"{', '.join(sorted(condition)) or 'nothing'}."
            )
        given = {to: self._argument(condition[name]) for to, name in self.told.items()}
        if SCALES in condition:
            given |= dict(zip(self.scales, condition[SCALES][0].tolist(), strict=True))
        return given

    def _argument(self, value: Tensor) -> Any:
        if value.ndim == 2 and not value.is_floating_point():
            words = [self.spell(row) for row in value.tolist()]
            return words[0] if len(words) == 1 else words
        if _is_picture(value):
            return _picture(value[0], self.size, self.backdrop)
        return value.to(self.pipeline.device, self.pipeline.dtype)

    def _together(self, levels: Sequence[float], condition: Condition) -> Iterator[list[int]]:
        """Rows that one call answers: of one level, and alone where it holds pictures or scales.

        Not every pipeline takes several pictures, and none several scales.
        """
        given = [condition[name] for name in self.told.values() if name in condition]
        alone = SCALES in condition or any(map(_is_picture, given))
        groups: dict[Any, list[int]] = {}
        for row, level in enumerate(levels):
            groups.setdefault((level, row if alone else 0), []).append(row)
        yield from groups.values()

    def _insist_shape(self, latents: Tensor) -> None:
        if tuple(latents.shape[1:]) != self.space.shape:
            given = tuple(latents.shape[1:])
            raise RequestError(f"{self.name}: answers in {self.space}; {given} was given.")

    # --- what is learnt by asking once ------------------------------------------------------

    def _look(self) -> Space:
        """The shape of an example, and where in it the pipeline puts its picture."""
        made = self._blank(0.0)
        vae = getattr(self.pipeline, "vae", None)
        codec = "" if vae is None else digest_of(dict(vae.config), vae)
        if "image" in self.told:
            self._find_picture()
        return Space(shape=tuple(made.shape[1:]), codec=codec)

    def _blank(self, grey: float) -> Tensor:
        """The answer to noise of the pipeline's own, no words, and a plain picture."""
        plain = {"image": torch.full((1, 3, *self.size), grey)}
        nothing = {name: plain.get(to, text([" "])) for to, name in self.told.items()}
        probe = one_step(self.pipeline.scheduler, self.schedule(0.5))
        return self._call(None, nothing, probe, [0])

    def _find_picture(self) -> None:
        """Some pipelines put their picture into the latents they draw, and so must we.

        Where it stands is what changes with the picture while the noise is the same.
        """
        drawn: list[Tensor] = []

        def note(latents: Tensor) -> Tensor:
            drawn.append(latents)
            return latents

        for grey in (0.0, 1.0):
            with _drawing(self.pipeline, note):
                self._blank(grey)
        if len(drawn) == 2 and (held := (drawn[0] != drawn[1])[0]).any():
            if held.all():
                raise RequestError(f"{self.name}: begins with its picture; it cannot be asked.")
            self.held = held


def _rows(condition: Condition, rows: list[int]) -> Condition:
    return {name: value[rows] for name, value in condition.items()}


def _is_picture(value: Tensor) -> bool:
    return value.ndim == 4 and value.shape[1] in (3, 4)


def _picture(value_CHW: Tensor, size: tuple[int, int], backdrop: Sequence[float]) -> Any:
    """A picture as pipelines like it best, of the size that they make."""
    from PIL import Image

    if len(value_CHW) == 4:
        behind = value_CHW.new_tensor(backdrop)[:, None, None] * (1 - value_CHW[3:])
        value_CHW = value_CHW[:3] + behind
    pixels = (value_CHW.clamp(0, 1) * 255 + 0.5).to(torch.uint8).permute(1, 2, 0).cpu().numpy()
    picture = Image.fromarray(pixels)
    return (
        picture
        if pixels.shape[:2] == size
        else picture.resize(size[::-1], Image.Resampling.BICUBIC)
    )


def _size(pipeline: Any, arguments: Mapping[str, Any]) -> tuple[int, int]:
    """Height and width of the pictures that a call makes."""
    if "height" in arguments and "width" in arguments:
        return int(arguments["height"]), int(arguments["width"])
    network = getattr(pipeline, "unet", None) or getattr(pipeline, "transformer", None)
    side = getattr(network, "config", {}).get("sample_size")
    if not isinstance(side, int):
        raise RequestError(
            f"{type(pipeline).__name__}: of which size are its pictures? Give height and width."
        )
    return (side * int(getattr(pipeline, "vae_scale_factor", 1)),) * 2


@contextmanager
def _swapped(owner: Any, name: str, value: Any) -> Generator[None]:
    """An instance's attribute, replaced for a while without telling the instance."""
    missing = object()
    before = owner.__dict__.get(name, missing)
    owner.__dict__[name] = value
    try:
        yield
    finally:
        if before is missing:
            del owner.__dict__[name]
        else:
            owner.__dict__[name] = before


@contextmanager
def _drawing(pipeline: Any, choose: Callable[[Tensor], Tensor]) -> Generator[None]:
    """Go on with what is chosen in the place of the latents that the pipeline draws."""
    real = getattr(pipeline, "prepare_latents", None)
    if real is None:
        yield
        return

    def shadow(*args: Any, **kwargs: Any) -> Any:
        made = real(*args, **kwargs)
        return (choose(made[0]), *made[1:]) if isinstance(made, tuple) else choose(made)

    with _swapped(pipeline, "prepare_latents", shadow):
        yield


@contextmanager
def _seeded() -> Generator[None]:
    """Some draw their picture's latents past their generator: the same ones in every call."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield
