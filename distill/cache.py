"""A teacher's samples -> shards on disk, named by all that made them: asked once, read ever after.

A shard's name is a hash of the teacher's weights, configuration and sampler, of the seed, of the
examples' numbers and of what each was told. So nothing stale is ever read, an interrupted run goes
on where it was, and workers share a folder without a word to one another.
"""

# Shapes: n examples a shard, B a batch of them, then the teacher's own.

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from minuet.contracts.errors import DamagedError, RequestError
from minuet.contracts.files import write_bytes
from minuet.contracts.tensors import canonical
from minuet.distill.path import noise
from minuet.distill.predict import Condition
from minuet.distill.teacher import Teacher

SHARD = 64
X0, TOLD = "x0", "told."
Conditions = Callable[[Sequence[int]], Condition]  # numbers -> what each example is told


@dataclass(frozen=True, slots=True, kw_only=True)
class Taught:
    """A lesson that a teacher gave: its examples, and the noise that each began with."""

    x0: Tensor
    condition: Condition
    noise: Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleCache:
    """One teacher's samples from one seed, in a folder that several may share."""

    folder: Path
    teacher: Teacher
    seed: int
    limit_bytes: int  # of the folder, with all that others keep there

    def fill(
        self, conditions: Conditions, count: int, *, batch: int = 8, rank: int = 0, world: int = 1
    ) -> Iterator[int]:
        """Sample what is missing of the first `count`, yielding the examples behind each shard.

        Each shard is written whole or not at all; worker `rank` of `world` makes every world-th.

        Raises:
            RequestError: the folder would grow over its limit.
            DamagedError: a shard is there and not readable.
        """
        for shard, numbers in list(enumerate(_shards(count)))[rank::world]:
            condition = conditions(numbers)
            path = self._path(shard, numbers, condition)
            if path.exists():
                _opened(path, len(numbers))
            else:
                self._write(path, numbers, condition, batch)
            yield numbers[-1] + 1

    def open(self, conditions: Conditions, count: int) -> "Samples":
        """All of the first `count`, once every worker is done.

        Raises:
            RequestError: a shard is missing.
            DamagedError: one is not readable.
        """
        paths = [
            (self._path(shard, numbers, conditions(numbers)), len(numbers))
            for shard, numbers in enumerate(_shards(count))
        ]
        if missing := [path for path, _ in paths if not path.exists()]:
            raise RequestError(
                f"{missing[0]}: not there yet, nor are {len(missing) - 1} more of {len(paths)} "
                "shards; sample them first."
            )
        return Samples(paths, self.seed)

    def _path(self, shard: int, numbers: Sequence[int], condition: Condition) -> Path:
        told = [_digest(condition[name]) for name in sorted(condition)]
        made_by = [self.teacher.digest, self.seed, list(numbers), sorted(condition), told]
        address = hashlib.sha256(json.dumps(made_by).encode()).hexdigest()[:32]
        return self.folder / f"{shard:05d}-{address}.safetensors"

    def _write(self, path: Path, numbers: Sequence[int], condition: Condition, batch: int) -> None:
        shape = self.teacher.space.shape
        made = []
        for first in range(0, len(numbers), batch):
            starts = [noise(self.seed, number, shape) for number in numbers[first : first + batch]]
            some = {name: rows[first : first + batch] for name, rows in condition.items()}
            made.append(self.teacher.sample(torch.stack(starts), some).float().cpu())
        arrays = {X0: torch.cat(made)} | {TOLD + name: rows for name, rows in condition.items()}
        arrays = {name: rows.cpu().contiguous() for name, rows in arrays.items()}
        about = {
            "numbers": json.dumps(list(numbers)),
            "digests": json.dumps([_row_digest(arrays, row) for row in range(len(numbers))]),
            "teacher": self.teacher.name,
        }
        data = canonical(save(arrays, about))
        self._insist_room(len(data))
        write_bytes(path, data)

    def _insist_room(self, more: int) -> None:
        used = sum(path.stat().st_size for path in self.folder.glob("*") if path.is_file())
        if used + more > self.limit_bytes:
            raise RequestError(
                f"{self.folder}: holds {used >> 20} MiB, and {more >> 20} MiB more would exceed "
                f"the limit of {self.limit_bytes >> 20} MiB. Raise it, ask for fewer examples, or "
                "remove shards that no run needs; what is there is kept."
            )


class Samples:
    """Cached examples as one list; rows are read, and checked, when asked for."""

    def __init__(self, paths: Sequence[tuple[Path, int]], seed: int) -> None:
        self._seed = seed
        self._shards = [_opened(path, count) for path, count in paths]
        self._rows = [
            (shard, row) for shard, (_, count) in enumerate(paths) for row in range(count)
        ]

    def __len__(self) -> int:
        return len(self._rows)

    def batch(self, indices: Sequence[int]) -> Taught:
        """The examples at these places.

        Raises:
            DamagedError: one is not what was written.
        """
        rows = [self._row(index) for index in indices]
        arrays = {name: torch.cat([row[name] for row in rows]) for name in rows[0]}
        shape = tuple(arrays[X0].shape[1:])
        starts = [noise(self._seed, self._number(index), shape) for index in indices]
        told = {n.removeprefix(TOLD): rows for n, rows in arrays.items() if n.startswith(TOLD)}
        return Taught(x0=arrays[X0], condition=told, noise=torch.stack(starts))

    def draw(self, size: int, rng: torch.Generator) -> Taught:
        """A random batch; the generator alone decides."""
        return self.batch(torch.randint(len(self), (size,), generator=rng).tolist())

    def _row(self, index: int) -> dict[str, Tensor]:
        shard, row = self._rows[index]
        opened = self._shards[shard]
        found = {name: opened.file.get_slice(name)[row : row + 1] for name in opened.names}
        if _row_digest(found, 0) != opened.digests[row]:
            raise DamagedError(
                f"{opened.path}: example {row} is damaged; remove the file and sample again."
            )
        return found

    def _number(self, index: int) -> int:
        shard, row = self._rows[index]
        return self._shards[shard].numbers[row]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Opened:
    path: Path
    file: Any
    names: list[str]
    numbers: list[int]
    digests: list[str]


def _opened(path: Path, count: int) -> _Opened:
    """An open shard of so many examples."""
    try:
        file = safe_open(path, "pt")
        about, names = file.metadata() or {}, list(file.keys())
        counts = {name: file.get_slice(name).get_shape()[0] for name in names}
        numbers, digests = json.loads(about["numbers"]), json.loads(about["digests"])
    except (SafetensorError, OSError, IndexError, KeyError, ValueError) as error:
        raise DamagedError(f"{path}: damaged ({error}); remove it and sample again.") from error
    if X0 not in names or {*counts.values(), len(numbers), len(digests)} != {count}:
        raise DamagedError(
            f"{path}: damaged (examples of each array: {counts}); remove it and sample again."
        )
    return _Opened(path=path, file=file, names=names, numbers=numbers, digests=digests)


def _shards(count: int) -> list[list[int]]:
    """The numbers of each shard. The last may be short: a longer run makes it anew, by its name."""
    return [list(range(first, min(first + SHARD, count))) for first in range(0, count, SHARD)]


def _row_digest(arrays: dict[str, Tensor], row: int) -> str:
    whole = "".join(name + _digest(arrays[name][row]) for name in sorted(arrays))
    return hashlib.sha256(whole.encode()).hexdigest()


def _digest(value: Tensor) -> str:
    about = f"{value.dtype} {tuple(value.shape)}".encode()
    flat = value.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
    return hashlib.sha256(about + flat.numpy().tobytes()).hexdigest()
