"""The weights that come with the package: student/ and teachers/, as safetensors with cards."""

from pathlib import Path

from minuet.contracts.errors import RequestError


def folder() -> Path:
    """Where the shipped weights lie, in a checkout and in an installed wheel alike."""
    return Path(__file__).resolve().parent


def student() -> Path:
    """The shipped student's folder. Raises RequestError where a copy comes without it."""
    found = folder() / "student"
    if not found.is_dir():
        raise RequestError("no student is shipped with this copy; name a student's folder.")
    return found
