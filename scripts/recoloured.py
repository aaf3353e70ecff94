"""Stickers, recoloured frames and moving clips -> lessons, and a small network to learn them.

The world of scripts/factorized.py, at 32 px: a few animals, colours and motions.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from minuet.distill.ensemble import shrunk
from minuet.distill.path import draw_levels, noised
from minuet.distill.predict import Condition
from minuet.models.layers import Attention, Frequencies, ResBlock, TemporalConv
from minuet.stickers import captions, world
from minuet.stickers.motions import SIDED
from minuet.stickers.spec import NO_ACCESSORY, Spec

# Shapes: N stickers, B of them in a batch, T = 8 frames, P poses, C = 4 premultiplied, L tokens.

SIDE, FRAMES, PATCH = 32, 8, 4
CHARACTERS = ("cat", "bear", "chick")
COLORS = ("red", "yellow", "green", "blue")
MOTIONS = ("jump", "wobble", "pulse", "shake")
POSES = 2  # frames of the recoloured sticker that the editing teacher is shown
FINE, COARSE, FILM = 48, 96, 96


# --- the world ---------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Cards:
    """Stickers with what each teacher is shown: uint8, premultiplied."""

    clips_NTCHW: Tensor  # in their own colour, moving
    edited_NPCHW: Tensor  # recoloured: single frames, in any pose
    own_NL: Tensor  # "red rabbit jumping"
    asked_NL: Tensor  # "blue rabbit jumping"
    look_NL: Tensor  # "blue rabbit"


def spec_at(seed: int, index: int) -> tuple[Spec, str]:
    """A sticker and the colour it shall have."""
    rng = np.random.default_rng([seed, index])
    first, second = rng.choice(len(COLORS), 2, replace=False)
    motion = str(rng.choice(MOTIONS))
    spec = Spec(
        character=str(rng.choice(CHARACTERS)),
        color=COLORS[first],
        style="flat",
        expression="happy",
        accessory=NO_ACCESSORY,
        motion=motion,
        toward="left" if motion in SIDED else "",
        amplitude=1.3,
        seed=int(rng.integers(2**31)),
    )
    return spec, COLORS[second]


def frames_of(spec: Spec) -> Tensor:
    """The clip at the working size, premultiplied uint8 (T, C, H, W)."""
    return (small(world.render_clip(spec, 64).frames_THWC) * 255 + 0.5).to(torch.uint8)


def small(frames_THWC: NDArray[np.uint8]) -> Tensor:
    """Frames with straight alpha -> the working size, premultiplied, in [0, 1]."""
    return torch.stack([shrunk(frame, SIDE) for frame in frames_THWC])


def cards(seed: int, count: int) -> Cards:
    """Stickers number 0 to count - 1 of a seed."""
    rows: list[tuple[Tensor, Tensor, list[NDArray[np.int32]]]] = []
    for index in range(count):
        spec, color = spec_at(seed, index)
        poses = np.random.default_rng([seed, index, 1]).choice(FRAMES, POSES, replace=False)
        lines = (
            f"{spec.color} {spec.character} {spec.motion}",
            f"{color} {spec.character} {spec.motion}",
            f"{color} {spec.character}",
        )
        edited = frames_of(replace(spec, color=color))[torch.from_numpy(poses)]
        rows.append((frames_of(spec), edited, [captions.encode(line) for line in lines]))
    words = torch.from_numpy(np.stack([row[2] for row in rows]))
    return Cards(
        clips_NTCHW=torch.stack([row[0] for row in rows]),
        edited_NPCHW=torch.stack([row[1] for row in rows]),
        own_NL=words[:, 0],
        asked_NL=words[:, 1],
        look_NL=words[:, 2],
    )


# --- the network -------------------------------------------------------------------------------


class Painter(nn.Module):
    """Noisy images or clips, a sticker and words -> x0: one backbone, layers of time over it.

    Of single images the layers of time are left out; in a new network they change nothing.
    """

    def __init__(self, fine: int = FINE, coarse: int = COARSE, film: int = FILM) -> None:
        super().__init__()
        patches = 4 * PATCH * PATCH
        self.words = nn.Embedding(captions.VOCABULARY_SIZE, film)
        self.frequencies = Frequencies(64)
        self.level = nn.Sequential(nn.Linear(64, film), nn.SiLU(), nn.Linear(film, film))
        self.mix = nn.Sequential(nn.SiLU(), nn.Linear(film, film), nn.SiLU())
        self.stem = nn.Conv2d(2 * patches, fine, 3, padding=1)
        self.fine_in = ResBlock(fine, fine, film)
        self.down = nn.Conv2d(fine, coarse, 3, stride=2, padding=1)
        self.coarse_in, self.coarse_out = (ResBlock(coarse, coarse, film) for _ in range(2))
        self.space = Attention(coarse, 4, (SIDE // PATCH // 2) ** 2)
        self.up = nn.Conv2d(coarse, 4 * fine, 1)
        self.fine_out = ResBlock(2 * fine, fine, film)
        self.out = nn.Conv2d(fine, patches, 3, padding=1)
        self.when = nn.Parameter(torch.zeros(FRAMES, film))
        self.times = nn.ModuleList(TemporalConv(c, FRAMES) for c in (fine, coarse, coarse, fine))
        self.time = Attention(coarse, 4, FRAMES)
        nn.init.zeros_(self.out.weight)

    def forward(self, noisy: Tensor, t_B: Tensor, condition: Condition) -> Tensor:
        """(B, C, H, W) or (B, T, C, H, W) in [-1, 1], as it came."""
        frames = noisy.shape[1] if noisy.ndim == 5 else 1
        with torch.autocast("cpu", torch.bfloat16):
            film = self.level(self.frequencies(t_B)) + self.said(condition["tokens"])
            film = film.repeat_interleave(frames, 0)
            if frames > 1:
                film = film + self.when.repeat(len(t_B), 1)
            given = (condition["sticker"] * 2 - 1).repeat_interleave(frames, 0)
            raw = self._painted(noisy.reshape(given.shape), given, self.mix(film), frames > 1)
        return (given + raw.float()).reshape(noisy.shape)

    def said(self, tokens_BL: Tensor) -> Tensor:
        """The sum of the words' vectors; what pads says nothing."""
        summed: Tensor = (self.words(tokens_BL.long()) * (tokens_BL > 0)[..., None]).sum(1)
        return summed

    def looked(self, images_NCHW: Tensor) -> list[Tensor]:
        """What the backbone sees in clean images, on both of its grids: features for critics."""
        film = self.mix(self.level(self.frequencies(images_NCHW.new_zeros(len(images_NCHW)))))
        both = torch.cat([images_NCHW, images_NCHW], 1)
        x = self.fine_in(self.stem(F.pixel_unshuffle(both, PATCH)), film)
        return [x, self.coarse_in(self.down(x), film)]

    def _painted(self, noisy_NCHW: Tensor, given_NCHW: Tensor, film: Tensor, clip: bool) -> Tensor:
        def in_time(at: int, x: Tensor) -> Tensor:
            timed: Tensor = self.times[at](x) if clip else x
            return timed

        x = self.stem(F.pixel_unshuffle(torch.cat([noisy_NCHW, given_NCHW], 1), PATCH))
        x = in_time(0, self.fine_in(x, film))
        y = in_time(1, self.coarse_in(self.down(x), film))
        y = in_time(2, self.coarse_out(self._attended(y, clip), film))
        x = torch.cat([F.pixel_shuffle(self.up(y), 2), x], 1)
        x = in_time(3, self.fine_out(x, film))
        return F.pixel_shuffle(self.out(F.silu(x)), PATCH)

    def _attended(self, y_NCHW: Tensor, clip: bool) -> Tensor:
        """Attention within each frame, then along each pixel's time."""
        n, c, h, w = y_NCHW.shape
        z: Tensor = self.space(y_NCHW.flatten(2).transpose(1, 2))
        if clip:
            z = z.reshape(-1, FRAMES, h * w, c).transpose(1, 2).reshape(-1, FRAMES, c)
            z = self.time(z).reshape(-1, h * w, FRAMES, c).transpose(1, 2)
        return z.reshape(n, h * w, c).transpose(1, 2).reshape(n, c, h, w)


# --- the teachers ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """Clean images or clips, and what is known of them."""

    x0: Tensor
    condition: Condition


Draw = Callable[[Cards, int, torch.Generator], Example]


def pixels(frames: Tensor) -> Tensor:
    """uint8 -> [0, 1]."""
    return frames.float() / 255


def any_pose(data: Cards, size: int, rng: torch.Generator) -> Example:
    """What the backbone learns: a sticker -> itself, in any pose, in its own colour."""
    at = torch.randint(len(data.own_NL), (size,), generator=rng)
    pose = torch.randint(FRAMES, (size,), generator=rng)
    words = data.own_NL[at].clone()
    words[:, 2:] = 0
    condition = {"sticker": pixels(data.clips_NTCHW[at, 0]), "tokens": words}
    return Example(x0=pixels(data.clips_NTCHW[at, pose]) * 2 - 1, condition=condition)


def recoloured(data: Cards, size: int, rng: torch.Generator) -> Example:
    """What the editing teacher learns: a sticker, a colour -> single frames, recoloured."""
    at = torch.randint(len(data.own_NL), (size,), generator=rng)
    pose = torch.randint(POSES, (size,), generator=rng)
    condition = {"sticker": pixels(data.clips_NTCHW[at, 0]), "tokens": data.look_NL[at]}
    return Example(x0=pixels(data.edited_NPCHW[at, pose]) * 2 - 1, condition=condition)


def moving(data: Cards, size: int, rng: torch.Generator) -> Example:
    """What the animating teacher learns: clips, in the stickers' own colour."""
    at = torch.randint(len(data.own_NL), (size,), generator=rng)
    condition = {"sticker": pixels(data.clips_NTCHW[at, 0]), "tokens": data.own_NL[at]}
    return Example(x0=pixels(data.clips_NTCHW[at]) * 2 - 1, condition=condition)


def asked(data: Cards, size: int, rng: torch.Generator) -> Example:
    """What the student is asked: a sticker, another colour, a motion. There is no answer in it."""
    at = torch.randint(len(data.own_NL), (size,), generator=rng)
    return questions(data, at)


def questions(data: Cards, at: Tensor) -> Example:
    """The student's questions with these numbers."""
    condition = {
        "sticker": pixels(data.clips_NTCHW[at, 0]),
        "tokens": data.asked_NL[at],
        "look": data.look_NL[at],
    }
    return Example(x0=torch.zeros(len(at), FRAMES, 4, SIDE, SIDE), condition=condition)


def denoising(
    network: nn.Module, lesson: Example, rng: torch.Generator
) -> tuple[Tensor, Mapping[str, Tensor]]:
    """The squared error of x0 at random levels."""
    t_B = draw_levels(len(lesson.x0), rng, pure=0.1)
    noisy = noised(lesson.x0, torch.randn(lesson.x0.shape, generator=rng), t_B)
    return (network(noisy, t_B, lesson.condition) - lesson.x0).square().mean(), {}
