"""What a search has measured so far <-> a file from which it goes on.

Notes belong to one program and its inputs, which a hash says. What cannot be read, or is of
anything else, is passed over: it only costs the time to measure again.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np

from minuet.contracts.errors import MinuetError, RequestError
from minuet.contracts.files import read_json, write_json
from minuet.contracts.tensors import Arrays

Table = dict[str, dict[str, float]]  # layer -> treatment -> mean square that it adds to the frames


class Notes:
    """Errors that are known, by layer and treatment."""

    def __init__(self, path: Path, arrays: Iterable[Arrays], words: str = "") -> None:
        """Arguments: all that the errors depend on."""
        self.path, self.key = path, _key(arrays, words)
        self.errors = _read(path, self.key)

    def measure(
        self, layer: str, ways: Sequence[str], error: Callable[[str, str], float]
    ) -> dict[str, float]:
        """A layer's error in each way; what is known is not measured again.

        Args:
            error: of a layer, treated in a way.

        Raises:
            RequestError: it is not finite.
        """
        known = self.errors.setdefault(layer, {})
        missing = [way for way in ways if way not in known]
        found = {way: _finite(error(layer, way), layer, way) for way in missing}
        if found:
            known.update(found)
            write_json(self.path, {"key": self.key, "errors": self.errors})
        return {way: known[way] for way in ways}

    def forget(self) -> None:
        """The search is over."""
        self.path.unlink(missing_ok=True)


def _finite(error: float, layer: str, way: str) -> float:
    if not math.isfinite(error):
        raise RequestError(
            f"the program's output is not finite with {layer} as {way}; "
            "the weights or the clips are broken."
        )
    return error


def _read(path: Path, key: str) -> Table:
    try:
        kept = read_json(path) if path.is_file() else {}
    except MinuetError:
        return {}
    if not isinstance(kept, dict) or kept.get("key") != key:
        return {}
    rows = kept.get("errors")
    return cast(Table, rows) if _is_table(rows) else {}


def _is_table(value: Any) -> bool:
    return isinstance(value, dict) and all(
        isinstance(row, dict)
        and all(isinstance(one, int | float) and math.isfinite(one) for one in row.values())
        for row in value.values()
    )


def _key(arrays: Iterable[Arrays], words: str) -> str:
    digest = hashlib.sha256(words.encode())
    for row in arrays:
        for name, value in row.items():
            digest.update(name.encode() + str(value.shape).encode())
            digest.update(np.ascontiguousarray(value).tobytes())
    return digest.hexdigest()
