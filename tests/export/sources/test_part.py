"""A method that was called becomes a program with named tensors, and proves to be a function."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from minuet.contracts.errors import RequestError
from minuet.export.sources.part import Call, Part, given_to, part_of


class Mixed(nn.Module):
    """Takes what pipelines give: a number, 64 bits, a nested dict, a truth value, nothing."""

    def __init__(self, drift: float = 0.0) -> None:
        super().__init__()
        self.scale, self.drift, self.calls = nn.Parameter(torch.tensor(3.0)), drift, 0

    def forward(
        self,
        sample: Tensor,
        timestep: Any,
        added: dict[str, Any] | None = None,
        shout: bool = False,
        return_dict: bool = False,
    ) -> Any:
        self.calls += 1
        assert timestep.dtype == torch.int64 and timestep.dim() == 0
        mask = added["mask"] if added else torch.ones(1, dtype=torch.bool)
        made = torch.where(mask, sample * self.scale, sample) + timestep + self.drift * self.calls
        made = 2 * made if shout else made
        return {"sample": made} if return_dict else (made,)


def called(module: nn.Module, *given: Any, **more: Any) -> Call:
    with torch.no_grad():
        return Call(given=given_to(module.forward, given, more), made=module(*given, **more))


def example(module: nn.Module, t: int, shout: bool = True) -> Call:
    rng = torch.Generator().manual_seed(t)
    mask = torch.tensor([True, False])
    x = torch.randn(1, 2, generator=rng)
    return called(module, x, torch.tensor(t), added={"mask": mask, "other": None}, shout=shout)


def part(module: nn.Module, *calls: Call) -> Part:
    return part_of("mixed", module, "forward", calls)


def test_tensors_are_inputs_by_name_and_everything_else_is_settled() -> None:
    module = Mixed()
    made = part(module, example(module, 3), example(module, 4))
    assert [(s.name, s.shape, s.dtype) for s in made.signature.inputs] == [
        ("sample", (1, 2), "float32"),
        ("timestep", (1,), "int32"),
        ("mask", (2,), "int32"),
    ]
    assert [spec.name for spec in made.signature.outputs] == ["out_sample"]
    assert made.signature.inputs[0].meaning == "Mixed.forward"


def test_golden_cases_hold_what_the_module_really_gave() -> None:
    module = Mixed()
    calls = [example(module, t) for t in (3, 4)]
    for case, call in zip(part(module, *calls).cases, calls, strict=True):
        np.testing.assert_array_equal(case.outputs["out_sample"], call.made[0].numpy())


def test_the_captured_program_does_the_same() -> None:
    module = Mixed()
    made = part(module, example(module, 3), example(module, 4))
    run = made.program().exported.module()
    for case in made.cases:
        inputs = [torch.from_numpy(case.inputs[spec.name]) for spec in made.signature.inputs]
        np.testing.assert_array_equal(run(*inputs)[0].detach().numpy(), case.outputs["out_sample"])


def test_a_call_that_differs_in_a_constant_is_no_case_of_the_same_program() -> None:
    module = Mixed()
    assert len(part(module, example(module, 3), example(module, 4, shout=False)).cases) == 1


def test_another_generator_does_not_make_another_program() -> None:
    class Decoder(nn.Module):
        def forward(self, z: Tensor, generator: torch.Generator | None = None) -> Tensor:
            return 2 * z

    decoder = Decoder()
    calls = [called(decoder, torch.ones(1), generator=torch.Generator()) for _ in range(2)]
    assert len(part(decoder, *calls).cases) == 2


def test_what_remembers_earlier_calls_is_refused() -> None:
    module = Mixed(drift=1.0)
    with pytest.raises(RequestError, match=r"mixed \(Mixed.forward\): differs by .* remembered"):
        part(module, example(module, 3))


def test_a_decorator_that_hides_the_parameters_is_looked_through() -> None:
    hooks = pytest.importorskip("diffusers.utils.accelerate_utils")

    class Codec(nn.Module):
        @hooks.apply_forward_hook  # type: ignore[untyped-decorator]
        def decode(self, z: Tensor, return_dict: bool = True) -> Any:
            return {"sample": z + 1} if return_dict else (z + 1,)

    codec, z = Codec(), torch.zeros(1, 2)
    call = Call(given=given_to(codec.decode, (z,), {"return_dict": False}), made=(z + 1,))
    made = part_of("decoder", codec, "decode", [call], {"z": "latent_sample"})
    assert [spec.name for spec in made.signature.inputs] == ["latent_sample"]
    assert [spec.name for spec in made.signature.outputs] == ["sample"]
