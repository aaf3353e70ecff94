"""A word of the command line -> what it can be written as, before it is read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from minuet.contracts.artifact import FLOATS
from minuet.contracts.errors import RequestError


@dataclass(frozen=True, slots=True, kw_only=True)
class Able:
    """What a source can be."""

    precisions: tuple[str, ...] = FLOATS
    quantized: str = ""  # what its recipe makes of it besides
    targets: tuple[str, ...] = ()  # none: all there are

    def check(self, targets: Sequence[str], precisions: Sequence[str]) -> None:
        """Refuse what it cannot be.

        Raises:
            RequestError: with what it can be.
        """
        if self.targets and (lost := [one for one in targets if one not in self.targets]):
            raise RequestError(
                f"{' and '.join(lost)} cannot be made of an ONNX file: the source model is "
                f"needed; name that, or --to {','.join(self.targets)}."
            )
        unable = [one for one in precisions if one not in (self.quantized, *self.precisions)]
        for word in unable:
            if word not in FLOATS:
                raise RequestError(
                    f"{word} needs a student quantized for it; make one with "
                    f"`minuet quantize --scheme {word}`."
                )
        if unable:
            can = ", ".join(self.precisions)
            raise RequestError(f"this file can be written in {can}, not {', '.join(unable)}.")


def able(word: str) -> Able:
    """A student may be what its recipe makes of it; an ONNX file stays what it is, or is halved."""
    from minuet.quantize.recipe import precision_of

    if is_onnx(word):
        return _as_file(Path(word))
    return Able(quantized=precision_of(Path(word)))


def is_onnx(word: str) -> bool:
    """Whether a word names an ONNX file."""
    return word.endswith(".onnx") and Path(word).is_file()


def _as_file(path: Path) -> Able:
    from minuet.export.onnx_read import read_onnx
    from minuet.export.sources.onnx_file import precision_of

    own = precision_of(read_onnx(path))
    # Not bfloat16: the file keeps its operator set, and that has few operators of it before 22.
    return Able(
        precisions=("fp32", "fp16") if own == "fp32" else (own,), targets=("onnx", "tensorrt")
    )
