"""Captured program and inputs -> the value of every node, in an arithmetic of one's choice.

The same graph in float64 is the oracle; in float16 it is what the precision itself costs, whoever
runs it. Anything between the two and a backend is that backend's own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx
from torch.export import ExportedProgram
from torch.utils import _pytree as pytree

from minuet.contracts.errors import RequestError
from minuet.contracts.tensors import Array, Arrays

aten = torch.ops.aten
Watch = Callable[[fx.Node, Tensor], None]

# What hardware computes with narrow operands and sums in a wide register.
CONTRACTIONS = frozenset({"conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d"})
CONTRACTIONS |= {"conv_transpose3d", "convolution", "linear", "matmul", "bmm", "mm", "addmm"}
CONTRACTIONS |= {"baddbmm", "einsum", "scaled_dot_product_attention"}
# What takes positions in space or time: what leads there stays wide in every precision, as the
# exporters keep it. Next to 1 a float16 step is an eighth of a pixel of 512; next to 999, a half.
PLACERS = {"grid_sampler": 1, "grid_sampler_2d": 1, "grid_sampler_3d": 1, "sin": 0, "cos": 0}
CHECKS = frozenset({"_assert_tensor_metadata", "_assert_scalar", "_assert_async", "sym_constrain"})
TF32_BITS = 10  # explicit mantissa bits that a tensor core keeps of a float32


def same(x: Tensor) -> Tensor:
    return x


def through(dtype: torch.dtype) -> Callable[[Tensor], Tensor]:
    """Round to a narrower type and come back."""
    return lambda x: x.to(dtype).to(torch.float32)


def tf32(x: Tensor) -> Tensor:
    """Round the mantissa to ten bits, to nearest, ties away from zero."""
    drop = 23 - TF32_BITS
    bits = x.contiguous().view(torch.int32)
    kept = (bits + (1 << (drop - 1))) & ~((1 << drop) - 1)
    return torch.where(x.isfinite(), kept.view(torch.float32), x)


def int8(x: Tensor) -> Tensor:
    """Symmetric, one scale a tensor: max |x| / 127 (Jacob et al. 2018, zero point held at 0)."""
    scale = x.abs().amax().clamp(min=1e-12) / 127
    return (x / scale).round().clamp(-127, 127) * scale


def int8_rows(x: Tensor) -> Tensor:
    """The same with one scale for each output channel, axis 0."""
    scale = x.abs().flatten(1).amax(1).clamp(min=1e-12) / 127
    scale = scale.reshape(-1, *[1] * (x.dim() - 1))
    return (x / scale).round().clamp(-127, 127) * scale


def int16(x: Tensor) -> Tensor:
    """Symmetric, one scale a tensor: max |x| / 32767."""
    scale = x.abs().amax().clamp(min=1e-12) / 32767
    return (x / scale).round().clamp(-32767, 32767) * scale


def fp8(x: Tensor) -> Tensor:
    """float8 e4m3 of x over one scale a tensor: max |x| / 448 (Micikevicius et al. 2022)."""
    scale = x.abs().amax().clamp(min=1e-12) / 448
    return (x / scale).clamp(-448, 448).to(torch.float8_e4m3fn).to(torch.float32) * scale


def fp8_rows(x: Tensor) -> Tensor:
    """The same with one scale for each output channel, axis 0."""
    return torch.stack([fp8(row) for row in x])


def six_bits(x: Tensor) -> Tensor:
    """63 even levels, one scale a tensor: what a palette of six bits betters."""
    scale = x.abs().amax().clamp(min=1e-12) / 31
    return (x / scale).round().clamp(-31, 31) * scale


def int4_groups(x: Tensor) -> Tensor:
    """Symmetric, one scale for 32 input channels at each place of a kernel: max |x| / 7."""
    made = []
    for group in x.split(32, 1):
        scale = group.abs().amax(1, keepdim=True).clamp(min=1e-12) / 7
        made.append((group / scale).round().clamp(-7, 7) * scale)
    return torch.cat(made, 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Arithmetic:
    """How numbers are kept: by every operation, by operands of sums, by weights of sums."""

    base: torch.dtype = torch.float32
    results: Callable[[Tensor], Tensor] = same
    operands: Callable[[Tensor], Tensor] = same
    weights: Callable[[Tensor], Tensor] = same
    only: frozenset[str] = CONTRACTIONS  # the sums that are so; others have the base's operands


ARITHMETIC = {
    "fp64": Arithmetic(base=torch.float64),
    "fp32": Arithmetic(),
    "tf32": Arithmetic(operands=tf32, weights=tf32),
    "fp16": Arithmetic(results=through(torch.float16)),
    "bf16": Arithmetic(results=through(torch.bfloat16)),
    "int8": Arithmetic(operands=int8, weights=int8_rows),
    "w8a16": Arithmetic(operands=int16, weights=int8_rows),
    "fp8": Arithmetic(operands=fp8, weights=fp8_rows),
    "palette": Arithmetic(results=through(torch.float16), weights=six_bits),
    "int8-weights": Arithmetic(results=through(torch.float16), weights=int8_rows),
    "int4-weights": Arithmetic(results=through(torch.float16), weights=int4_groups),
    "int8-dynamic": Arithmetic(operands=int8, weights=int8_rows, only=frozenset({"linear"})),
}


def evaluate(
    program: ExportedProgram,
    inputs: Sequence[Tensor],
    arithmetic: str = "fp64",
    watch: Watch | None = None,
) -> tuple[Tensor, ...]:
    """The program's outputs; `watch` is shown every node's tensor as it comes.

    Raises:
        RequestError: the arithmetic is none of ARITHMETIC's.
    """
    if arithmetic not in ARITHMETIC:
        known = ", ".join(ARITHMETIC)
        raise RequestError(f"arithmetic {arithmetic!r} is not known; choose from {known}.")
    module = program.module(check_guards=False)
    runner = _Runner(module, ARITHMETIC[arithmetic], watch)
    with torch.inference_mode():
        results = runner.run(*inputs)
    return tuple(one for one in pytree.tree_leaves(results) if isinstance(one, Tensor))


def outputs(
    program: ExportedProgram, inputs: Sequence[Tensor], arithmetic: str = "fp64"
) -> list[Array]:
    """The outputs as arrays, in the program's order and, for floats, in float64."""
    return [_array(one) for one in evaluate(program, inputs, arithmetic)]


def values(
    program: ExportedProgram,
    inputs: Sequence[Tensor],
    names: Iterable[str],
    arithmetic: str = "fp64",
) -> Arrays:
    """The named nodes' values."""
    wanted, found = set(names), dict[str, Array]()

    def keep(node: fx.Node, value: Tensor) -> None:
        if node.name in wanted:
            found[node.name] = _array(value)

    evaluate(program, inputs, arithmetic, keep)
    return found


def nodes(program: ExportedProgram) -> list[fx.Node]:
    """The nodes that compute one tensor, in order of execution."""
    calls = (node for node in program.graph.nodes if node.op == "call_function")
    return [node for node in calls if isinstance(node.meta.get("val"), Tensor)]


def place(node: fx.Node) -> str:
    """The path of the nn.Module whose forward made a node, and its class."""
    stack: Mapping[str, tuple[str, Any]] = node.meta.get("nn_module_stack") or {}
    if not stack:
        return ""
    path, kind = list(stack.values())[-1]
    name = kind if isinstance(kind, str) else getattr(kind, "__name__", "")
    return f"{path.removeprefix('L__self__').lstrip('.') or '(root)'} ({name.split('.')[-1]})"


def depth(program: ExportedProgram) -> int:
    """Contractions on the longest path from an input to an output."""
    return max(depths(program).values(), default=0)


def depths(program: ExportedProgram) -> dict[str, int]:
    """Contractions on the longest path from an input to each node."""
    length: dict[str, int] = {}
    for node in program.graph.nodes:
        before = max((length[one.name] for one in node.all_input_nodes), default=0)
        length[node.name] = before + contracts(node)
    return length


def positions(graph: fx.Graph) -> set[str]:
    """Names of the nodes between the network and the positions it samples or encodes."""
    calls = [node for node in graph.nodes if node.op == "call_function"]
    waiting = [node.args[PLACERS[_name(node.target)]] for node in calls if _placer(node)]
    found: set[str] = set()
    while waiting:
        node = waiting.pop()
        if isinstance(node, fx.Node) and node.name not in found and not contracts(node):
            found.add(node.name)
            waiting.extend(node.all_input_nodes)
    return found


def _placer(node: fx.Node) -> bool:
    return _name(node.target) in PLACERS


def contracts(node: fx.Node) -> bool:
    """Whether a node sums products: what noise grows with."""
    return node.op == "call_function" and _name(node.target) in CONTRACTIONS


def _array(value: Tensor) -> Array:
    array: Array = value.double().numpy() if value.is_floating_point() else value.numpy()
    return array


def _name(target: Any) -> str:
    return str(getattr(target, "__name__", target)).split(".")[0]


def _floats(value: Any) -> bool:
    return isinstance(value, Tensor) and value.is_floating_point()


class _Runner(fx.Interpreter):
    """torch's own interpreter with every number put through an arithmetic."""

    def __init__(self, module: fx.GraphModule, arithmetic: Arithmetic, watch: Watch | None):
        super().__init__(module)
        self.arithmetic, self.watch = arithmetic, watch
        self.wide = positions(module.graph)

    def run_node(self, n: fx.Node) -> Any:
        result = super().run_node(n)
        if n.op not in ("placeholder", "get_attr", "call_function"):
            return result
        keep = self._wide if n.name in self.wide else self._kept
        result = pytree.tree_map(keep, result)
        if self.watch and n.op == "call_function" and isinstance(result, Tensor):
            self.watch(n, result)
        return result

    def call_function(self, target: Any, args: Any, kwargs: Any) -> Any:
        name = _name(target)
        if name.startswith(tuple(CHECKS)):
            return None
        if name in self.arithmetic.only:
            args = self._operands(name, args)
        if self.arithmetic.base is not torch.float32:
            args, kwargs = pytree.tree_map(self._widened, (args, kwargs))
        return super().call_function(target, args, kwargs)

    def _operands(self, name: str, args: Any) -> Any:
        """The two factors narrowed; a bias is added in the wide register."""
        first = 1 if name in ("addmm", "baddbmm") else 0
        count = 3 if name == "scaled_dot_product_attention" else 2
        rows = self.arithmetic.weights if name in ("linear", "conv2d") else self.arithmetic.operands
        made = list(args)
        for i in range(first, min(first + count, len(made))):
            if isinstance(made[i], Tensor) and made[i].dtype == torch.float32:
                narrow = rows if i == first + 1 and count == 2 else self.arithmetic.operands
                made[i] = narrow(made[i])
        return tuple(made)

    def _wide(self, value: Any) -> Any:
        return value.to(self.arithmetic.base) if _floats(value) else value

    def _kept(self, value: Any) -> Any:
        return self.arithmetic.results(self._wide(value)) if _floats(value) else value

    def _widened(self, value: Any) -> Any:
        narrow = isinstance(value, torch.dtype) and value.is_floating_point
        return self.arithmetic.base if narrow else value
