"""The video denoiser: noisy clip, noise level, sticker and caption -> a clean clip's fields."""

# Shapes: B clips, T frames, N = B * T, C = 4 RGBA channels, H = W = 64 at the working size,
# P = 16 the patch grid, Q = 8 the coarse grid, L tokens, D text width, E conditioning width,
# K parts.

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from minuet.contracts.errors import RequestError
from minuet.models.anatomy import Anatomy, AnatomyReader, PartFinder
from minuet.models.compose import Fields
from minuet.models.layers import Attention, Frequencies, ResBlock, SpaceTimeAttention
from minuet.models.motions import PartMotions, Script
from minuet.models.puppet import Puppet
from minuet.models.text import CaptionEncoder

PATCH = 4
LARGEST = 8192  # far above phone class; a hostile model.json would ask for more


def _is_size(value: object) -> bool:
    return type(value) is int and 1 <= value <= LARGEST


@dataclass(frozen=True, slots=True, kw_only=True)
class DenoiserConfig:
    """The shape of one network."""

    fine: int  # channels on the patch grid
    coarse: int  # channels on the coarse grid
    depth: int  # blocks on the coarse grid, each way
    encoder: int  # channels of the sticker encoder on the patch grid; twice that on the coarse one
    text: int = 128
    text_depth: int = 2
    film: int = 256
    heads: int = 4
    shuffle: int = 32  # channels between the patch grid and the pixels
    script: int = 0  # width of the short way from words to motions; 0: none
    landmarks: int = 0  # joints found in the sticker, which motions turn about; 0: none
    traits: int = 4
    puppet: bool = False  # part masks are found once and carried along, not drawn for each frame
    head: str = "compose"  # compose: flow, gate and paint; latent: a residual to the first frame
    channels: int = 4
    parts: int = 12
    frames: int = 8
    side: int = 64
    vocabulary: int = 128
    tokens: int = 16

    def __post_init__(self) -> None:
        if self.head not in ("compose", "latent"):
            raise RequestError(f"head is 'compose' or 'latent', not {self.head!r}.")
        numbers = {
            name: value
            for name, value in asdict(self).items()
            if name not in ("head", "landmarks", "puppet", "script")
        }
        wrong = [name for name, value in numbers.items() if not _is_size(value)]
        if wrong:
            raise RequestError(f"model config: {wrong} must be whole numbers in 1..{LARGEST}.")
        if not isinstance(self.puppet, bool):
            raise RequestError(f"model config: puppet {self.puppet!r} is true or false.")
        for name in ("landmarks", "script"):
            value = getattr(self, name)
            if value != 0 and not _is_size(value):
                raise RequestError(f"model config: {name} {value!r} is 0 or in 1..{LARGEST}.")
        if self.landmarks and not (self.script and self.puppet):
            raise RequestError("model config: landmarks need a script and a puppet.")
        if self.puppet and self.head != "compose":
            raise RequestError("model config: a puppet needs the head 'compose'.")
        if self.side % (2 * PATCH) or self.coarse % self.heads or 2 * self.encoder % self.heads:
            raise RequestError(
                f"side {self.side} must divide by {2 * PATCH}; coarse {self.coarse} and twice "
                f"encoder {self.encoder} by heads {self.heads}."
            )

    @property
    def grid(self) -> int:
        """Side of the patch grid."""
        return self.side // PATCH

    def to_json(self) -> dict[str, Any]:
        """A plain value for model.json."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "DenoiserConfig":
        """The reverse of to_json; an unknown field is an error with its name."""
        unknown = sorted(set(value) - set(cls.__dataclass_fields__))
        if unknown:
            raise RequestError(f"model config: unknown fields {unknown}; upgrade minuet.")
        return cls(**value)


SIZES: dict[str, DenoiserConfig] = {
    "demo": DenoiserConfig(
        fine=24,
        coarse=48,
        depth=1,
        encoder=24,
        text=64,
        film=96,
        shuffle=16,
        script=32,
        landmarks=13,
        puppet=True,
    ),
    "pocket": DenoiserConfig(
        fine=32, coarse=96, depth=1, encoder=64, shuffle=24, script=64, landmarks=13, puppet=True
    ),
    "teacher": DenoiserConfig(
        fine=48, coarse=160, depth=2, encoder=96, script=64, landmarks=13, puppet=True
    ),
    "phone-60m": DenoiserConfig(
        fine=192, coarse=512, depth=3, encoder=192, text=384, text_depth=4, film=768, heads=8
    ),
    "phone-300m": DenoiserConfig(
        fine=384, coarse=1024, depth=4, encoder=384, text=768, text_depth=8, film=1536, heads=16
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """What is known of a clip before any noise: computed once, used at every step."""

    fine_BCPP: Tensor
    coarse_BCQQ: Tensor
    text_BLD: Tensor
    caption_BE: Tensor
    script_BS: Tensor | None = None
    anatomy: Anatomy | None = None
    found_BKHW: Tensor | None = None


class StickerEncoder(nn.Module):
    """The sticker, looked at once a clip rather than once a frame and step."""

    def __init__(self, config: DenoiserConfig) -> None:
        super().__init__()
        width, patches = config.encoder, config.channels * PATCH * PATCH
        self.stem = nn.Conv2d(patches, width, 3, padding=1)
        self.fine = nn.ModuleList([ResBlock(width, width) for _ in range(2)])
        self.down = nn.Conv2d(width, 2 * width, 3, stride=2, padding=1)
        self.coarse = nn.ModuleList([ResBlock(2 * width, 2 * width) for _ in range(2)])
        self.look = Attention(2 * width, config.heads, (config.grid // 2) ** 2, config.text)
        self.to_fine = nn.Conv2d(width, config.fine, 1)
        self.to_coarse = nn.Conv2d(2 * width, config.coarse, 1)

    def forward(self, sticker_BCHW: Tensor, text_BLD: Tensor) -> tuple[Tensor, Tensor]:
        """Features on the patch grid (B, C, P, P) and on the coarse one (B, 2 C, Q, Q)."""
        x = self.stem(F.pixel_unshuffle(sticker_BCHW, PATCH))
        for block in self.fine:
            x = block(x)
        fine = x
        x = self.coarse[0](self.down(x))
        b, c, h, w = x.shape
        x = self.look(x.permute(0, 2, 3, 1).reshape(b, h * w, c), text_BLD)
        x = self.coarse[1](x.reshape(b, h, w, c).permute(0, 3, 1, 2))
        return fine, x


class Denoiser(nn.Module):
    """A two-level pseudo-3-D U-Net with factorised attention, conditioned by mask-concat.

    Flow matching: noisy = (1 - t) * x0 + t * noise, and the network answers with x0: in pixels as
    fields (head "compose"), or in an autoencoder's latents as the first frame's latent and a
    residual (head "latent").
    """

    def __init__(self, config: DenoiserConfig) -> None:
        super().__init__()
        self.config = c = config
        patches, t = c.channels * PATCH * PATCH, c.frames
        self.caption = CaptionEncoder(c.vocabulary, c.tokens, c.text, c.text_depth)
        self.sticker = StickerEncoder(c)
        self.finder = PartFinder(c.encoder, c.parts) if c.puppet else None
        self.anatomy = (
            AnatomyReader(c.encoder, c.landmarks, c.traits, 2 * c.grid) if c.landmarks else None
        )
        self.frequencies = Frequencies(64)
        self.level = nn.Sequential(nn.Linear(64, c.film), nn.SiLU(), nn.Linear(c.film, c.film))
        self.words = nn.Linear(c.text, c.film)
        self.frame = nn.Parameter(torch.randn(t, c.film) * 0.2)
        self.mix = nn.Sequential(nn.SiLU(), nn.Linear(c.film, c.film), nn.SiLU())
        self.stem = nn.Conv2d(2 * patches + 1, c.fine, 3, padding=1)
        self.fine_in = ResBlock(c.fine, c.fine, c.film, t)
        self.down = nn.Conv2d(c.fine, c.coarse, 3, stride=2, padding=1)
        self.coarse_in = nn.ModuleList(
            [ResBlock(c.coarse, c.coarse, c.film, t) for _ in range(c.depth)]
        )
        self.look = SpaceTimeAttention(c.coarse, c.heads, c.grid // 2, t, c.text)
        self.coarse_out = nn.ModuleList(
            [ResBlock(c.coarse, c.coarse, c.film, t) for _ in range(c.depth)]
        )
        self.up = nn.Conv2d(c.coarse, 4 * c.fine, 1)
        self.fine_out = ResBlock(2 * c.fine, c.fine, c.film, t)
        self.shuffle = nn.Conv2d(c.fine, 4 * c.shuffle, 1)
        outputs = c.parts + 2 + 1 + c.channels if c.head == "compose" else c.channels
        self.out = nn.Conv2d(c.shuffle, 4 * outputs, 3, padding=1)
        self.motions = PartMotions(c.coarse, c.parts, c.film) if c.head == "compose" else None
        self.script = self._script() if c.script and c.head == "compose" else None
        self.puppet = Puppet(c.parts) if c.puppet else None
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)  # type: ignore[arg-type]

    def _script(self) -> Script:
        c = self.config
        return Script(
            c.script,
            vocabulary=c.vocabulary,
            frames=c.frames,
            parts=c.parts,
            film=c.film,
            landmarks=c.landmarks,
            traits=c.traits,
        )

    def encode(self, sticker_BCHW: Tensor, tokens_BL: Tensor) -> Context:
        """Sticker (B, C, 64, 64) premultiplied in [0, 1] and tokens (B, L) -> what they say."""
        text, mean = self.caption(tokens_BL)
        fine, coarse = self.sticker(sticker_BCHW * 2 - 1, text)
        found = anatomy = None
        if self.finder is not None:
            found, where = self.finder(fine, coarse)
            anatomy = self.anatomy(where, coarse) if self.anatomy is not None else None
        return Context(
            fine_BCPP=self.sticker.to_fine(fine),
            coarse_BCQQ=self.sticker.to_coarse(coarse),
            text_BLD=text,
            caption_BE=self.words(mean),
            script_BS=self.script.words(tokens_BL) if self.script is not None else None,
            anatomy=anatomy,
            found_BKHW=found,
        )

    def conditioning(self, t_B: Tensor, context: Context) -> Tensor:
        """Noise level, caption and frame number -> the FiLM vector of each frame (N, E)."""
        e_BE = self.level(self.frequencies(t_B)) + 2 * context.caption_BE
        e_BTE = e_BE[:, None, :] + self.frame[None]
        mixed: Tensor = self.mix(e_BTE.reshape(-1, e_BTE.shape[-1]))
        return mixed

    def features(
        self, noisy_BTCHW: Tensor, film_NE: Tensor, sticker_BCHW: Tensor, context: Context
    ) -> tuple[Tensor, Tensor]:
        """Coarse features (N, C, Q, Q) and the raw output (N, outputs, H, W)."""
        t = noisy_BTCHW.shape[1]
        x = self.fine_in(self._stem(noisy_BTCHW, sticker_BCHW, context), film_NE)
        y = self.down(x) + _over_frames(context.coarse_BCQQ, t)
        for block in self.coarse_in:
            y = block(y, film_NE)
        y = self.look(y, context.text_BLD)
        for block in self.coarse_out:
            y = block(y, film_NE)
        x = self.fine_out(torch.cat([F.pixel_shuffle(self.up(y), 2), x], dim=1), film_NE)
        x = F.pixel_shuffle(self.shuffle(x), 2)
        return y, F.pixel_shuffle(self.out(F.silu(x)), 2)

    def _stem(self, noisy_BTCHW: Tensor, sticker_BCHW: Tensor, context: Context) -> Tensor:
        """Mask-concat: every frame beside the sticker and whether the sticker is that frame."""
        b, t = noisy_BTCHW.shape[:2]
        noisy = F.pixel_unshuffle(noisy_BTCHW.reshape(b * t, *noisy_BTCHW.shape[2:]), PATCH)
        given = _over_frames(F.pixel_unshuffle(sticker_BCHW * 2 - 1, PATCH), t)
        mask = first_frame(t).to(noisy).reshape(1, t, 1, 1, 1)
        mask = mask.expand(b, t, 1, *noisy.shape[-2:]).reshape(b * t, 1, *noisy.shape[-2:])
        stem: Tensor = self.stem(torch.cat([noisy, given, mask], dim=1))
        return stem + _over_frames(context.fine_BCPP, t)

    def fields(
        self, noisy_BTCHW: Tensor, t_B: Tensor, sticker_BCHW: Tensor, context: Context
    ) -> Fields:
        """The clean clip's fields. Noisy clip: 2 * premultiplied - 1, plus noise.

        The given frame is given: its motion is none, and its gate is open.
        """
        c = self.config
        film = self.conditioning(t_B, context)
        coarse, raw = self.features(noisy_BTCHW, film, sticker_BCHW, context)
        assert self.motions is not None
        affine = self.motions(coarse, film)
        if self.script is not None and context.script_BS is not None:
            affine = affine + self.script(context.script_BS, film, context.anatomy)
        b = noisy_BTCHW.shape[0]
        moves_N = (1 - first_frame(c.frames)).to(raw).repeat(b).reshape(-1, 1, 1, 1)
        affine = affine * moves_N[:, :, :, 0]
        parts, dense, gate, paint = raw.split([c.parts, 2, 1, c.channels], dim=1)
        if self.puppet is not None and context.found_BKHW is not None:
            found, alpha = context.found_BKHW.to(sticker_BCHW), sticker_BCHW[:, 3:4]
            parts, seen = self.puppet(found, parts.to(sticker_BCHW), affine, alpha)
            gate = gate + seen
        return Fields(
            affine_NK6=affine,
            parts_NKHW=parts,
            dense_N2HW=dense * moves_N,
            gate_N1HW=gate * moves_N + (2.0 + 18.0 * (1 - moves_N)),
            paint_NCHW=paint + 0.0,
        )

    def residual(
        self, noisy_BTCHW: Tensor, t_B: Tensor, first_BCHW: Tensor, context: Context
    ) -> Tensor:
        """The clean clip less its first frame (B, T, C, H, W), for head "latent".

        `first_BCHW` is 0.5 + 0.5 * latent, as a sticker's [0, 1] is to its [-1, 1]; the residual
        is in latent units, and zero for the given frame.
        """
        assert self.motions is None
        b, t = noisy_BTCHW.shape[:2]
        film = self.conditioning(t_B, context)
        _, raw = self.features(noisy_BTCHW, film, first_BCHW, context)
        moves = (1 - first_frame(t)).to(raw).repeat(b).reshape(-1, 1, 1, 1)
        return (raw * moves).reshape(noisy_BTCHW.shape)


def first_frame(frames: int) -> Tensor:
    """Which frame the sticker is: one at the first, zero elsewhere."""
    return (torch.arange(frames) == 0).float()


def _over_frames(x_BCHW: Tensor, frames: int) -> Tensor:
    """Repeat a clip's map over its frames: (B, C, H, W) -> (N, C, H, W)."""
    b, c, h, w = x_BCHW.shape
    return x_BCHW[:, None].expand(b, frames, c, h, w).reshape(b * frames, c, h, w)
