"""A run's reports -> one JSON line each, no step twice, however often the run begins again."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any


class Log:
    """A file of JSON lines, each with its step.

    An exactly resumed run makes the reports that it made before it was killed: those are there.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.last = self._mended()

    def _mended(self) -> int:
        """The last step that is told of; half a line, which a kill left, is taken away."""
        if not self.path.exists():
            return 0
        data = self.path.read_bytes()
        if whole := data[: data.rfind(b"\n") + 1]:
            if len(whole) < len(data):
                self.path.write_bytes(whole)
            return int(json.loads(whole.splitlines()[-1])["step"])
        self.path.unlink()
        return 0

    def write(self, row: Mapping[str, Any]) -> bool:
        """Add a line, unless its step has one; whether it was added."""
        if row["step"] <= self.last:
            return False
        with self.path.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(row, sort_keys=True) + "\n")
        self.last = int(row["step"])
        return True
