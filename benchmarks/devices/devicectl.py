"""The JSON that `xcrun devicectl` writes -> which phone is meant, and whether a command succeeded.

Only the JSON file is an interface; what devicectl prints is not. Of it these fields are read:
info.outcome, error.userInfo, and of `list devices` the rows of result.devices.
"""

import json
import re
from collections.abc import Mapping
from typing import Any, cast

from minuet.benchmarks.devices.device import UNKNOWN
from minuet.benchmarks.devices.shell import Done, plain
from minuet.contracts.errors import MissingBackendError, RequestError

Row = Mapping[str, Any]


def chosen(done: Done, wanted: str) -> Row:
    """The phone that is meant, of those that devicectl lists.

    Raises:
        MissingBackendError: none is connected.
        RequestError: several are, or the one that is meant is not.
    """
    listed = (succeeded(done.file) or {}).get("devices")
    rows = [cast(Row, row) for row in cast(list[Any], listed or [])]
    near = [row for row in rows if isinstance(row, Mapping) and reachable(row)]
    if not near:
        raise MissingBackendError(
            "no iPhone or iPad is connected; see `xcrun devicectl list devices`."
        )
    meant = [row for row in near if not wanted or wanted in names_of(row)]
    if len(meant) == 1:
        return meant[0]
    asked = f"{plain(wanted)[:80]} is not connected" if wanted else "more than one is connected"
    have = ", ".join(sorted(text(row, "deviceProperties", "name") for row in near))
    raise RequestError(f"{asked}: name one of {have}.")


def reachable(row: Row) -> bool:
    """Whether a phone of the list is paired and there."""
    state = text(row, "connectionProperties", "tunnelState")
    paired = text(row, "connectionProperties", "pairingState")
    return state in ("connected", "disconnected") and paired == "paired" and bool(identifier(row))


def identifier(row: Row) -> str:
    """The identifier of a phone, as the other commands take it; "" where it is none."""
    found = row.get("identifier")
    return found if isinstance(found, str) and re.fullmatch(r"[0-9A-Fa-f-]{8,64}", found) else ""


def names_of(row: Row) -> tuple[str, ...]:
    """All that a phone may be called by."""
    udid = text(row, "hardwareProperties", "udid")
    return identifier(row), udid, text(row, "deviceProperties", "name")


def text(row: Row, group: str, key: str) -> str:
    """A field of a phone, short and fit for a terminal; "unknown" where it is missing."""
    inner = row.get(group)
    found = cast(Row, inner).get(key) if isinstance(inner, Mapping) else None
    return plain(found)[:80] if isinstance(found, str) else UNKNOWN


def succeeded(data: bytes) -> Row | None:
    """devicectl's result, where its JSON says that it succeeded."""
    answer = _json(data)
    result = answer.get("result")
    info = answer.get("info")
    fine = isinstance(info, Mapping) and cast(Any, info).get("outcome") == "success"
    return cast(Row, result) if fine and isinstance(result, Mapping) else None


def reason(done: Done) -> str:
    """devicectl's own account of a failure."""
    error: Any = _json(done.file).get("error")
    for key in ("userInfo", "NSLocalizedDescription", "string"):
        error = error.get(key) if isinstance(error, Mapping) else None
    return plain(error)[:200] if isinstance(error, str) else done.last_words


def _json(data: bytes) -> Row:
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        return {}
    return cast(Row, found) if isinstance(found, dict) else {}
