"""What a teacher must answer, and a network of ours made to answer it."""

# Shapes: B clips, T frames, C = 4, H = W = 64, L tokens.

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from minuet.contracts.errors import RequestError
from minuet.distill.losses import guided
from minuet.distill.predict import Condition, Guided, Predictor, in_bfloat16
from minuet.distill.rollout import generate
from minuet.distill.sample import sample
from minuet.models.compose import Fields, compose
from minuet.models.denoiser import Denoiser
from minuet.models.text import unconditional


@dataclass(frozen=True, slots=True, kw_only=True)
class Space:
    """Where clean examples live: two that differ have nothing to say to one another."""

    shape: tuple[int, ...]  # of one example
    codec: str = ""  # the digest of the autoencoder whose latents they are; "": pixels

    def __str__(self) -> str:
        kind = f"latents of autoencoder {self.codec[:12]}" if self.codec else "pixels"
        return f"{kind} of shape {self.shape}"


class Teacher(Protocol):
    """Anything that knows what noisy examples of a space were."""

    @property
    def name(self) -> str:
        """What its examples are signed with."""
        ...

    @property
    def space(self) -> Space:
        """Where its examples live."""
        ...

    @property
    def digest(self) -> str:
        """SHA-256 of all that its answers depend on: weights, configuration, sampler."""
        ...

    def predict(self, noisy: Tensor, t_B: Tensor, condition: Condition) -> Tensor:
        """The guided clean estimate, at levels of the straight path; float32, no gradients."""
        ...

    def sample(self, noise: Tensor, condition: Condition) -> Tensor:
        """Standard normal noise -> clean examples, by its own sampler; float32, no gradients."""
        ...


@runtime_checkable
class Animates(Protocol):
    """A teacher that says how each part of a sticker moves."""

    @property
    def name(self) -> str:
        """What its clips are signed with."""
        ...

    def animate(self, sticker_BCHW: Tensor, tokens_BL: Tensor, noise_BTCHW: Tensor) -> Fields:
        """Stickers, captions, noise -> how every pixel moves."""
        ...


@runtime_checkable
class Films(Protocol):
    """A teacher that knows pictures alone."""

    @property
    def name(self) -> str:
        """What its clips are signed with."""
        ...

    def film(self, condition: Condition, seed: int, numbers: Sequence[int]) -> Tensor:
        """RGB frames (B, T, 3, H, W) in [0, 1], each clip from the noise of its number."""
        ...


def insist_same_space(student: Space, teacher: Teacher) -> None:
    """Refuse a teacher that speaks of other examples than the student makes.

    Raises:
        RequestError: other sizes, or another autoencoder's latents.
    """
    if teacher.space != student:
        raise RequestError(
            f"{teacher.name}: answers in {teacher.space}, and the student works in {student}; "
            "a teacher and its student need the same size and the same autoencoder. Choose another "
            "size, or let the student learn from this teacher's pictures instead."
        )


def digest_of(about: Any, *modules: nn.Module) -> str:
    """SHA-256 of a plain value, and of the weights of modules with their names and dtypes."""
    digest = hashlib.sha256(json.dumps(about, sort_keys=True, default=str).encode())
    for module in modules:
        for name, tensor in sorted(module.state_dict().items()):
            digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
            flat = tensor.detach().cpu().contiguous().reshape(-1)
            digest.update(flat.view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictorTeacher:
    """Any module that is asked as predict.Predictor says, with levels and guidance of its own."""

    name: str
    predictor: nn.Module
    space: Space
    levels: Sequence[float]
    scales: Mapping[str, float] = field(default_factory=dict)  # as of Guided

    @property
    def digest(self) -> str:
        """Of its weights, levels and scales."""
        return digest_of([self.space, list(self.levels), list(self.scales.items())], self.predictor)

    @torch.no_grad()
    def predict(self, noisy: Tensor, t_B: Tensor, condition: Condition) -> Tensor:
        """The clean estimate, guided where there are scales."""
        ask: Predictor = self.predictor
        if self.scales:
            ask = Guided(predictor=ask, scales=self.scales)
        return ask(noisy, t_B, condition).float()

    def sample(self, noise: Tensor, condition: Condition) -> Tensor:
        """Euler steps through its levels."""
        return generate(self.predict, noise, self.levels, condition)


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkTeacher:
    """A denoiser with its own many-step, guided sampler."""

    name: str
    network: Denoiser
    levels: Sequence[float]
    guidance: float
    bfloat16: bool = True

    @property
    def space(self) -> Space:
        """Its clips' pixels."""
        c = self.network.config
        return Space(shape=(c.frames, c.channels, c.side, c.side))

    @property
    def digest(self) -> str:
        """Of its weights, levels and guidance."""
        about = [str(self.network.config), list(self.levels), self.guidance, self.bfloat16]
        return digest_of(about, self.network)

    def animate(self, sticker_BCHW: Tensor, tokens_BL: Tensor, noise_BTCHW: Tensor) -> Fields:
        """The last step's guided fields, where the stickers are, wherever the network is."""
        place = self.network.stem.weight.device
        fields = sample(
            self.network,
            sticker_BCHW.to(place),
            tokens_BL.to(place),
            noise_BTCHW.to(place),
            self.levels,
            guidance=self.guidance,
            bfloat16=self.bfloat16,
        )
        return fields.to(sticker_BCHW.device)

    @torch.no_grad()
    def predict(self, noisy: Tensor, t_B: Tensor, condition: Condition) -> Tensor:
        """The guided fields at these levels, composed: clips in [-1, 1]."""
        fields = self._fields(noisy, t_B, condition)
        if self.guidance != 1:
            silent = dict(condition) | {"tokens": unconditional(condition["tokens"])}
            fields = guided(fields, self._fields(noisy, t_B, silent), self.guidance)
        return _composed(fields, condition, noisy)

    @torch.no_grad()
    def sample(self, noise: Tensor, condition: Condition) -> Tensor:
        """Clips in [-1, 1] by its own levels."""
        return _composed(
            self.animate(condition["sticker"], condition["tokens"], noise), condition, noise
        )

    def _fields(self, noisy: Tensor, t_B: Tensor, condition: Mapping[str, Tensor]) -> Fields:
        with in_bfloat16(self.bfloat16, noisy):
            context = self.network.encode(condition["sticker"], condition["tokens"])
            return self.network.fields(noisy, t_B, condition["sticker"], context).float()


def _composed(fields: Fields, condition: Condition, like: Tensor) -> Tensor:
    return compose(condition["sticker"], fields, like.shape[1]).reshape(like.shape) * 2 - 1
