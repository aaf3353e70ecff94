"""A diffusers pipeline's folder -> parts: its components, or its whole denoising as one program."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from minuet.contracts.errors import DamagedError
from minuet.export.quiet import quiet
from minuet.export.sources.folder import PipelineFolder, shapes_in
from minuet.export.sources.fused import fused
from minuet.export.sources.part import Part
from minuet.export.sources.record import Request, modules_of, parts_of, recorded


def load_pipeline(folder: PipelineFolder) -> Any:
    """The pipeline in float32, from safetensors and the two libraries' own classes alone.

    Without the network that judges finished pictures: it is no part of what makes them.

    Raises:
        DamagedError: a configuration and its weights disagree.
    """
    import diffusers
    import torch

    library: Any = diffusers  # typed in part
    library.utils.logging.set_verbosity_error()
    variant = _variant(folder)
    without = {"safety_checker": None} if "safety_checker" in folder.components else {}
    try:
        with quiet():
            pipeline = library.DiffusionPipeline.from_pretrained(
                folder.path,
                use_safetensors=True,
                local_files_only=True,
                torch_dtype=torch.float32,
                **without,
                **({"variant": variant} if variant else {}),
            )
    except Exception as error:
        said = (str(error).strip() or type(error).__name__).splitlines()[0][:300]
        raise DamagedError(
            f"{folder.path}: {folder.pipeline} could not be loaded ({said}); its components and "
            "their configurations must belong together."
        ) from error
    pipeline.set_progress_bar_config(disable=True)
    for name, module in modules_of(pipeline).items():
        _check_weights(folder, name, module)
        module.eval().requires_grad_(False)
    return pipeline


def components(
    folder: PipelineFolder, request: Request, wanted: Sequence[str] = ()
) -> tuple[Part, ...]:
    """Each component as the pipeline calls it; networks that were not asked for are let go."""
    pipeline = load_pipeline(folder)
    runs = recorded(pipeline, request, wanted)
    return parts_of(pipeline, runs, wanted)


def whole(folder: PipelineFolder, request: Request) -> tuple[Part, ...]:
    """The whole denoising as one program."""
    return (fused(load_pipeline(folder), request),)


def _variant(folder: PipelineFolder) -> str:
    """fp16 of model.fp16.safetensors, where there is no model.safetensors."""
    for name in folder.components:
        files = [path.name for path in (folder.path / name).glob("*.safetensors")]
        middles = {file.split(".")[1] for file in files if file.count(".") > 1}
        if files and len(middles) == 1 and all(file.count(".") > 1 for file in files):
            return middles.pop().partition("-")[0]
    return ""


def _check_weights(folder: PipelineFolder, name: str, module: Any) -> None:
    """Refuse weights that no file holds: a library would have drawn them at random."""
    files = list((folder.path / name).glob("*.safetensors"))
    held = {key for file in files for key in shapes_in(file)}
    known: dict[int, list[str]] = {}
    for key, tensor in module.state_dict().items():
        known.setdefault(tensor.data_ptr() or id(tensor), []).append(key)
    for names in known.values():
        if not any(_held(key, held) for key in names):
            raise DamagedError(
                f"{folder.path / name}: {names[0]} is in none of its weight files; the "
                "configuration and the weights do not belong together."
            )


def _held(key: str, held: set[str]) -> bool:
    """Whether a file has a tensor, perhaps below another prefix."""
    if key in held:
        return True
    return any(other.endswith(f".{key}") or key.endswith(f".{other}") for other in held)
