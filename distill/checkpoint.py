"""What a run knows at a step -> files, whole or not at all, that any number of processes can read.

One process, or copies of it, write one safetensors file. Where each holds a shard of the weights,
each writes its own part, and an index with sizes and hashes makes them the checkpoint at once:

    checkpoint.safetensors    or    checkpoint.json checkpoint-<step>-<part>-of-<parts>.safetensors
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from minuet.contracts.errors import DamagedError
from minuet.contracts.files import contained, read_json, sha256_of, write_bytes, write_json
from minuet.distill.scale import Fleet, local, rows

WHOLE, INDEX = "checkpoint.safetensors", "checkpoint.json"
WRONG = (SafetensorError, OSError, RuntimeError, KeyError, TypeError, ValueError, IndexError)


def write(folder: Path, tensors: Mapping[str, Tensor], about: Mapping[str, str], on: Fleet) -> None:
    """A step's tensors and notes; the checkpoint before it stands until this one is whole."""
    if on.sharded:
        _write_parts(folder, tensors, about, on)
    elif on.rank == 0:
        write_bytes(folder / WHOLE, save(_apart(tensors), dict(about)))
        _remove(folder, keep=(WHOLE,))
    on.wait()


def begun(folder: Path) -> bool:
    """Whether there is a checkpoint to go on from."""
    return (folder / WHOLE).exists() or (folder / INDEX).exists()


def _apart(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Each with memory of its own, as safetensors asks."""
    return {name: value.detach().cpu().clone().contiguous() for name, value in tensors.items()}


def _write_parts(
    folder: Path, tensors: Mapping[str, Tensor], about: Mapping[str, str], on: Fleet
) -> None:
    """This process's part; then the main process's index, of which all parts are told."""
    mine, places = {}, {}
    for name, value in tensors.items():
        if hasattr(value, "to_local"):
            mine[name] = local(value)
            places[name] = [rows(value, on.rank, on.world)[0], *value.shape]
        elif on.rank == 0:
            mine[name] = value
    data = save(_apart(mine), {"places": json.dumps(places)})
    write_bytes(folder / _part(about, on.rank, on.world), data)
    digest = hashlib.sha256(data).digest() + len(data).to_bytes(8, "little")
    all_parts = on.gathered(torch.tensor(list(digest), dtype=torch.uint8))
    if on.rank == 0:
        told = [bytes(row.tolist()) for row in all_parts]
        parts = {
            _part(about, rank, on.world): {
                "sha256": row[:32].hex(),
                "size_bytes": int.from_bytes(row[32:], "little"),
            }
            for rank, row in enumerate(told)
        }
        write_json(folder / INDEX, {"about": dict(about), "parts": parts})
        _remove(folder, keep=(INDEX, *parts))


def _part(about: Mapping[str, str], rank: int, world: int) -> str:
    """The number of parts too: another fleet may save the same step again, file by file."""
    return f"checkpoint-{int(about['step']):09d}-{rank:05d}-of-{world:05d}.safetensors"


def _remove(folder: Path, keep: tuple[str, ...]) -> None:
    """What older checkpoints left."""
    for path in (*folder.glob("checkpoint-*.safetensors"), folder / WHOLE, folder / INDEX):
        if path.name not in keep:
            path.unlink(missing_ok=True)


class Checkpoint:
    """A checkpoint on disk: its notes, and any rows of any of its tensors.

    Raises:
        DamagedError: truncated, changed, or not a checkpoint.
    """

    def __init__(self, folder: Path, on: Fleet) -> None:
        self.path = folder / (INDEX if (folder / INDEX).exists() else WHOLE)
        self._places: dict[str, list[tuple[Any, int, list[int]]]] = {}
        try:
            self.about = self._indexed(folder, on) if self.path.name == INDEX else self._one()
        except DamagedError as error:
            raise self._wrong(error) from error
        except WRONG as error:
            raise self._wrong(error) from error

    def restore(self, put: Callable[["Checkpoint"], None]) -> None:
        """Hand this to whoever puts it back in its place; what fails there is damage here."""
        try:
            put(self)
        except DamagedError:
            raise
        except WRONG as error:
            raise self._wrong(error) from error

    def names(self, prefix: str) -> list[str]:
        """The tensors whose names begin so."""
        return [name for name in self._places if name.startswith(prefix)]

    def into(self, name: str, target: Tensor, on: Fleet) -> None:
        """Fill a tensor, or this process's shard of it, in its own memory layout."""
        whole = self._places[name][0][2]
        if list(target.shape) != whole:
            raise ValueError(f"{name} has the shape {whole}, {list(target.shape)} is needed")
        if hasattr(target, "to_local"):
            first, last = rows(target, on.rank, on.world)
        else:
            first, last = 0, whole[0] if whole else 0
        with torch.no_grad():
            local(target).copy_(self._rows(name, first, last))

    def read(self, name: str) -> Tensor:
        """A whole tensor."""
        whole = self._places[name][0][2]
        return self._rows(name, 0, whole[0] if whole else 0)

    def _rows(self, name: str, first: int, last: int) -> Tensor:
        found: list[Tensor] = []
        for file, start, whole in self._places[name]:
            if not whole:
                return Tensor(file.get_tensor(name))
            part = file.get_slice(name)
            a, b = max(first - start, 0), min(last - start, part.get_shape()[0])
            if a < b or first == last:
                found.append(part[a : max(a, b)])
        made = torch.cat(found)
        if len(made) != last - first:
            raise ValueError(f"of {name} {len(made)} rows are there, {last - first} are needed")
        return made

    def _one(self) -> dict[str, str]:
        file = self._opened(self.path)
        return dict(file.metadata())

    def _indexed(self, folder: Path, on: Fleet) -> dict[str, str]:
        index = read_json(self.path)
        parts = list(index["parts"].items())
        for name, told in parts:
            if contained(folder, name).stat().st_size != told["size_bytes"]:
                raise ValueError(f"{name} is not as long as it was written")
        for name, told in parts[on.rank :: on.world]:
            if sha256_of(contained(folder, name)) != told["sha256"]:
                raise ValueError(f"{name} is not what was written")
        for name, _ in parts:
            self._opened(contained(folder, name))
        return {str(name): str(value) for name, value in index["about"].items()}

    def _opened(self, path: Path) -> Any:
        """A file, its tensors noted with where in the whole they begin."""
        file = safe_open(path, "pt")
        known = json.loads((file.metadata() or {}).get("places", "{}"))
        for name in file.keys():
            shape = list(file.get_slice(name).get_shape())
            start, *whole = known.get(name, [0, *shape])
            self._places.setdefault(name, []).append((file, start, whole))
        return file

    def _wrong(self, error: Exception) -> DamagedError:
        return DamagedError(
            f"{self.path}: cannot go on from it ({error}); remove it to begin again."
        )
