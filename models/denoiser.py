"""The video denoiser: noisy clip, noise level, sticker and caption -> a clean clip's fields."""

# Shapes: B clips, T frames, N = B * T, C = 4 RGBA channels, H = W = 64 at the working size,
# P = 16 the patch grid, Q = 8 the coarse grid, L tokens, D text width, E conditioning width,
# K parts, G guidance scales.

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from minuet.contracts.errors import RequestError
from minuet.models.anatomy import Anatomy, AnatomyReader, PartFinder
from minuet.models.compose import Fields
from minuet.models.config import PATCH, DenoiserConfig
from minuet.models.interpolate import between
from minuet.models.layers import Attention, Frequencies, ResBlock, SpaceTimeAttention
from minuet.models.motions import PartMotions, Script
from minuet.models.puppet import Puppet
from minuet.models.structure import fill, shape
from minuet.models.text import CaptionEncoder

LOUDEST = 4.0  # guidance scales up to e^4 lie within the levels' own range of frequencies


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """What is known of a clip before any noise: computed once, used at every step."""

    fine_BCPP: Tensor
    coarse_BCQQ: Tensor
    text_BLD: Tensor
    caption_BE: Tensor
    scales_BE: Tensor | None = None
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
        self.scales = self._scales() if c.scales else None
        self.words = nn.Linear(c.text, c.film)
        self.frame = nn.Parameter(torch.randn(t, c.film) * 0.2)
        self.mix = nn.Sequential(nn.SiLU(), nn.Linear(c.film, c.film), nn.SiLU())
        self.stem = nn.Conv2d(2 * patches + 1, c.fine, 3, padding=1)
        self.fine_in = ResBlock(c.fine, c.fine, c.film, t)
        self.down = nn.Conv2d(c.fine, c.coarse, 3, stride=1 if c.halved else 2, padding=1)
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
        shape(self, c.widths, c.removed)

    def _scales(self) -> nn.Linear:
        """Starts at zero: scales that nothing was learnt of change nothing."""
        heard = nn.Linear(64 * self.config.scales, self.config.film, bias=False)
        nn.init.zeros_(heard.weight)
        return heard

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

    def encode(
        self, sticker_BCHW: Tensor, tokens_BL: Tensor, scales_BG: Tensor | None = None
    ) -> Context:
        """Sticker (B, C, 64, 64) premultiplied in [0, 1] and tokens (B, L) -> what they say.

        Args:
            scales_BG: guidance scales above 0, for a network that is told them.
        """
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
            scales_BE=self._told(scales_BG),
            script_BS=self.script.words(tokens_BL) if self.script is not None else None,
            anatomy=anatomy,
            found_BKHW=found,
        )

    def _told(self, scales_BG: Tensor | None) -> Tensor | None:
        """Meng et al. 2022 (arXiv 2210.03142), sec. 3.1: Fourier features of log scales."""
        if self.scales is None:
            return None
        if scales_BG is None or scales_BG.shape[1] != self.config.scales:
            found = 0 if scales_BG is None else scales_BG.shape[1]
            raise RequestError(
                f"this network is told {self.config.scales} guidance scales; {found} were given."
            )
        waves = self.frequencies(scales_BG.log().flatten() / LOUDEST)
        told: Tensor = self.scales(waves.reshape(len(scales_BG), -1))
        return told

    def conditioning(self, t_B: Tensor, context: Context) -> Tensor:
        """Noise level, caption and frame number -> the FiLM vector of each frame (N, E)."""
        e_BE = self.level(self.frequencies(t_B)) + 2 * context.caption_BE
        if context.scales_BE is not None:
            e_BE = e_BE + context.scales_BE
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
        x = F.interpolate(x, scale_factor=2.0) if self.config.halved else x
        x = self.fine_out(torch.cat([F.pixel_shuffle(self.up(y), 2), x], dim=1), film_NE)
        x = F.pixel_shuffle(self.shuffle(x), 2)
        return y, F.pixel_shuffle(self.out(F.silu(x)), 2)

    def _stem(self, noisy_BTCHW: Tensor, sticker_BCHW: Tensor, context: Context) -> Tensor:
        """Mask-concat: every frame beside the sticker and whether the sticker is that frame.

        Halved, it sees a quarter of the pixels, and `down` keeps them all (Zhuo et al. 2022, arXiv
        2207.05049, spatially low-demand inputs).
        """
        b, t = noisy_BTCHW.shape[:2]
        seen = (lambda x: F.avg_pool2d(x, 2)) if self.config.halved else (lambda x: x)
        noisy = seen(noisy_BTCHW.reshape(b * t, *noisy_BTCHW.shape[2:]))
        noisy = F.pixel_unshuffle(noisy, PATCH)
        given = _over_frames(F.pixel_unshuffle(seen(sticker_BCHW) * 2 - 1, PATCH), t)
        mask = first_frame(t).to(noisy).reshape(1, t, 1, 1, 1)
        mask = mask.expand(b, t, 1, *noisy.shape[-2:]).reshape(b * t, 1, *noisy.shape[-2:])
        stem: Tensor = self.stem(torch.cat([noisy, given, mask], dim=1))
        return stem + _over_frames(seen(context.fine_BCPP), t)

    def fields(
        self, noisy_BTCHW: Tensor, t_B: Tensor, sticker_BCHW: Tensor, context: Context
    ) -> Fields:
        """The clean clip's fields. Noisy clip: 2 * premultiplied - 1, plus noise.

        The given frame is given: its motion is none, and its gate is open.
        """
        said = self._said(noisy_BTCHW, t_B, sticker_BCHW, context)
        return self._finished(said, sticker_BCHW, context)

    def shown(
        self, noisy_BTCHW: Tensor, t_B: Tensor, sticker_BCHW: Tensor, context: Context
    ) -> Fields:
        """The fields of every frame that is shown: those between are interpolated, then carried."""
        said, gap = self._said(noisy_BTCHW, t_B, sticker_BCHW, context), self.config.gap
        if gap > 1:  # what is said of the given frame's gate is never heard
            gate = said.gate_N1HW * _moves(self.config.frames, said.gate_N1HW)
            said = between(replace(said, gate_N1HW=gate), len(sticker_BCHW), gap)
        return self._finished(said, sticker_BCHW, context)

    def _said(
        self, noisy_BTCHW: Tensor, t_B: Tensor, sticker_BCHW: Tensor, context: Context
    ) -> Fields:
        """What the network says of its own frames."""
        c = self.config
        film = self.conditioning(t_B, context)
        coarse, raw = self.features(noisy_BTCHW, film, sticker_BCHW, context)
        assert self.motions is not None
        affine = self.motions(coarse, film)
        if self.script is not None and context.script_BS is not None:
            affine = affine + self.script(context.script_BS, film, context.anatomy)
        parts, dense, gate, paint = raw.split([c.parts, 2, 1, c.channels], dim=1)
        moves_N = _moves(c.frames, affine)
        return Fields(
            affine_NK6=affine * moves_N[:, :, :, 0],
            parts_NKHW=parts,
            dense_N2HW=dense * moves_N,
            gate_N1HW=gate,
            paint_NCHW=paint,
        )

    def _finished(self, said: Fields, sticker_BCHW: Tensor, context: Context) -> Fields:
        """Parts carried by their motions, and the given frame given."""
        affine, parts, gate = said.affine_NK6, said.parts_NKHW, said.gate_N1HW
        moves_N = _moves(len(gate) // len(sticker_BCHW), gate)
        if self.puppet is not None and context.found_BKHW is not None:
            found, alpha = context.found_BKHW.to(sticker_BCHW), sticker_BCHW[:, 3:4]
            parts, seen = self.puppet(found, parts.to(sticker_BCHW), affine, alpha)
            gate = gate + seen
        return Fields(
            affine_NK6=affine,
            parts_NKHW=parts,
            dense_N2HW=said.dense_N2HW,
            gate_N1HW=gate * moves_N + (2.0 + 18.0 * (1 - moves_N)),
            paint_NCHW=said.paint_NCHW + 0.0,
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


def rebuilt(
    network: Denoiser, config: DenoiserConfig, kept: Mapping[str, Tensor] | None = None
) -> Denoiser:
    """A network of another shape with the weights that remain; the given one is left as it was.

    Args:
        config: of the new network: fewer blocks, narrower ones, fewer frames, halved.
        kept: by block, which inner channels remain, ascending; of other blocks, the strongest.

    Raises:
        RequestError: the new network is no part of the given one.
    """
    with torch.random.fork_rng(devices=[]):
        small = Denoiser(config)
    return fill(small, network, kept or {}).train(network.training)


def _moves(frames: int, like_N: Tensor) -> Tensor:
    """0 for each clip's first frame, 1 for the others: (N, 1, 1, 1)."""
    moves = (1 - first_frame(frames)).to(like_N).repeat(len(like_N) // frames)
    return moves.reshape(-1, 1, 1, 1)


def first_frame(frames: int) -> Tensor:
    """Which frame the sticker is: one at the first, zero elsewhere."""
    return (torch.arange(frames) == 0).float()


def _over_frames(x_BCHW: Tensor, frames: int) -> Tensor:
    """Repeat a clip's map over its frames: (B, C, H, W) -> (N, C, H, W)."""
    b, c, h, w = x_BCHW.shape
    return x_BCHW[:, None].expand(b, frames, c, h, w).reshape(b * frames, c, h, w)
