"""A diffusers pipeline's folder -> the folder of ONNX files that optimum.onnxruntime opens.

Its pipelines take one network a folder, under names of their own for inputs and outputs, and the
configurations, tokenizers and scheduler as diffusers saves them.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from minuet.contracts.errors import RequestError
from minuet.contracts.files import write_folder
from minuet.export.halve import WIDTHS, halve
from minuet.export.onnx_consumers import opset_for
from minuet.export.onnx_graph import graph_from
from minuet.export.onnx_write import LIMIT_BYTES, write_onnx
from minuet.export.optimum_faces import Face, faces_of
from minuet.export.quiet import quiet
from minuet.export.sources.folder import PipelineFolder, read_folder
from minuet.export.sources.pipeline import load_pipeline

if TYPE_CHECKING:
    from torch.export import ExportedProgram

PRECISIONS = ("fp32", *WIDTHS)
CARRIED = ("scheduler", "tokenizer", "tokenizer_2", "tokenizer_3", "feature_extractor")
# The pipelines of diffusers that optimum.onnxruntime 2.1 has a class for, by their networks.
PIPELINES = frozenset(
    {
        "StableDiffusionPipeline",
        "StableDiffusionImg2ImgPipeline",
        "StableDiffusionInpaintPipeline",
        "StableDiffusionXLPipeline",
        "StableDiffusionXLImg2ImgPipeline",
        "StableDiffusionXLInpaintPipeline",
        "LatentConsistencyModelPipeline",
        "LatentConsistencyModelImg2ImgPipeline",
        "StableDiffusion3Pipeline",
        "StableDiffusion3Img2ImgPipeline",
        "StableDiffusion3InpaintPipeline",
        "FluxPipeline",
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """What became of one network."""

    folder: str
    fixed: tuple[str, ...]  # the open axes that the network holds to one length, "sample.2"
    bytes: int


Check = Callable[[Face, Path, "ExportedProgram", Written], None]


class Called(nn.Module):
    """A face as a module that torch.export can take."""

    def __init__(self, face: Face) -> None:
        super().__init__()
        self.module, self.call = face.module, face.call

    def forward(self, *given: Tensor) -> tuple[Tensor, ...]:
        return self.call(*given)


def write_optimum(
    source: Path,
    out: Path,
    precision: str = "fp32",
    *,
    inline_bytes: int = LIMIT_BYTES,
    check: Check | None = None,
) -> tuple[Written, ...]:
    """Write out/<network>/model.onnx and what belongs to it; whole or not at all.

    Batch, sides and number of tokens stay open wherever the network itself leaves them open.

    Args:
        check: is shown each network, once its files lie in their folder, and raises what stops all.

    Raises:
        RequestError: no pipeline, or one that optimum has no class for; an unknown precision; a
            place where something else lies.
        DamagedError: components that are missing or do not belong together.
    """
    if precision not in PRECISIONS:
        raise RequestError(f"optimum's files are {', '.join(PRECISIONS)}, not {precision}.")
    _check_place(source, out)
    found = read_folder(source)
    if found.pipeline not in PIPELINES:
        raise RequestError(
            f"{source}: optimum.onnxruntime has no {found.pipeline}; export it as a bundle instead."
        )
    pipeline = load_pipeline(found)
    with write_folder(out) as staging:
        _carry(found, staging)
        return tuple(
            _write(face, staging, precision, inline_bytes, check) for face in faces_of(pipeline)
        )


def _check_place(source: Path, out: Path) -> None:
    """Refuse to replace anything but what was written here before.

    Raises:
        RequestError: the source itself, or a folder of something else.
    """
    if source.resolve().is_relative_to(out.resolve()):
        raise RequestError(f"{out}: is or holds the source itself; choose another place.")
    if not out.is_dir() or not any(out.iterdir()):
        return
    networks = any(out.glob("*/model.onnx")) and (out / "model_index.json").is_file()
    weights = (path for path in out.rglob("*") if path.suffix in (".safetensors", ".bin"))
    if not networks or any(weights):
        raise RequestError(
            f"{out}: exists and is no folder of --optimum alone; choose another place."
        )


def _write(
    face: Face, out: Path, precision: str, inline_bytes: int, check: Check | None
) -> Written:
    inputs = face.inputs(face.example)
    exported = _captured(face, inputs)
    model = graph_from(exported, list(inputs), face.outputs, opset_for("optimum", precision))
    if precision in WIDTHS:
        halve(model, precision)
    folder = out / face.folder
    write_onnx(model, folder / "model.onnx", inline_bytes=inline_bytes)
    config: Any = face.module
    config.save_config(folder) if hasattr(config, "save_config") else config.config.save_pretrained(
        folder
    )
    written = Written(
        folder=face.folder,
        fixed=tuple(_fixed(face, list(inputs), exported)),
        bytes=sum(path.stat().st_size for path in folder.glob("model.onnx*")),
    )
    if check:
        check(face, folder, exported, written)
    return written


def _captured(face: Face, inputs: dict[str, Tensor]) -> ExportedProgram:
    """Open axes are left open where the network allows it, and become fixed where it does not."""
    auto = torch.export.Dim.AUTO
    shapes = [{axis: auto for axis in face.open_axes.get(name, ())} or None for name in inputs]
    try:
        with quiet(), torch.no_grad():
            return torch.export.export(
                Called(face).eval(),
                tuple(inputs.values()),
                dynamic_shapes=(tuple(shapes),),
                strict=False,
            )
    except Exception as error:
        said = (str(error).strip() or type(error).__name__).splitlines()[0][:300]
        kind = type(face.module).__name__
        raise RequestError(f"torch.export could not capture {kind}: {said}.") from error


def _fixed(face: Face, inputs: Sequence[str], exported: ExportedProgram) -> Iterator[str]:
    names = exported.graph_signature.user_inputs
    values = {node.name: node.meta.get("val") for node in exported.graph.nodes}
    for name, given in zip(inputs, names, strict=True):
        shape = getattr(values.get(str(given)), "shape", ())
        for axis in face.open_axes.get(name, ()):
            if isinstance(shape[axis], int):
                yield f"{name}.{axis}"


def _carry(found: PipelineFolder, out: Path) -> None:
    """What is no network is taken as it is."""
    shutil.copyfile(found.path / "model_index.json", out / "model_index.json")
    for name in CARRIED:
        if (found.path / name).is_dir():
            shutil.copytree(found.path / name, out / name)
