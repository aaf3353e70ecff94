"""A captured graph is evaluated in every arithmetic as its numbers say, against plain torch."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from minuet.benchmarks.parity_graph import (
    depth,
    evaluate,
    int8,
    int8_rows,
    nodes,
    outputs,
    place,
    tf32,
    values,
)
from minuet.contracts.errors import RequestError


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(8, 8), nn.Linear(8, 8)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.b(F.silu(self.a(x.to(torch.float32)) + torch.arange(8.0)))
        return y


class Placed(nn.Module):
    """A place in a picture, and a phase: both large."""

    def forward(self, t: Tensor) -> Tensor:
        return torch.sin(t * 1.0) * 1.0


@pytest.fixture(scope="module")
def net() -> Net:
    torch.manual_seed(0)
    return Net().eval()


@pytest.fixture(scope="module")
def program(net: Net) -> torch.export.ExportedProgram:
    return torch.export.export(net, (torch.zeros(2, 8),), strict=False)


@pytest.fixture
def x() -> Tensor:
    return torch.randn(2, 8, generator=torch.Generator().manual_seed(1))


def test_float64_is_the_module_in_float64(
    net: Net, program: torch.export.ExportedProgram, x: Tensor
) -> None:
    """Written out: the module's own cast to float32 would undo it."""
    a, b = (nn.Linear(8, 8).double() for _ in range(2))
    a.load_state_dict(net.a.state_dict())
    b.load_state_dict(net.b.state_dict())
    with torch.inference_mode():
        expected = b(F.silu(a(x.double()) + torch.arange(8.0, dtype=torch.float64)))
    (found,) = evaluate(program, (x,), "fp64")
    assert found.dtype == torch.float64
    torch.testing.assert_close(found, expected, rtol=1e-14, atol=1e-14)


def test_float32_is_the_module(net: Net, program: torch.export.ExportedProgram, x: Tensor) -> None:
    with torch.inference_mode():
        assert torch.equal(evaluate(program, (x,), "fp32")[0], net(x))


@pytest.mark.parametrize(("name", "dtype"), [("fp16", torch.float16), ("bf16", torch.bfloat16)])
def test_every_narrow_result_is_a_narrow_number(
    program: torch.export.ExportedProgram, x: Tensor, name: str, dtype: torch.dtype
) -> None:
    seen: list[Tensor] = []
    evaluate(program, (x,), name, lambda node, value: seen.append(value))
    assert len(seen) > 4
    assert all(torch.equal(value, value.to(dtype).float()) for value in seen)


def test_more_than_float16_holds_is_infinite(program: torch.export.ExportedProgram) -> None:
    (found,) = evaluate(program, (torch.full((2, 8), 3e5),), "fp16")
    assert not found.isfinite().all()
    assert evaluate(program, (torch.full((2, 8), 3e5),), "bf16")[0].isfinite().all()


def test_tf32_keeps_ten_bits_and_rounds_to_nearest() -> None:
    step = 2.0**-10
    x = torch.tensor([1 + 0.4 * step, 1 + 0.6 * step, -1 - 0.6 * step, float("inf"), 0.0])
    assert tf32(x).tolist() == [1.0, 1 + step, -1 - step, float("inf"), 0.0]


def test_int8_has_255_steps_over_the_range() -> None:
    x = torch.linspace(-3, 3, 1001)
    found = int8(x)
    assert len(found.unique()) == 255 and (x - found).abs().max() <= 3 / 127 / 2 + 1e-6
    rows = torch.stack([x, 100 * x])
    torch.testing.assert_close(int8_rows(rows), torch.stack([found, 100 * found]))


def test_places_and_phases_stay_wide_in_every_precision() -> None:
    program = torch.export.export(Placed(), (torch.zeros(1),), strict=False)
    t = torch.tensor([998.7])  # float16 has steps of a half there
    wide = outputs(program, (t,))[0]
    assert abs(outputs(program, (t,), "fp16")[0] - wide).max() < 1e-3


def test_an_unknown_arithmetic_is_refused(program: torch.export.ExportedProgram, x: Tensor) -> None:
    with pytest.raises(RequestError, match="fp7"):
        evaluate(program, (x,), "fp7")


def test_named_values_are_those_nodes(
    net: Net, program: torch.export.ExportedProgram, x: Tensor
) -> None:
    names = [node.name for node in nodes(program)]
    found = values(program, (x,), names, "fp32")
    assert set(found) == set(names)
    with torch.inference_mode():
        torch.testing.assert_close(torch.from_numpy(found["linear"]).float(), net.a(x))


def test_a_node_knows_its_layer_and_a_program_its_depth(
    program: torch.export.ExportedProgram,
) -> None:
    linear = next(node for node in nodes(program) if node.name == "linear_1")
    assert place(linear) == "b (Linear)"
    assert depth(program) == 2
