"""A diffusers pipeline's folder -> parts: its components, or its whole denoising as one program."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from minuet.contracts.errors import DamagedError
from minuet.export.quiet import quiet
from minuet.export.sources.folder import PipelineFolder
from minuet.export.sources.fused import fused
from minuet.export.sources.part import Part
from minuet.export.sources.record import Request, modules_of, parts_of, recorded
from minuet.export.sources.weights import shapes_in, variant_of

LACKING = (
    "is in none of its weight files; the configuration and the weights do not belong together. "
    "Get a whole copy."
)


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
        files = list((folder.path / name).glob("*.safetensors"))
        found = {variant_of(file.name) for file in files}
        if len(found) == 1 and "" not in found:
            return found.pop()
    return ""


def _check_weights(folder: PipelineFolder, name: str, module: Any) -> None:
    """Refuse weights that no file holds: a library would have drawn them at random, or nothing."""
    files = list((folder.path / name).glob("*.safetensors"))
    held = _renamed(module, {key for file in files for key in shapes_in(file)})
    known: dict[int, list[str]] = {}  # tied weights are one, by several names
    for key, tensor in module.state_dict().items():
        known.setdefault(tensor.data_ptr() or id(tensor), []).append(key)
        if tensor.is_meta:
            raise DamagedError(f"{folder.path / name}: {key} {LACKING}")
    groups = list(known.values())
    lacking = [_lacking(groups, held, *prefix) for prefix in _prefixes(module)]
    if least := min(lacking, key=len, default=[]):
        raise DamagedError(f"{folder.path / name}: {least[0]} {LACKING}")


def _renamed(module: Any, held: set[str]) -> set[str]:
    """The names in files, as diffusers reads those from before it renamed attention's."""
    rename = getattr(module, "_fix_state_dict_keys_on_load", None)
    names = dict.fromkeys(held)
    if rename:
        rename(names)
    return set(names)


def _prefixes(module: Any) -> tuple[tuple[str, str], ...]:
    """What a file may have before every name of a module, or lack: (added, left out).

    Of all prefixes transformers knows one a class; weights below another it draws at random.
    """
    base = f"{getattr(module, 'base_model_prefix', '')}."
    return (("", ""), (base, ""), ("", base))


def _lacking(
    groups: Sequence[Sequence[str]], held: set[str], added: str, left_out: str
) -> list[str]:
    """The weights of which a file has no name."""
    return [
        names[0]
        for names in groups
        if not any(
            name.startswith(left_out) and added + name.removeprefix(left_out) in held
            for name in names
        )
    ]
