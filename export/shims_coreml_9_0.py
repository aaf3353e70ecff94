"""What coremltools 9.0 lacks or misreads in programs of torch 2.13; remove what a newer one can.

Three kinds of cure, in the order of preference: a decomposition of our own where the form matters,
torch's own decomposition of any operator that the converter does not know, and the same where it
knows the operator but would not read a keyword that is set. Without that it would, silently,
convert a program with another meaning.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from types import CodeType
from typing import TYPE_CHECKING, Any

from minuet.contracts.errors import RequestError
from minuet.export.blame import ADVICE, owner

if TYPE_CHECKING:
    from torch import Tensor
    from torch.export import ExportedProgram
    from torch.fx import Node

Decompositions = dict[Any, Callable[..., Any]]

# Keywords that say where and how a tensor lies, which is nothing to a converter.
PLACEMENT = {"device", "generator", "layout", "memory_format", "non_blocking", "pin_memory"}
ROUNDS = 4  # a decomposition may need another one


def register() -> None:
    """Teach the converter three operators; idempotent."""
    from coremltools.converters.mil import Builder
    from coremltools.converters.mil.frontend.torch.ops import _get_inputs, _get_kwinputs
    from coremltools.converters.mil.frontend.torch.torch_op_registry import (
        _TORCH_OPS_REGISTRY,
        register_torch_op,
    )

    if _TORCH_OPS_REGISTRY.get_func("alias"):
        return

    @register_torch_op  # type: ignore[untyped-decorator]
    def alias(context: Any, node: Any) -> None:
        """Only renames."""
        context.add(Builder.identity(x=_get_inputs(context, node)[0], name=node.name))

    plain = _TORCH_OPS_REGISTRY.get_func("view")

    @register_torch_op(  # type: ignore[untyped-decorator]
        torch_alias=["view_copy", "_unsafe_view", "reshape"], override=True
    )
    def view(context: Any, node: Any) -> None:
        """Makes scalars; the converter's own would leave them their axes, which then are wrong."""
        x, shape = _get_inputs(context, node, expected=2)
        if x.rank and 0 in getattr(shape, "shape", ()):
            context.add(Builder.squeeze(x=x, axes=list(range(x.rank)), name=node.name))
        else:
            plain(context, node)

    @register_torch_op(override=True)  # type: ignore[untyped-decorator]
    def gelu(context: Any, node: Any) -> None:
        """Reads `approximate` by name; the converter's own would be exact whatever it says."""
        (said,) = _get_kwinputs(context, node, "approximate", default=[None])
        mode = "TANH_APPROXIMATION" if getattr(said, "val", said) == "tanh" else "EXACT"
        x = _get_inputs(context, node)[0]
        context.add(Builder.gelu(x=x, mode=mode, name=node.name))


def lowered(exported: ExportedProgram) -> ExportedProgram:
    """The program in operators that the converter knows, with no keyword that it would not read.

    Raises:
        RequestError: an operator that neither it nor torch's decompositions know, named.
    """
    import torch

    known = torch.export.default_decompositions()
    table = decompositions()
    for _ in range(ROUNDS):
        more = {node.target for node in misread(exported)} - table.keys()
        table |= {target: known[target] for target in more if target in known}
        exported = exported.run_decompositions(table)
        if not any(node.target in known and node.target not in table for node in misread(exported)):
            break
    for node in misread(exported):
        raise RequestError(_why(node))
    return exported


def misread(exported: ExportedProgram) -> Iterator[Node]:
    """Calls that the converter does not know or would not read in full."""
    for node in exported.graph.nodes:
        if node.op == "call_function" and hasattr(node.target, "_schema"):
            handler = _handler(node.target)
            if handler is None or (unread(node) and not reads_keywords(handler.__code__)):
                yield node


def reads_keywords(code: CodeType) -> bool:
    """Whether a function of the converter, or one inside it, asks for keywords."""
    inner = (one for one in code.co_consts if isinstance(one, CodeType))
    return any("kwinputs" in name for name in (*code.co_names, *code.co_freevars)) or any(
        map(reads_keywords, inner)
    )


def unread(node: Node) -> dict[str, Any]:
    """A call's keywords that change its meaning."""
    values = [one.meta.get("val") for one in (node, *node.all_input_nodes)]
    types = {getattr(value, "dtype", None) for value in values if hasattr(value, "dtype")}
    defaults = {one.name: one.default_value for one in node.target._schema.arguments}  # type: ignore[union-attr]
    plain = PLACEMENT | ({"dtype"} if len(types) == 1 and node.all_input_nodes else set())
    return {
        name: value
        for name, value in node.kwargs.items()
        if name not in plain and value != defaults.get(name)
    }


def _handler(op: Any) -> Any:
    """The converter's function for an operator, looked up as the converter does."""
    from coremltools.converters.mil.frontend.torch.torch_op_registry import _TORCH_OPS_REGISTRY

    name = op._schema.name.removeprefix("aten::")
    return _TORCH_OPS_REGISTRY.get_func(f"{name}.{op._overloadname}".removesuffix(".default"))


def _why(node: Node) -> str:
    what = f"the operator {node.target} of {owner(node)}"
    if _handler(node.target) is None:
        return f"coremltools does not know {what}, and torch has no decomposition. {ADVICE}"
    return f"coremltools would ignore {unread(node)} of {what}. {ADVICE}"


def decompositions() -> Decompositions:
    """Operators whose form matters: see each function for the reason."""
    import torch

    aten = torch.ops.aten
    return {
        aten.group_norm.default: group_norm,
        aten.logsumexp.default: logsumexp,
        aten.mish.default: mish,
        aten.native_group_norm.default: native_group_norm,
        aten.rms_norm.default: rms_norm,
        aten.softplus.default: softplus,
        aten.trunc.default: trunc,
        aten.upsample_nearest3d.vec: upsample_nearest3d_vec,
        aten.upsample_nearest3d.default: upsample_nearest3d,
    }


def group_norm(
    x: Tensor,
    groups: int,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
    cudnn_enabled: bool = True,
) -> Tensor:
    """In 3-D tensors, for Core ML refuses the 6-D reshape that a 5-D one becomes.

    Wu and He 2018 (arXiv 1803.08494), eq. 1 and 2.
    """
    import torch

    flat = x.reshape(x.shape[0], groups, -1)
    centred = flat - flat.mean(-1, keepdim=True)
    scale = torch.rsqrt((centred * centred).mean(-1, keepdim=True) + eps)
    y = (centred * scale).reshape(x.shape[0], x.shape[1], -1)
    if weight is not None:
        y = y * weight.reshape(1, -1, 1)
    if bias is not None:
        y = y + bias.reshape(1, -1, 1)
    return y.reshape(x.shape)


def native_group_norm(
    x: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    N: int,
    C: int,
    HxW: int,
    groups: int,
    eps: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """The operator's three results; the statistics are wanted by training only."""
    mean = x.reshape(N, groups, -1).mean(-1)
    return group_norm(x, groups, weight, bias, eps), mean, mean


def trunc(x: Tensor) -> Tensor:
    """Towards zero."""
    import torch

    return torch.sign(x) * torch.floor(torch.abs(x))


def softplus(x: Tensor, beta: float = 1, threshold: float = 20) -> Tensor:
    """log(1 + e^x) that no exponential overflows.

    On the Neural Engine Core ML's own gives 0 from about 10.4 on (apple/coremltools 2687).
    """
    import torch

    z = x if beta == 1 else x * beta
    y = torch.relu(z) + torch.log(1 + torch.exp(-torch.abs(z)))
    return y if beta == 1 else y / beta


def mish(x: Tensor) -> Tensor:
    """x tanh(softplus(x)); Misra 2019 (arXiv 1908.08681), eq. 1."""
    import torch

    return x * torch.tanh(softplus(x))


def logsumexp(x: Tensor, dim: list[int], keepdim: bool = False) -> Tensor:
    """With the largest taken out first, as coremltools' definition says and the engine does not.

    On the Neural Engine the sum overflows (apple/coremltools 2690).
    """
    import torch

    top = torch.amax(x, dim, keepdim=True)
    found = top + torch.log(torch.exp(x - top).sum(dim, keepdim=True))
    return found if keepdim else found.squeeze(tuple(dim))


def rms_norm(
    x: Tensor, normalized_shape: list[int], weight: Tensor | None = None, eps: float | None = None
) -> Tensor:
    """x / sqrt(mean(x^2) + eps), squared only after division by what is largest.

    The converter wants four arguments where torch writes three. Squares overflow float16 from 256
    on. Zhang and Sennrich 2019 (arXiv 1910.07467), eq. 4.
    """
    import torch

    axes = list(range(-len(normalized_shape), 0))
    small = torch.finfo(x.dtype).eps if eps is None else eps
    largest = x.abs().amax(axes, keepdim=True).clamp(min=1.0)
    y = x / largest
    y = y * torch.rsqrt((y * y).mean(axes, keepdim=True) + small / largest / largest)
    return y if weight is None else y * weight


def upsample_nearest3d_vec(
    x: Tensor, output_size: list[int] | None, scale_factors: list[float] | None
) -> Tensor:
    """Sizes from factors, as torch rounds them."""
    given = scale_factors or []
    sizes = output_size or [int(n * f) for n, f in zip(x.shape[2:], given, strict=True)]
    return upsample_nearest3d(x, sizes)


def upsample_nearest3d(x: Tensor, output_size: list[int], *scales: float | None) -> Tensor:
    """Repeated axis by axis in 4-D tensors: Core ML enlarges two axes and no third."""
    for axis, size in enumerate(output_size, 2):
        x = _repeated(x, axis, size)
    return x


def _repeated(x: Tensor, axis: int, size: int) -> Tensor:
    import torch

    before, n, after = x.shape[:axis], x.shape[axis], x.shape[axis + 1 :]
    if size == n:
        return x
    if size % n:
        return torch.cat([x.narrow(axis, i * n // size, 1) for i in range(size)], axis)
    flat = x.reshape(math.prod(before), n, 1, math.prod(after))
    wide = flat.expand(-1, -1, size // n, -1)
    return wide.reshape(*before, size, *after)
