"""The embedded sticker world as training data: addresses -> stored clips with their truth."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from minuet.distill.augment import Mirror
from minuet.distill.store import Known, fill
from minuet.stickers import captions, rig, world

SIDE = 64  # the denoiser's working size
WORDINGS = 4  # captions a clip: the first half leaves nothing of the movement open


def known(seed: int, index: int, split: str = "train") -> Known:
    """The clip at an address, in several wordings."""
    spec = world.sample(seed, index, split)
    truth = world.render_truth(spec, SIDE)
    lines = wordings(spec)
    return Known(
        frames_THWC=truth.frames_THWC,
        part_THW=truth.part_THW.astype(np.uint8),
        mask_THW=truth.mask_THW,
        affine_TK23=truth.affine_TK23,
        captions=lines,
        tokens_VL=np.stack([captions.encode(line) for line in lines]),
        anatomy_V=world.anatomy_of(spec).astype(np.float32),
    )


def wordings(spec: world.Spec) -> tuple[str, ...]:
    """A clip's caption in different words; `animate` always says which way and how strongly."""
    specs = [replace(spec, seed=spec.seed + at) for at in range(WORDINGS)]
    told, rest = specs[: WORDINGS // 2], specs[WORDINGS // 2 :]
    return (*map(captions.explicit, told), *map(captions.caption, rest))


def fill_store(folder: Path, clips: int, seed: int, split: str = "train") -> Iterator[int]:
    """Render the clips that a store still lacks, yielding how many there are."""
    note = {"seed": seed, "split": split, "side": SIDE}
    return fill(folder, clips, lambda index: known(seed, index, split), note)


def mirror() -> Mirror:
    """What changes its name when a sticker is seen in a mirror."""
    parts = tuple(rig.NODE_ID[twin_of(node)] for node in rig.NODES)
    words = ("left", "right"), ("counterclockwise", "clockwise")
    twins = [tuple(int(captions.encode(word)[0]) for word in pair) for pair in words]
    return Mirror(
        parts=parts,
        tokens={a: b for x, y in twins for a, b in ((x, y), (y, x))},
        landmarks=(*parts, len(parts)),  # the joints, and the middle
        traits=(0, 1, 3, 2),  # no arms, no eyes, a load on the left, a load on the right
    )


def twin_of(name: str) -> str:
    """The other side's name: arm_left -> arm_right."""
    if name.endswith("_left"):
        return name.removesuffix("left") + "right"
    return name.removesuffix("right") + "left" if name.endswith("_right") else name
