"""One Core ML package for several sizes: enumerated shapes, or a function a size on shared weights.

Enumerated shapes need one graph that torch can trace with free sizes. Functions need only that each
size can be traced; their weights are stored once, and a host loads the function it wants (iOS 18).
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from minuet.contracts.errors import RequestError
from minuet.contracts.tensors import Arrays, Signature
from minuet.export.capture import Program
from minuet.export.coreml_convert import convert, make_reproducible, save
from minuet.export.quiet import quiet

if TYPE_CHECKING:
    from torch import nn
    from torch.export import ExportedProgram

SYSTEMS = (16, 17, 18)  # iOS
FUNCTIONS_SINCE = 18
DEFAULT = "main"  # the function that a host gets which names none


def check_systems(ios: int, *, functions: bool) -> None:
    """Refuse a release that is not known, or that knows no functions.

    Raises:
        RequestError: which ones there are, or what else will do.
    """
    if ios not in SYSTEMS:
        known = ", ".join(map(str, SYSTEMS))
        raise RequestError(f"Core ML for iOS {ios} is not known; choose from {known}.")
    if functions and ios < FUNCTIONS_SINCE:
        raise RequestError(
            f"a function a size needs iOS {FUNCTIONS_SINCE}, not {ios}; enumerated shapes do not."
        )


def check_shapes(first: Signature, others: Sequence[Signature], ios: int) -> None:
    """Refuse several inputs of several sizes where a release takes one.

    Raises:
        RequestError: which inputs they are.
    """
    free = [
        spec.name
        for place, spec in enumerate(first.inputs)
        if any(one.inputs[place].shape != spec.shape for one in others)
    ]
    if len(free) > 1 and ios < FUNCTIONS_SINCE:
        raise RequestError(
            f"iOS {ios} takes one input of several sizes, and here are {', '.join(free)}; "
            f"iOS {FUNCTIONS_SINCE} takes more."
        )


def capture_sizes(module: nn.Module, inputs: Arrays, signatures: Sequence[Signature]) -> Program:
    """Trace a module once, free in every size in which its signatures differ.

    Args:
        module: takes the first signature's inputs positionally.
        inputs: an example of the first signature.
        signatures: the default one first; the same names, dtypes and ranks.

    Raises:
        RequestError: torch.export finds that a size cannot be free.
    """
    import torch

    first = signatures[0]
    first.check_inputs(inputs)
    examples = tuple(torch.from_numpy(inputs[spec.name].copy()) for spec in first.inputs)
    free = tuple(_free(signatures, place) for place in range(len(first.inputs)))
    try:
        with quiet(), torch.no_grad():
            exported = torch.export.export(
                module.eval(), examples, dynamic_shapes=_fitted(module, free), strict=False
            )
    except Exception as error:
        raise RequestError(
            f"{type(module).__name__} cannot be traced with free sizes: {str(error)[:300]}. "
            "Give each size a function of its own instead."
        ) from error
    _check_free(exported, free, type(module).__name__)
    return Program(exported=exported, signature=first, inputs=examples)


def _check_free(exported: ExportedProgram, free: tuple[dict[int, Any], ...], name: str) -> None:
    """torch.export fixes what it cannot leave free, without a word."""
    wanted = exported.graph_signature.user_inputs
    nodes = {node.name: node for node in exported.graph.nodes if node.op == "placeholder"}
    for one, axes in zip(wanted, free, strict=True):
        fixed = [axis for axis in axes if str(nodes[one].meta["val"].shape[axis]).isdigit()]
        if fixed:
            raise RequestError(
                f"{name} fixes the size of axis {fixed[0]} of {one}: something in it counts on "
                "that size. Give each size a function of its own instead."
            )


def _free(signatures: Sequence[Signature], place: int) -> dict[int, Any]:
    """The axes of one input that differ between signatures."""
    import torch

    shapes = [one.inputs[place].shape for one in signatures]
    return {
        axis: torch.export.Dim.AUTO(min=min(sizes), max=max(sizes))
        for axis, sizes in enumerate(zip(*shapes, strict=True))
        if len(set(sizes)) > 1
    }


def _fitted(module: nn.Module, free: tuple[dict[int, Any], ...]) -> Any:
    """In the form torch wants: by argument, those of *args together."""
    import inspect

    kinds = [one.kind for one in inspect.signature(module.forward).parameters.values()]
    return (free,) if inspect.Parameter.VAR_POSITIONAL in kinds else free


def save_functions(
    first: Any, others: Mapping[str, Program], path: Path, precision: str, ios: int
) -> None:
    """Write a package with one function a size; equal weights are stored once.

    Args:
        first: coremltools' model of the default function.
        others: function's name -> the same network at another size.

    Raises:
        RequestError: the converter refused one of them.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        parts = {name: Path(folder) / f"{name}.mlpackage" for name in (DEFAULT, *others)}
        save(first, parts[DEFAULT])
        for name, program in others.items():
            save(convert(program, precision, ios)[0], parts[name])
        _join(parts, path)
    make_reproducible(path)


def _join(parts: Mapping[str, Path], path: Path) -> None:
    with quiet():
        from coremltools.models.utils import MultiFunctionDescriptor, save_multifunction

        described = MultiFunctionDescriptor()
        for name, part in parts.items():
            described.add_function(str(part), "main", name)
        described.default_function_name = DEFAULT
        save_multifunction(described, str(path))
