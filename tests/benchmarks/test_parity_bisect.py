"""The first value that differs is found by either search, whatever lies behind it."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from minuet.benchmarks.parity_bisect import Divergence, first_divergence
from minuet.benchmarks.parity_graph import nodes, values
from minuet.contracts.probe import Tap
from minuet.contracts.tensors import Array, Arrays


class Chain(nn.Module):
    """Layers that hide what went wrong before them: a clamp, a branch, a sum."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(8, 8) for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        side = self.layers[0](x)
        for layer in list(self.layers)[1:]:
            x = torch.tanh(layer(x)).clamp(-0.9, 0.9)
        y: Tensor = x + 0.5 * side
        return y


@pytest.fixture(scope="module")
def program() -> torch.export.ExportedProgram:
    torch.manual_seed(0)
    return torch.export.export(Chain().eval(), (torch.zeros(2, 8),), strict=False)


@dataclass
class Altered:
    """The program itself as a backend, with one node's value changed, and all that follows."""

    program: torch.export.ExportedProgram
    inputs: tuple[Tensor, ...]
    node: str = ""
    change: float = 0.0
    whole: bool = True
    asked: list[int] = field(default_factory=list)

    def taps(self, names: Mapping[str, str]) -> list[Tap]:
        return [Tap(node=node, name=f"v{node}", op="Op") for node in dict.fromkeys(names.values())]

    def values(self, taps: Sequence[Tap]) -> Arrays:
        self.asked.append(len(taps))
        found: dict[str, Array] = {}

        class Run(torch.fx.Interpreter):
            def run_node(run, n: torch.fx.Node) -> object:  # noqa: N805
                result = super().run_node(n)
                if n.name == self.node:
                    result = result + self.change
                if isinstance(result, Tensor):
                    found[n.name] = result.numpy()
                return result

        with torch.inference_mode():
            Run(self.program.module(check_guards=False)).run(*self.inputs)
        return {tap.node: found[tap.node] for tap in taps}


X = (torch.randn(2, 8, generator=torch.Generator().manual_seed(1)),)


@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize("change", [0.05, float("nan")])
def test_every_node_can_be_the_first(
    program: torch.export.ExportedProgram, whole: bool, change: float
) -> None:
    for node in nodes(program):
        probe = Altered(program, X, node.name, change, whole)
        found = first_divergence(program, X, probe)
        assert isinstance(found, Divergence), node.name
        assert (found.node, found.name) == (node.name, f"v{node.name}")


@pytest.mark.parametrize("whole", [True, False])
def test_where_nothing_differs_nothing_is_found(
    program: torch.export.ExportedProgram, whole: bool
) -> None:
    assert first_divergence(program, X, Altered(program, X, whole=whole)) is None


def test_halving_asks_few_questions_about_few_values(
    program: torch.export.ExportedProgram,
) -> None:
    every = len(nodes(program))
    probe = Altered(program, X, "linear_3", 1.0, whole=False)
    first_divergence(program, X, probe)
    assert len(probe.asked) <= np.ceil(np.log2(every)) + 1 and max(probe.asked) <= 3


def test_noise_of_the_arithmetic_is_not_a_divergence(
    program: torch.export.ExportedProgram,
) -> None:
    probe = Altered(program, X, "linear_1", 1e-7)
    assert first_divergence(program, X, probe) is None
    coarse = Altered(program, X, "linear_1", 1e-4)
    assert first_divergence(program, X, coarse, "fp16") is None
    assert first_divergence(program, X, coarse, "fp32") is not None


def test_what_is_found_is_told_in_words_and_in_json(
    program: torch.export.ExportedProgram,
) -> None:
    probe = Altered(program, X, "linear_2", float("nan"))
    found = first_divergence(program, X, probe)
    assert found is not None
    said = str(found)
    low = values(program, X, ["linear_2"])["linear_2"].min()
    for part in ("layers.2 (Linear)", "linear_2", "'vlinear_2'", "not numbers", f"{low:.4g}"):
        assert part in said
    row = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert row["module"] == "layers.2 (Linear)" and row["found_range"] == ["nan", "nan"]


def test_outputs_are_known_by_the_artifacts_names(
    program: torch.export.ExportedProgram,
) -> None:
    class OutputsOnly(Altered):
        def taps(self, names: Mapping[str, str]) -> list[Tap]:
            return [Tap(node=names["y"], name="y", op="Op")]

    last = nodes(program)[-1].name
    found = first_divergence(program, X, OutputsOnly(program, X, last, 1.0), outputs=("y",))
    assert found is not None and found.node == last and found.comparable == 1
