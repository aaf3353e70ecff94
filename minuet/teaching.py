"""A folder of weights -> a teacher, safely: safetensors and the libraries' own classes alone."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from minuet.distill.pipelines import USUAL, WHITE, PipelineTeacher, utf8
from minuet.export.sources.folder import read_folder
from minuet.export.sources.pipeline import load_pipeline


def pipeline_teacher(
    name: str,
    folder: Path,
    arguments: Mapping[str, Any],
    *,
    told: Mapping[str, str] = USUAL,
    scales: Sequence[str] = ("guidance_scale",),
    size: tuple[int, int] | None = None,
    spell: Callable[[Sequence[int]], str] = utf8,
    backdrop: tuple[float, float, float] = WHITE,
    device: str = "cpu",
    dtype: str = "float32",
) -> PipelineTeacher:
    """A diffusers pipeline's folder as a teacher; see PipelineTeacher for what it is told.

    Raises:
        RequestError: pickles, code that came with the weights, or a pipeline that cannot be asked.
        DamagedError: files that are missing or do not belong together.
    """
    import torch

    read = read_folder(folder)
    pipeline = load_pipeline(read).to(device, getattr(torch, dtype))
    return PipelineTeacher(
        name,
        pipeline,
        arguments,
        weights=read.sha256,
        told=told,
        scales=scales,
        size=size,
        spell=spell,
        backdrop=backdrop,
    )
