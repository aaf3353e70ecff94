"""The average network during a training -> contact sheets of what it makes of held-out stickers."""

import copy
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from torch import nn

from minuet.benchmarks.quality import Frames
from minuet.contracts.files import write_bytes
from minuet.distill.predict import Composed
from minuet.evaluation import Asked, animated, held_out
from minuet.models.denoiser import Denoiser
from minuet.models.student import Sampler, Student
from minuet.stickers import captions
from minuet.trackers import Tracker

STICKERS, SIDE = 4, 112  # how many, and pixels a frame
LINE, GAP = 22, 6  # pixels: a caption's height, and between frames
PAPER, CARD, INK = (250, 247, 242), (255, 255, 255), (84, 74, 92)


class Sheets:
    """A numbered PNG each time the average is shown, the same stickers and noise on all of them."""

    def __init__(self, folder: Path, sampler: Sampler, trackers: Sequence[Tracker] = ()) -> None:
        self.folder, self.sampler, self.trackers = folder, sampler, trackers
        self._asked: list[Asked] = []

    def __call__(self, average: nn.Module, step: int) -> None:
        """Draw the sheet of a step, unless it is there."""
        path = self.folder / f"step-{step:07d}.png"
        network = average.network if isinstance(average, Composed) else average
        if path.exists() or not isinstance(network, Denoiser):
            return
        self._asked = self._asked or list(held_out(STICKERS, SIDE))
        student = Student(
            network=copy.deepcopy(network).cpu(),
            sampler=self.sampler,
            tokenizer=captions.tokenizer_json(),
            card="",
        )
        page = sheet(animated(student, self._asked), [one.caption for one in self._asked])
        stream = BytesIO()
        page.save(stream, "PNG")
        write_bytes(path, stream.getvalue())
        pixels: NDArray[np.uint8] = np.asarray(page)
        for tracker in self.trackers:
            tracker.picture("samples", pixels, step)


def sheet(clips: Sequence[Frames], words: Sequence[str]) -> Image.Image:
    """Clips (T, H, W, 4) as rows of frames, each under its caption."""
    frames, side = clips[0].shape[:2]
    wide, high = side + GAP, LINE + side + GAP
    page = Image.new("RGB", (GAP + frames * wide, GAP + len(clips) * high), PAPER)
    pen, font = ImageDraw.Draw(page), ImageFont.load_default(14)
    for row, (clip, caption) in enumerate(zip(clips, words, strict=True)):
        top = GAP + row * high
        pen.text((GAP, top), caption, INK, font)
        for at, frame in enumerate(clip):
            place = GAP + at * wide, top + LINE
            page.paste(CARD, (*place, place[0] + side, place[1] + side))
            picture = Image.fromarray(frame)
            page.paste(picture, place, picture)
    return page
