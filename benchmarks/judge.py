"""Clips -> what is recognised in them: motion over eight frames; style, colour, features of one."""

# Shapes: B clips, T = 8 frames, C = 4 channels (premultiplied RGBA, -1..1), S = 64 pixels a side.
# The judge is small, trained on the embedded world by scripts/train_judge.py, and never sees what
# it judges during training: it measures students, it does not teach them.

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from minuet.benchmarks.quality import Frames, Judge, Seen
from minuet.contracts.errors import DamagedError
from minuet.contracts.files import read_json, write_bytes, write_json
from minuet.contracts.pixels import Floats, premultiplied

SIDE = 64
FRAMES = 8
SCHEMA = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """The answers a judge may give, in the order of its outputs."""

    motions: tuple[str, ...]
    styles: tuple[str, ...]
    colors: tuple[str, ...]


def conv(inputs: int, outputs: int, stride: int) -> nn.Sequential:
    """Convolution, batch norm, ReLU."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()
    )


class MotionNet(nn.Module):
    """Eight frames, and their changes, as channels of one image: clip -> motion.

    Light and alpha only: what moves is not told by its colour.
    """

    def __init__(self, motions: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            conv(4 * FRAMES, 64, 2), conv(64, 64, 1), conv(64, 96, 2), conv(96, 128, 2)
        )
        self.head = nn.Linear(128, motions)

    def forward(self, clips_BTCSS: Tensor) -> Tensor:
        light = clips_BTCSS[:, :, :3].mean(2, keepdim=True)
        seen = functional.avg_pool2d(torch.cat([light, clips_BTCSS[:, :, 3:]], 2).flatten(1, 2), 2)
        frames = seen.reshape(len(seen), FRAMES, 2, *seen.shape[2:])
        changes = 2 * (frames - frames.roll(1, 1))
        features = self.body(torch.cat([frames, changes], 2).flatten(1, 2)).mean((2, 3))
        logits: Tensor = self.head(features)
        return logits


class LookNet(nn.Module):
    """One frame -> style and colour; its inner layers serve as features."""

    def __init__(self, styles: int, colors: int) -> None:
        super().__init__()
        first = nn.Sequential(nn.PixelUnshuffle(2), conv(16, 48, 1))
        self.body = nn.ModuleList([first, conv(48, 64, 2), conv(64, 96, 2), conv(96, 128, 2)])
        self.style, self.color = nn.Linear(128, styles), nn.Linear(128, colors)

    def features(self, frames_NCSS: Tensor) -> list[Tensor]:
        """Every layer's output."""
        found, x = [], frames_NCSS
        for layer in self.body:
            x = layer(x)
            found.append(x)
        return found

    def forward(self, frames_NCSS: Tensor) -> tuple[Tensor, Tensor]:
        pooled = self.features(frames_NCSS)[-1].mean((2, 3))
        return self.style(pooled), self.color(pooled)


class JudgeNet(nn.Module):
    """Both nets, with the words for their answers."""

    def __init__(self, words: Words) -> None:
        super().__init__()
        self.words = words
        self.motion = MotionNet(len(words.motions))
        self.look = LookNet(len(words.styles), len(words.colors))

    def recognise(self, clip_THWC: Frames) -> Seen:
        """The likeliest motion, style and colour; the look is averaged over frames 1 and on."""
        with torch.inference_mode():
            clip = as_input(clip_THWC)
            motion = self.motion(clip[None])[0]
            style, color = (scores.log_softmax(-1).mean(0) for scores in self.look(clip[1:]))
        return Seen(
            motion=self.words.motions[int(motion.argmax())],
            style=self.words.styles[int(style.argmax())],
            color=self.words.colors[int(color.argmax())],
        )

    def features(self, frames_THWC: Frames) -> Sequence[Floats]:
        """The look's first three layers, unit length over channels."""
        with torch.inference_mode():
            layers = self.look.features(as_input(frames_THWC))[:3]
            return [functional.normalize(layer, dim=1).numpy() for layer in layers]

    def judge(self) -> Judge:
        """This net as the judge that quality.py asks."""
        self.eval()
        return Judge(recognise=self.recognise, features=self.features)


def as_input(frames_THWC: Frames) -> Tensor:
    """Straight uint8 of any size from 64 on -> premultiplied float32 (T, C, 64, 64) in -1..1."""
    return torch.from_numpy(shrunk(frames_THWC) * 2 - 1).permute(0, 3, 1, 2).contiguous()


def shrunk(frames_THWC: Frames, side: int = SIDE) -> NDArray[np.float32]:
    """Premultiplied float32 in 0..1, averaged down to `side` pixels."""
    frames = premultiplied(frames_THWC)
    count, height, width, channels = frames.shape
    if height % side or width % side:
        planes = torch.from_numpy(frames).permute(0, 3, 1, 2)
        planes = functional.interpolate(planes, (side, side), mode="bilinear", antialias=True)
        return planes.permute(0, 2, 3, 1).numpy()
    blocks = frames.reshape(count, side, height // side, side, width // side, channels)
    mean: NDArray[np.float32] = blocks.mean(axis=(2, 4))
    return mean


def save_judge(net: JudgeNet, folder: Path, facts: dict[str, float | int | str]) -> None:
    """Weights as fp16 safetensors, words and held-out accuracies as JSON."""
    from safetensors.torch import save

    weights = {
        name: value.half() if value.is_floating_point() else value
        for name, value in net.state_dict().items()
        if not name.endswith("num_batches_tracked")
    }
    write_bytes(folder / "judge.safetensors", save(weights))
    value = {"schema": SCHEMA, "words": asdict(net.words), "facts": facts}
    write_json(folder / "judge.json", value)


def load_judge(folder: Path) -> JudgeNet:
    """A judge from its folder, in eval mode.

    Raises:
        DamagedError: files missing, truncated, or not a judge of this schema.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    value = read_json(folder / "judge.json")
    try:
        if value["schema"] != SCHEMA:
            raise DamagedError(f"{folder}: a judge of schema {value['schema']}, not {SCHEMA}.")
        words = Words(**{name: tuple(values) for name, values in value["words"].items()})
        net = JudgeNet(words)
        weights = load_file(folder / "judge.safetensors")
        found = net.load_state_dict({k: v.float() for k, v in weights.items()}, strict=False)
    except (KeyError, TypeError, RuntimeError, OSError, SafetensorError) as error:
        raise DamagedError(f"{folder}: not a judge ({error}); get a fresh copy.") from error
    missing = [name for name in found.missing_keys if not name.endswith("num_batches_tracked")]
    if missing or found.unexpected_keys:
        raise DamagedError(f"{folder}: weights do not fit: {missing or found.unexpected_keys}.")
    return net.eval()
