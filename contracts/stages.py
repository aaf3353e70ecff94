"""A program's parts by name -> what each took: the words that an exporter leaves in a file.

An ONNX file bears, under KEY of its metadata, one JSON object: stage -> the names of its
operators and their values, parted by spaces, in order of execution.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

from minuet.contracts.errors import DamagedError
from minuet.contracts.report import Operator

KEY = "minuet.stages"
OTHER = "other"  # what no stage can be named for
MOST_BYTES = 64 << 20  # of the table: a thousand times that of a sticker student

# What runtimes write around the name of an operator that they fused or gave another layout.
AROUND = re.compile(
    r"^(fused )?(InsertedPrecisionFreeCast_)?(node_)?"
    r"|(_nchwc|_token_\d+|/.*|(_[a-e]{3,6}){2}_.*)+$"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class StageTimes:
    """What the stages of a program took in a few runs that were watched."""

    stages_ms: Mapping[str, tuple[float, ...]]  # a value a run, or one mean; OTHER among them
    total_ms: tuple[float, ...]  # of the same runs; the rest passed between operators
    operators: tuple[Operator, ...] = ()  # slowest first; an untimed one takes 0
    untimed: str = ""  # why stages have no times, and operators none or estimates


def pack(stages: Mapping[str, str]) -> str:
    """Operator or value -> stage, as a file bears it."""
    rows: dict[str, list[str]] = {}
    for name, stage in stages.items():
        rows.setdefault(stage, []).append(name)
    return json.dumps({stage: " ".join(names) for stage, names in rows.items()})


def unpack(text: str, where: str) -> dict[str, str]:
    """The reverse of pack.

    Raises:
        DamagedError: it is no such table.
    """
    try:
        rows = json.loads(text) if len(text) <= MOST_BYTES else None
    except (ValueError, RecursionError):
        rows = None
    table = cast(dict[str, object], rows) if isinstance(rows, dict) else {"": None}
    found: dict[str, str] = {}
    for stage, names in table.items():
        if not isinstance(names, str):
            raise DamagedError(f"{where}: its table of stages is damaged; export again.")
        found |= dict.fromkeys(names.split(), stage)
    return found


def stage_of(operator: str, stages: Mapping[str, str]) -> str:
    """The stage of an operator as a runtime calls it; OTHER where none is known."""
    return stages.get(operator) or stages.get(plain(operator), OTHER)


def plain(operator: str) -> str:
    """The name of an operator without what is written around it."""
    return AROUND.sub("", operator)
