"""The command line's words on optimum -> the folder that optimum.onnxruntime opens."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from minuet.commands.common import Out
from minuet.contracts.errors import RequestError

MIB = 1 << 20


def for_optimum(
    word: str, out: Path, precisions: Sequence[str], asked: Mapping[str, bool], say: Out
) -> None:
    """Write a pipeline as ONNX files in optimum's layout and under its names.

    Args:
        asked: other options, and whether they were given: none has a meaning here.

    Raises:
        RequestError: no pipeline, an option that says nothing here, or several precisions.
    """
    from minuet.export.optimum_layout import write_optimum

    if lost := [name for name, given in asked.items() if given]:
        raise RequestError(
            f"{', '.join(lost)} says nothing to --optimum, which writes every network of a "
            "pipeline as ONNX with open sizes; leave it out."
        )
    if len(precisions) > 1:
        raise RequestError(f"--optimum writes one precision at a time, not {len(precisions)}.")
    if (Path(word) / "model.json").exists():
        raise RequestError(f"{word}: a student; --optimum is for pipelines. Leave it out.")
    if not Path(word).exists():
        raise RequestError(f"{word}: not there; --optimum takes a diffusers pipeline's folder.")
    with say.progress(f"exporting {word}"):
        written = write_optimum(Path(word), out, *precisions)
    for row in written:
        note = f"; fixed: {', '.join(row.fixed)}" if row.fixed else ""
        say.say(f"{row.folder:<16} {row.bytes / MIB:6.2f} MiB{note}")
    say.finish(
        {"pipeline": str(out), "networks": [row.folder for row in written]},
        f"{out}: {len(written)} networks for optimum.onnxruntime.",
    )
