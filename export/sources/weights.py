"""A component's files of weights -> known to be safetensors, whole, and in their own folder."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from minuet.contracts.errors import DamagedError, RequestError
from minuet.contracts.files import contained, read_json

PICKLED = frozenset({".bin", ".ckpt", ".pt", ".pth", ".pkl", ".pickle", ".msgpack", ".h5"})
OF_TORCH = frozenset({".bin", ".ckpt", ".pt", ".pth"})  # what torch.load reads without objects
MAX_HEADER_BYTES = 100 << 20  # of a safetensors file, as the library itself has it
# model.safetensors.index.json, and of a variant .index.fp16.json or .fp16.index.json.
SHARDS = re.compile(r"\.safetensors\.(.+\.)?index\.(.+\.)?json$")
SHARD = re.compile(r"-\d{5}-of-")
# Tied weights are one tensor, which safetensors would refuse: each gets memory of its own.
CONVERT = (
    "import sys, pathlib, torch, safetensors.torch as s; "
    "folder, files, to = sys.argv[1:]; "
    "s.save_file({k: v.contiguous().clone() for f in sorted(pathlib.Path(folder).glob(files)) "
    "for k, v in torch.load(f, map_location='cpu', weights_only=True).items()}, "
    "pathlib.Path(folder, to), {'format': 'pt'})"
)


def is_shard_index(name: str) -> bool:
    """Whether a file says which shards the weights lie in."""
    return bool(SHARDS.search(name))


def check_weights(root: Path, files: Sequence[str], stem: str) -> None:
    """Look at a component's files of weights, and run nothing of them.

    Args:
        files: the component's, relative to root.
        stem: what its library calls its weights.

    Raises:
        RequestError: pickles, or shards that are no safetensors files.
        DamagedError: shards that are missing or lie elsewhere.
    """
    for file in files:
        if is_shard_index(file):
            _check_shards(root, file)
    pickled = [file for file in files if PurePosixPath(file).suffix in PICKLED]
    if pickled and not any(file.endswith(".safetensors") for file in files):
        first = min(pickled, key=lambda file: (file.count("."), file))  # of no variant
        raise RequestError(
            f"{root / first}: a pickle, which can run code when it is read; refused. "
            + _advice(root / first, stem)
        )


def shapes_in(path: Path) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the tensors in a safetensors file, from its header."""
    with path.open("rb") as stream:
        size = int.from_bytes(stream.read(8), "little")
        if not 2 <= size <= min(MAX_HEADER_BYTES, path.stat().st_size):
            raise DamagedError(f"{path}: not a safetensors file; get a fresh copy.")
        try:
            header = json.loads(stream.read(size))
            del_meta = {name: row for name, row in header.items() if name != "__metadata__"}
            return {name: tuple(row["shape"]) for name, row in del_meta.items()}
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise DamagedError(f"{path}: damaged header ({error}); get a fresh copy.") from error


def variant_of(name: str) -> str:
    """fp16 of model.fp16.safetensors and of its shards, model.fp16-00001-of-00002.safetensors."""
    parts = PurePosixPath(name).name.split(".")
    return parts[1].partition("-")[0] if len(parts) > 2 else ""


def _advice(file: Path, stem: str) -> str:
    if file.suffix not in OF_TORCH:
        return "Get the weights as safetensors, or have their library write them anew."
    middle = f".{variant}" if (variant := variant_of(file.name)) else ""
    given = (str(file.parent), SHARD.sub("-*-of-", file.name), f"{stem}{middle}.safetensors")
    return (
        "Where you trust it, convert it in a sandbox: "
        f"python -c {shlex.quote(CONVERT)} {shlex.join(given)}"
    )


def _check_shards(root: Path, index: str) -> None:
    about: Any = read_json(root / index)
    rows = about.get("weight_map") if isinstance(about, dict) else None
    if not isinstance(rows, dict) or not rows:
        raise DamagedError(f"{root / index}: has no weight_map; get a fresh copy.")
    folder = (root / index).parent
    for shard in sorted({str(row) for row in rows.values()}):
        if not contained(folder, shard).is_file():
            raise DamagedError(f"{folder / shard}: a shard that is missing; get a whole copy.")
        if PurePosixPath(shard).suffix != ".safetensors":
            raise RequestError(
                f"{folder / shard}: a shard that is no safetensors file; refused. Save the model "
                "again with save_pretrained(folder), which writes safetensors."
            )
