"""What a calibration has seen so far <-> a notes file from which it goes on.

Notes belong to one program, one method and the clips that they have seen: a chain of hashes says
so, which each clip prolongs. Notes that are damaged, or of anything else, are passed over.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from minuet.contracts.files import write_bytes
from minuet.contracts.tensors import Array, Arrays, to_safetensors
from minuet.quantize.histograms import Histogram, Range

if TYPE_CHECKING:
    from torch.fx import GraphModule

ENDS, COUNTS, POWER = "ends", "counts", "power"
MAX_BYTES = 4 << 30


@dataclass(slots=True, kw_only=True)
class Sofar:
    """The ranges of every clip, and one histogram of all where the method needs it."""

    digest: str  # of the program, the method, and all clips seen
    clips: int = 0
    seen: dict[str, list[Range]] = field(default_factory=lambda: defaultdict(list))
    counted: dict[str, Histogram] = field(default_factory=dict)

    def add(self, key: str, ends: Range, counted: Histogram | None) -> None:
        """What one call saw of a clip."""
        self.seen[key].append(ends)
        if counted:
            known = self.counted.get(key)
            self.counted[key] = known + counted if known else counted

    def finish(self, one: Arrays) -> None:
        """A clip has been seen whole."""
        self.digest, self.clips = _next(self.digest, one), self.clips + 1


def address(graph_module: GraphModule, method: Any) -> str:
    """Where the chain of hashes begins: the program with its weights, and the method."""
    tensors = {name: value.detach().numpy() for name, value in graph_module.state_dict().items()}
    return _next(f"{graph_module.graph}{asdict(method)}", tensors)


def resumed(notes: Path, start: str, inputs: Iterator[Arrays]) -> tuple[Sofar, Iterator[Arrays]]:
    """What the notes know of these inputs, and the inputs that are left."""
    found = read_notes(notes)
    if not found:
        return Sofar(digest=start), inputs
    ahead, digest = list(islice(inputs, found.clips)), start
    for one in ahead:
        digest = _next(digest, one)
    if len(ahead) == found.clips and digest == found.digest:
        return found, inputs
    return Sofar(digest=start), chain(ahead, inputs)


def write_notes(path: Path, sofar: Sofar) -> None:
    """Replace the notes, whole or not at all."""
    tensors: dict[str, Array] = {
        f"{key}/{ENDS}": np.array(rows, np.float64) for key, rows in sorted(sofar.seen.items())
    }
    for key, one in sofar.counted.items():
        tensors[f"{key}/{COUNTS}"] = one.counts_N
        tensors[f"{key}/{POWER}"] = np.array([one.power], np.int64)
    about = {"digest": sofar.digest, "clips": str(sofar.clips)}
    write_bytes(path, to_safetensors(tensors, about | {"sha256": _next(repr(about), tensors)}))


def read_notes(path: Path) -> Sofar | None:
    """The reverse of write_notes; None where there are none, or none that can be trusted."""
    from safetensors import SafetensorError, safe_open

    if not path.is_file() or path.stat().st_size > MAX_BYTES:
        return None
    try:
        with safe_open(path, framework="numpy") as file:
            told = dict(file.metadata() or {})
            tensors = {name: file.get_tensor(name) for name in file.keys()}
        about = {name: told[name] for name in ("digest", "clips")}
        return _sofar(about, tensors) if told["sha256"] == _next(repr(about), tensors) else None
    except (SafetensorError, OSError, ValueError, TypeError, LookupError):
        return None


def _sofar(about: dict[str, str], tensors: Arrays) -> Sofar:
    """Whole notes, as they were before they were written."""
    made = Sofar(digest=about["digest"], clips=int(about["clips"]))
    for name, values in tensors.items():
        key, _, what = name.rpartition("/")
        if what == ENDS:
            made.seen[key] = [(float(low), float(high)) for low, high in values]
        if what == COUNTS:
            ends = tensors[f"{key}/{ENDS}"]
            made.counted[key] = Histogram(
                counts_N=values,
                power=int(tensors[f"{key}/{POWER}"][0]),
                low=float(ends[:, 0].min()),
                high=float(ends[:, 1].max()),
            )
    return made


def _next(before: str, arrays: Arrays) -> str:
    """The hash of a hash and some arrays, whatever their order."""
    digest = hashlib.sha256(before.encode())
    for name, value in sorted(arrays.items()):
        digest.update(f"{name} {value.dtype} {value.shape} ".encode())
        digest.update(np.ascontiguousarray(value).tobytes())
    return digest.hexdigest()
