"""Judged candidates -> a run's `candidates/` folder, and back, a clip at a time.

clips-00000.safetensors ...   the clips (distill/store.py); source is the teacher
stickers.safetensors          each request's sticker at rest, (N, H, W, 4) uint8
index.json                    what is where; written last, so that it means: all is there
"""

# Shapes: N requests; T frames, H rows, W columns, 4 channels: straight alpha, uint8.

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from minuet.contracts.errors import DamagedError, RequestError
from minuet.contracts.files import make_folder, read_json, write_bytes, write_json

if TYPE_CHECKING:
    from minuet.distill.curate import Verdict
    from minuet.distill.store import Known

SCHEMA = 1
MAX_INDEX_BYTES = 256 << 20  # 300 bytes a clip: five teachers on a hundred thousand stickers
INDEX, STICKERS = "index.json", "stickers.safetensors"


@dataclass(frozen=True, slots=True, kw_only=True)
class Clip:
    """One teacher's answer to one request, without its pixels."""

    clip: str  # names the clip and not its teacher: people see this
    request: int
    teacher: str
    caption: str
    motion: str
    shard: int
    row: int
    merit: float  # the automatic judge's; the more the better
    refused: str  # why the automatic judge would not keep it; "" if it would
    scores: Mapping[str, float]


def write_candidates(folder: Path, verdicts: Sequence["Verdict"], seed: int) -> None:
    """Every judged candidate; the same ones give the same bytes."""
    from safetensors.numpy import save

    from minuet.distill.curate import scored
    from minuet.distill.store import SHARD, shard_path, write_shard
    from minuet.models.compose import unpremultiply

    make_folder(folder)
    clips = []
    for number, first in enumerate(range(0, len(verdicts), SHARD)):
        some = verdicts[first : first + SHARD]
        known = [scored(verdict).clip for verdict in some]
        write_shard(shard_path(folder, number), known, {"seed": seed})
        clips += [_clip(verdict, number, row) for row, verdict in enumerate(some)]
    requests = {verdict.candidate.request.number: verdict.candidate.request for verdict in verdicts}
    rest = [unpremultiply(requests[number].sticker_CHW[None])[0] for number in sorted(requests)]
    pixels = [(image * 255 + 0.5).byte().permute(1, 2, 0).numpy() for image in rest]
    write_bytes(folder / STICKERS, save({"stickers": np.ascontiguousarray(np.stack(pixels))}))
    rows = [asdict(clip) for clip in clips]
    write_json(folder / INDEX, {"schema": SCHEMA, "seed": seed, "clips": rows})


def _clip(verdict: "Verdict", shard: int, row: int) -> Clip:
    candidate = verdict.candidate
    return Clip(
        clip=_name(candidate.request.number, candidate.teacher, candidate.clip.frames_THWC),
        request=candidate.request.number,
        teacher=candidate.teacher,
        caption=candidate.request.caption,
        motion=candidate.request.motion,
        shard=shard,
        row=row,
        merit=float(verdict.merit),
        refused=verdict.refused,
        scores={name: float(value) for name, value in verdict.scores.items()},
    )


def _name(request: int, teacher: str, frames_THWC: NDArray[np.uint8]) -> str:
    """A name that says nothing; the teacher is in it, since two may make the same pixels."""
    about = f"{request} {frames_THWC.shape} {teacher}\n".encode()
    return hashlib.sha256(about + np.ascontiguousarray(frames_THWC).tobytes()).hexdigest()[:16]


class Candidates:
    """A run's candidates: what there is at once, pixels when they are asked for."""

    def __init__(self, folder: Path) -> None:
        """Read the index.

        Raises:
            RequestError: there are no candidates.
            DamagedError: the index is not what `write_candidates` writes.
        """
        self.folder = folder
        if not (folder / INDEX).exists():
            raise RequestError(
                f"{folder}: no candidates are here; `minuet distill` leaves them in the folder of "
                "its run when the teachers have animated."
            )
        self.clips = _read_index(folder / INDEX)
        self.by_name = {clip.clip: clip for clip in self.clips}
        self.by_request = {
            number: list(clips)
            for number, clips in groupby(
                sorted(self.clips, key=lambda clip: (clip.request, clip.clip)),
                key=lambda clip: clip.request,
            )
        }

    @cached_property
    def run(self) -> str:
        """What answers to these very candidates are filed under."""
        return hashlib.sha256("\n".join(sorted(self.by_name)).encode()).hexdigest()[:32]

    @property
    def teachers(self) -> list[str]:
        """Their names, in order."""
        return sorted({clip.teacher for clip in self.clips})

    def frames(self, name: str) -> NDArray[np.uint8]:
        """A clip's pixels (T, H, W, 4)."""
        clip = self.by_name[name]
        with self._opened(self._shard(clip.shard)) as file:
            return np.asarray(file.get_slice("frames")[clip.row : clip.row + 1][0], np.uint8)

    def sticker(self, request: int) -> NDArray[np.uint8]:
        """The sticker that a request's clips began from, (H, W, 4)."""
        place = sorted(self.by_request).index(request)
        with self._opened(self.folder / STICKERS) as file:
            return np.asarray(file.get_slice("stickers")[place : place + 1][0], np.uint8)

    def known(self, name: str) -> "Known":
        """A clip with the truth beside it, as a student learns from it."""
        from minuet.distill.store import KEYS, TRUTH, Known

        clip = self.by_name[name]
        at = slice(clip.row, clip.row + 1)
        with self._opened(self._shard(clip.shard)) as file:
            row = {key: np.asarray(file.get_slice(key)[at][0]) for key in KEYS}
            known = set(file.keys())
            truth = TRUTH not in known or bool(file.get_slice(TRUTH)[at][0])
        return Known(
            frames_THWC=row["frames"],
            part_THW=row["part"],
            mask_THW=row["mask"].astype(bool),
            affine_TK23=row["affine"],
            captions=(clip.caption,),
            tokens_VL=row["tokens"],
            anatomy_V=row["anatomy"],
            noise=int(row["noise"]),
            source=clip.teacher,
            scores=clip.scores,
            truth=truth,
        )

    def _shard(self, number: int) -> Path:
        return self.folder / f"clips-{number:05d}.safetensors"

    def _opened(self, path: Path) -> Any:
        from safetensors import SafetensorError, safe_open

        try:
            return safe_open(path, "np")
        except (SafetensorError, OSError) as error:
            raise DamagedError(f"{path}: damaged ({error}); let the teachers animate again.") from (
                error
            )


def _read_index(path: Path) -> tuple[Clip, ...]:
    found = read_json(path, MAX_INDEX_BYTES)
    damaged = DamagedError(f"{path}: not an index of candidates; let the teachers animate again.")
    if not isinstance(found, dict) or not isinstance(found.get("clips"), list):
        raise damaged
    if found.get("schema") != SCHEMA:
        raise DamagedError(
            f"{path}: schema {found.get('schema')!r} and not {SCHEMA}; use the minuet of that run."
        )
    clips = tuple(_checked(row, damaged) for row in found["clips"])
    if not clips or len({clip.clip for clip in clips}) < len(clips):
        raise damaged
    return clips


KINDS: dict[Any, tuple[type, ...]] = {str: (str,), int: (int,), float: (int, float)}


def _checked(row: Any, damaged: DamagedError) -> Clip:
    """A row whose every field is of its kind."""
    names = {field.name for field in fields(Clip)}
    if not isinstance(row, dict) or set(row) != names or not isinstance(row["scores"], dict):
        raise damaged
    for field in fields(Clip):
        if field.name != "scores" and type(row[field.name]) not in KINDS[field.type]:
            raise damaged
    if min(row["shard"], row["row"], row["request"]) < 0 or not row["clip"].isalnum():
        raise damaged
    return Clip(**row)
