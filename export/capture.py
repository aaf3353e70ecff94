"""Module and example inputs -> program: what every exporter and quantizer speaks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from minuet.contracts.errors import RequestError
from minuet.contracts.tensors import Arrays, Signature
from minuet.export.quiet import quiet

if TYPE_CHECKING:
    from torch import Tensor, nn
    from torch.export import ExportedProgram


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """A captured graph with named inputs and outputs; shapes are static."""

    exported: ExportedProgram
    signature: Signature
    inputs: tuple[Tensor, ...]  # examples, in the signature's order


def capture(module: nn.Module, inputs: Arrays, signature: Signature) -> Program:
    """Trace a module once into a graph of core operators.

    Args:
        module: takes the signature's inputs positionally; is put into eval mode.
        inputs: one example of every input, by name.
        signature: names, shapes and dtypes; the traced graph is checked against it.

    Raises:
        RequestError: the example does not fit the signature, the module gives something else
            than the signature says, or torch.export cannot trace it.
    """
    import torch

    signature.check_inputs(inputs)
    examples = tuple(torch.from_numpy(inputs[spec.name].copy()) for spec in signature.inputs)
    try:
        with quiet(), torch.no_grad():
            # strict=False: same graphs, 1.5 to 3.5 times faster to trace.
            exported = torch.export.export(module.eval(), examples, strict=False)
    except Exception as error:
        raise RequestError(
            f"torch.export could not capture {type(module).__name__}: {_first_line(error)}"
            f"{_place(error)}. Keep shapes static and control flow out of forward."
        ) from error
    _check_outputs(exported, signature)
    return Program(exported=exported, signature=signature, inputs=examples)


def _check_outputs(exported: ExportedProgram, signature: Signature) -> None:
    nodes = next(node for node in exported.graph.nodes if node.op == "output").args[0]
    found = [(tuple(n.meta["val"].shape), str(n.meta["val"].dtype)[6:]) for n in nodes]
    wanted = [(spec.shape, spec.dtype) for spec in signature.outputs]
    if found != wanted:
        raise RequestError(f"the program gives {found}, its signature says {wanted}.")


def _place(error: BaseException) -> str:
    """The innermost module that was running, and where."""
    from torch import nn

    told, trace = "", error.__traceback__
    while trace:
        owner = trace.tb_frame.f_locals.get("self")
        if isinstance(owner, nn.Module) and not type(owner).__module__.startswith("torch."):
            file = trace.tb_frame.f_code.co_filename.rpartition("/")[2]
            told = f" (in {type(owner).__name__}, {file}:{trace.tb_lineno})"
        trace = trace.tb_next
    return told


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:300]
