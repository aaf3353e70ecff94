"""The weights that come with the package: student/ and teachers/, as safetensors with cards."""

from pathlib import Path


def folder() -> Path:
    """Where the shipped weights lie, in a checkout and in an installed wheel alike."""
    return Path(__file__).resolve().parent
