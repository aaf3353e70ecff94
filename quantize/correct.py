"""A quantized program's mean errors -> biases that take them back.

Rounding a weight moves a channel's mean, and what saturates moves it too; the bias behind it can
move it back at no cost. Nagel et al. 2019 (arXiv 1906.04721), sec. 4.2, with clips instead of the
statistics of batch norms (their appendix D):

    b' = b + E[y] - E[y_quantized]      over clips and positions, for each output channel

Layers come in the program's order, each behind the corrected ones.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from minuet.contracts.errors import RequestError
from minuet.contracts.tensors import Array, Arrays
from minuet.quantize.apply import Form
from minuet.quantize.calibrate import Ranges
from minuet.quantize.layers import Call, calls
from minuet.quantize.runs import strangers_refused, tensors_of
from minuet.quantize.simulate import Weights, simulated

if TYPE_CHECKING:
    from torch import Tensor
    from torch.fx import GraphModule, Node

# Shapes: O output channels.


@dataclass(frozen=True, slots=True, kw_only=True)
class Corrected:
    """Biases that changed, and layers that have none to change."""

    tensors: dict[str, Array]  # "layer.bias" -> float32 (O,)
    skipped: tuple[str, ...]  # layers without a bias


def corrected(
    graph_module: GraphModule,
    inputs: Iterable[Arrays],
    treatments: Mapping[str, str],
    ranges: Ranges,
    form: Form,
) -> Corrected:
    """The biases under which every treated call keeps its channels' means.

    All clips walk through the program side by side, so their activations are in memory together:
    about 16 clips are enough, and more cost more. A layer that several steps share gets the mean
    of its calls' corrections; one without a bias is skipped, for a program gets no new parameters.

    Args:
        graph_module, treatments, ranges, form: as of simulate.simulated.
        inputs: calibration clips; named arrays in the program's order.

    Raises:
        RequestError: no clips, clips of another size, or outputs that are not finite.
    """
    clips = list(inputs)
    if not clips:
        raise RequestError("there are no clips to correct biases on; give at least one.")
    kept: Weights = {}
    walkers = [simulated(graph_module, treatments, ranges, form, kept) for _ in clips]
    chosen = [call for call in calls(graph_module) if call.key in walkers[0].rounded]
    known = {call.node: call for call in chosen if _bias(call)}
    plain = [simulated(graph_module, {}, {}, form) for _ in clips]
    wanted = {call.key: _mean(call, made) for call, made in _side_by_side(plain, clips, known)}
    moved: dict[str, list[Tensor]] = defaultdict(list)
    for call, made in _side_by_side(walkers, clips, known):
        off_O = wanted[call.key] - _mean(call, made)
        moved[_bias(call)].append(off_O)
        _correct(walkers, call, off_O)
    return Corrected(
        tensors={name: _moved(graph_module, name, offs) for name, offs in sorted(moved.items())},
        skipped=tuple(dict.fromkeys(call.layer for call in chosen if not _bias(call))),
    )


def _side_by_side(
    walkers: Sequence[Any], clips: Sequence[Arrays], watched: Mapping[Node, Call]
) -> Iterator[tuple[Call, list[Tensor]]]:
    """Walk one node at a time, in every walker; stop at each watched call with what it made."""
    import torch

    for walker, one in zip(walkers, clips, strict=True):
        walker.args_iter = iter(walker.graph.process_inputs(*tensors_of(one)))
    for node in walkers[0].graph.nodes:
        for at, walker in enumerate(walkers):
            with torch.no_grad(), strangers_refused(clips[at], at):
                walker.env[node] = walker.run_node(node)
        if node in watched:
            yield watched[node], [walker.env[node] for walker in walkers]
        for walker in walkers:
            for spent in walker.user_to_last_uses.get(node, ()):
                del walker.env[spent]


def _correct(walkers: Sequence[Any], call: Call, off_O: Tensor) -> None:
    """Make a call again, its bias moved."""
    import torch

    bias_O = walkers[0].env[call.node.args[2]]
    with torch.no_grad():
        for walker in walkers:
            walker.biases[call.key] = bias_O + off_O
            walker.env[call.node] = walker.run_node(call.node)


def _mean(call: Call, made: Sequence[Tensor]) -> Tensor:
    """Of each output channel, over clips and positions: float32 (O,) of float64 sums."""
    import torch

    axis = 1 if call.kind == "conv2d" else made[0].ndim - 1
    others = [at for at in range(made[0].ndim) if at != axis]
    mean_O = torch.stack([one.double().mean(others) for one in made]).mean(0)
    if not mean_O.isfinite().all():
        raise RequestError(
            f"the activations at {call.key} are not finite; the weights or the clips are broken."
        )
    return mean_O.float()


def _bias(call: Call) -> str:
    """The name of its bias; "" where it has none of its own."""
    bias = call.node.args[2] if len(call.node.args) > 2 else None
    return str(bias.target) if getattr(bias, "op", "") == "get_attr" else ""  # type: ignore[union-attr]


def _moved(graph_module: GraphModule, name: str, offs: Sequence[Tensor]) -> Array:
    """A bias, by the mean of what its calls need."""
    import torch

    made: Array = (graph_module.get_parameter(name) + torch.stack(list(offs)).mean(0)).numpy()
    return made
