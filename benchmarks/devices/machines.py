"""A fingerprint that our own code took on another machine -> a Machine, trusted in no field."""

import json

from minuet.benchmarks.devices.shell import Done
from minuet.contracts.errors import RequestError
from minuet.contracts.records import record
from minuet.contracts.report import Machine

PYTHON = (
    "import dataclasses, json; from minuet.benchmarks.machine import fingerprint; "
    "print(json.dumps(dataclasses.asdict(fingerprint())))"
)


def python_machine(done: Done, where: str, python: str) -> Machine:
    """What PYTHON printed there.

    Raises:
        RequestError: there is no such Python, minuet is not installed in it, or is another one.
    """
    if done.code:
        raise RequestError(
            f"{where}: {python} there cannot import minuet ({done.last_words}); install it there, "
            "or name its Python with python=/path/to/python, or a native runner with ort=/path."
        )
    try:
        found: Machine = record(Machine, json.loads(done.text.strip().rpartition("\n")[2]))
    except (ValueError, RecursionError) as error:
        raise RequestError(
            f"{where}: the minuet there answers in other words ({error}); install this version."
        ) from error
    return found
