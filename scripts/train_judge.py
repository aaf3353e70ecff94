"""The embedded sticker world -> the judge that benchmarks/quality.py asks, in minutes on one core.

python scripts/train_judge.py --out shipped/judge [--clips 4000] [--seen 32000] [--seed 0]
"""

import argparse
import time
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from minuet.benchmarks.judge import Words, save_judge, shrunk
from minuet.benchmarks.judge_train import Labelled, accuracies, train
from minuet.stickers.motions import MOTIONS
from minuet.stickers.palette import COLORS, STYLES
from minuet.stickers.spec import Spec
from minuet.stickers.world import render_clip, sample

SIZE = 64
TEST_CLIPS = 512
UNKNOWN = -100  # a label that cross-entropy skips: things without a name have no colour name
WORDS = Words(motions=tuple(MOTIONS), styles=tuple(STYLES), colors=tuple(COLORS))


def labelled(split: str, seed: int, count: int, backend: str = "auto") -> Labelled:
    """`count` clips of a split with their labels."""
    specs = [sample(seed, index, split) for index in range(count)]
    clips = np.stack([rendered(spec, backend) for spec in specs])
    colors = {color: index for index, color in enumerate(WORDS.colors)}
    return Labelled(
        clips_NTSSC=clips,
        motion_N=np.array([WORDS.motions.index(spec.motion) for spec in specs]),
        style_N=np.array([WORDS.styles.index(spec.style) for spec in specs]),
        color_N=np.array([colors.get(spec.color, UNKNOWN) for spec in specs]),
    )


def rendered(spec: Spec, backend: str) -> NDArray[np.uint8]:
    """One clip, premultiplied uint8, as the judge's training wants it."""
    frames = render_clip(spec, SIZE, backend).frames_THWC
    return (shrunk(frames, SIZE) * 255 + 0.5).astype(np.uint8)


def main() -> None:
    """Draw, train, test on pairs never seen, save."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("shipped/judge"))
    parser.add_argument("--clips", type=int, default=4000)
    parser.add_argument("--seen", type=int, default=32000, help="clips, counted with repeats")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    torch.set_num_threads(1)
    start = time.monotonic()
    data = labelled("train", args.seed + 1000, args.clips)
    print(f"{args.clips} clips drawn in {time.monotonic() - start:.0f} s", flush=True)
    net = train(data, WORDS, seen=args.seen, seed=args.seed, say=partial(print, flush=True))
    found = accuracies(net, labelled("test", args.seed + 2000, TEST_CLIPS))
    words = ", ".join(f"{name} {share:.3f}" for name, share in found.items())
    print(f"{time.monotonic() - start:.0f} s; held-out pairs, {TEST_CLIPS} clips: {words}")
    facts = {name: round(share, 4) for name, share in found.items()}
    more = {"clips": args.clips, "seen": args.seen, "seed": args.seed, "test": TEST_CLIPS}
    save_judge(net, args.out, {**facts, **more})


if __name__ == "__main__":
    main()
