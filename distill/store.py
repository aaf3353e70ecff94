"""Clips with their truth on disk and back: numbered shards, written whole, read a row at a time."""

# Shapes: n clips a shard, V wordings of a caption, T, H, W, K, L as in batch.py.

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from minuet.contracts.errors import DamagedError, RequestError
from minuet.contracts.files import write_bytes
from minuet.contracts.tensors import to_safetensors
from minuet.distill.batch import Batch, batch_from_arrays

SHARD = 256
KEYS = ("frames", "part", "mask", "affine", "tokens", "noise", "anatomy")
OF_FRAMES = KEYS[:4]
TRUTH = "truth"  # whether part and affine are known; shards without it know them all
NOT_KNOWN = np.zeros(0, np.float32)


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """One clip with the truth about it."""

    frames_THWC: NDArray[np.uint8]  # straight alpha
    part_THW: NDArray[np.uint8]
    mask_THW: NDArray[np.bool_]
    affine_TK23: NDArray[np.float32]
    captions: tuple[str, ...]  # the same clip in different words
    tokens_VL: NDArray[np.int32]
    anatomy_V: NDArray[np.float32] = field(default_factory=lambda: NOT_KNOWN)
    noise: int = -1  # the clip number its noise was drawn for; -1: none
    source: str = "world"
    scores: Mapping[str, float] | None = None
    truth: bool = True  # whether part and affine are known, or only fill their place


def shard_path(folder: Path, number: int) -> Path:
    """Where shard `number` lies."""
    return folder / f"clips-{number:05d}.safetensors"


def write_shard(path: Path, clips: Iterable[Known], note: Mapping[str, Any]) -> None:
    """Write one shard whole or not at all; the same clips give the same bytes."""
    rows = list(clips)
    arrays: dict[str, NDArray[Any]] = {
        "frames": np.stack([row.frames_THWC for row in rows]),
        "part": np.stack([row.part_THW for row in rows]).astype(np.uint8),
        "mask": np.stack([row.mask_THW for row in rows]).astype(np.uint8),
        "affine": np.stack([row.affine_TK23 for row in rows]).astype(np.float32),
        "tokens": np.stack([row.tokens_VL for row in rows]).astype(np.int32),
        "noise": np.array([row.noise for row in rows], np.int64),
        "anatomy": np.stack([row.anatomy_V for row in rows]).astype(np.float32),
    }
    if not all(row.truth for row in rows):
        arrays[TRUTH] = np.array([row.truth for row in rows], np.uint8)
    about = {
        "captions": json.dumps([row.captions for row in rows]),
        "sources": json.dumps([row.source for row in rows]),
        "scores": json.dumps([dict(row.scores or {}) for row in rows], sort_keys=True),
        "note": json.dumps(dict(note), sort_keys=True),
    }
    write_bytes(path, to_safetensors(arrays, about))


def read_shard(path: Path) -> list[Known]:
    """The clips of a shard, as they were written.

    Raises:
        DamagedError: it is not readable.
    """
    file, count = _opened(path)
    rows = {key: file.get_tensor(key).numpy() for key in KEYS}
    truth = file.get_tensor(TRUTH).numpy() if TRUTH in file.keys() else np.ones(count)
    about = {name: json.loads(file.metadata()[name]) for name in ("captions", "sources", "scores")}
    return [
        Known(
            frames_THWC=rows["frames"][at],
            part_THW=rows["part"][at],
            mask_THW=rows["mask"][at].astype(bool),
            affine_TK23=rows["affine"][at],
            captions=tuple(about["captions"][at]),
            tokens_VL=rows["tokens"][at],
            anatomy_V=rows["anatomy"][at],
            noise=int(rows["noise"][at]),
            source=about["sources"][at],
            scores=about["scores"][at] or None,
            truth=bool(truth[at]),
        )
        for at in range(count)
    ]


def fill(
    folder: Path,
    clips: int,
    make: Callable[[int], Known],
    note: Mapping[str, Any],
    numbers: Iterable[int] | None = None,
) -> Iterator[int]:
    """Make the shards that are missing or too short, yielding the clips there are after each.

    Raises:
        DamagedError: a shard is there and not readable.
    """
    for number in numbers if numbers is not None else range(-(-clips // SHARD)):
        path = shard_path(folder, number)
        first, last = number * SHARD, min((number + 1) * SHARD, clips)
        if _clips_in(path) < last - first:  # none, or fewer than another run asked for
            write_shard(path, (make(index) for index in range(first, last)), note)
        yield last


def _opened(path: Path) -> tuple[Any, int]:
    """An open shard and how many clips are in it: as many in each of its arrays."""
    try:
        file = safe_open(path, "pt")
        keys = [*KEYS, TRUTH] if TRUTH in file.keys() else KEYS
        counts = {key: int(file.get_slice(key).get_shape()[0]) for key in keys}
    except (SafetensorError, OSError, IndexError) as error:
        raise DamagedError(f"{path}: damaged ({error}); remove it and rerun.") from error
    if len(set(counts.values())) > 1:
        raise DamagedError(f"{path}: damaged (clips of each array: {counts}); remove it and rerun.")
    return file, counts["noise"]


def _clips_in(path: Path) -> int:
    return _opened(path)[1] if path.exists() else 0


class ClipStore:
    """The first clips of a folder as one list; rows are read when asked for."""

    def __init__(self, folder: Path, clips: int) -> None:
        self.folder = folder
        self._files: list[Any] = []
        self._rows: list[tuple[int, int]] = []
        self._open(clips)
        if len(self._rows) < clips:
            raise RequestError(f"{folder}: {clips} clips are needed, {len(self._rows)} are here.")

    def _open(self, clips: int) -> None:
        """Open shard after shard until there are enough clips."""
        for path in sorted(self.folder.glob("clips-*.safetensors")):
            if len(self._rows) >= clips:
                return
            file, count = _opened(path)
            rows = [(len(self._files), row) for row in range(count)]
            self._rows += rows[: clips - len(self._rows)]
            self._files.append(file)

    def __len__(self) -> int:
        return len(self._rows)

    def about(self, key: str) -> list[Any]:
        """A list kept beside the arrays: captions, sources or scores of every clip."""
        found: list[Any] = []
        for file in self._files:
            found += json.loads(file.metadata()[key])
        return found[: len(self)]

    def column(self, key: str) -> torch.Tensor:
        """A small array of every clip, such as noise."""
        return torch.cat([file.get_tensor(key) for file in self._files])[: len(self)]

    def batch(self, indices: list[int], wording: torch.Tensor, frames: int | None = None) -> Batch:
        """The clips at these places, each in one of its wordings (drawn in [0, 1)).

        Of each clip the first `frames` are read; None: all.
        """
        columns: dict[str, list[torch.Tensor]] = {key: [] for key in KEYS}
        for index in indices:
            file, row = self._rows[index]
            for key in KEYS:
                rows = self._files[file].get_slice(key)
                some = rows[row : row + 1, :frames] if key in OF_FRAMES else rows[row : row + 1]
                columns[key].append(some)
        joined = {key: torch.cat(rows) for key, rows in columns.items()}
        tokens = joined.pop("tokens")
        chosen = (wording * tokens.shape[1]).long().clamp(max=tokens.shape[1] - 1)
        joined["tokens"] = tokens[torch.arange(len(indices)), chosen]
        return batch_from_arrays(**joined, truth=self._truth(indices))

    def _truth(self, indices: list[int]) -> torch.Tensor | None:
        """Which of these clips have known parts and motions; None: all."""
        known = []
        for index in indices:
            file, row = self._rows[index]
            has = TRUTH in self._files[file].keys()
            known.append(not has or bool(self._files[file].get_slice(TRUTH)[row]))
        return None if all(known) else torch.tensor(known)

    def known(self) -> torch.Tensor:
        """Of which clips parts and motions are known: bool, in order."""
        found = self._truth(list(range(len(self))))
        return torch.ones(len(self), dtype=torch.bool) if found is None else found

    def draw(
        self,
        size: int,
        rng: torch.Generator,
        weights: torch.Tensor | None = None,
        wordings: float = 1.0,
        frames: int | None = None,
    ) -> Batch:
        """A random batch, some clips more often than others; the generator alone decides.

        Of each clip's wordings only the first share `wordings` is drawn from, and of its frames
        the first `frames`.
        """
        if weights is None:
            indices = torch.randint(len(self), (size,), generator=rng)
        else:
            indices = torch.multinomial(weights, size, replacement=True, generator=rng)
        return self.batch(indices.tolist(), torch.rand(size, generator=rng) * wordings, frames)
