"""What coremltools would refuse or misread arrives in a package as torch means it."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from minuet.contracts.errors import RequestError
from minuet.export import shims_coreml_9_0 as shims
from minuet.export.quiet import quiet
from minuet.runtimes.mil.package import load_function
from tests.export.coreml import Said, captured, packed, through_coreml

X = torch.linspace(-4, 4, 128).reshape(1, 4, 4, 8)


def activations(x: Tensor) -> Any:
    return (
        F.gelu(x, approximate="tanh"),
        F.gelu(x),
        F.softplus(8 * x),
        F.softplus(x, beta=2),
        F.mish(8 * x),
        torch.logsumexp(8 * x, 1),
        torch.logsumexp(x, (2, 3), keepdim=True),
        F.rms_norm(x, (8,), torch.ones(8) * 2),
        torch.trunc(x),
    )


def pictures(x: Tensor) -> Any:
    video = x.reshape(1, 2, 2, 4, 8)
    return (
        F.interpolate(video, scale_factor=(2, 2, 2)),
        F.interpolate(video, size=(3, 4, 8)),
        F.interpolate(x, scale_factor=2, mode="bicubic"),  # by torch's own decomposition
        F.grid_sample(
            x, torch.tanh(x[:, :, :, :2]), padding_mode="reflection", align_corners=False
        ),
        F.conv_transpose2d(x, torch.ones(4, 2, 3, 3), None, 2, 1, 1),
        F.group_norm(video, 2),
    )


def scalars(x: Tensor) -> Any:
    one = x.flatten()[:1].view(())  # as a pipeline's timestep comes
    return one[None].expand(2), (one.long()[None].expand(2) * x[0, 0, :, :2]).sum(0), one * x


@pytest.mark.parametrize("function", [activations, pictures, scalars])
def test_a_package_means_what_torch_means(function: Any, tmp_path: Path) -> None:
    for found, expected in through_coreml(tmp_path, function, X):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=2e-5)


def test_no_form_with_a_cliff_is_left_in_a_package(tmp_path: Path) -> None:
    saved = load_function(packed(tmp_path, Said(activations), X, precision="fp16"))
    kinds = {op.kind for op in saved.walk()}
    assert not kinds & {"softplus", "reduce_log_sum_exp"}
    assert "gelu" in kinds  # fused, in both its forms


def test_stable_forms_hold_where_exponentials_do_not() -> None:
    far = torch.tensor([-1e4, -20.0, 0.0, 20.0, 1e4])
    torch.testing.assert_close(shims.softplus(far), F.softplus(far))
    torch.testing.assert_close(shims.logsumexp(far, [0]), torch.logsumexp(far, 0))
    torch.testing.assert_close(shims.mish(far), F.mish(far))


def test_squares_of_large_values_stay_within_half_precision() -> None:
    x = torch.linspace(-3e4, 3e4, 64).reshape(2, 32)
    half = shims.rms_norm(x.half(), [32])
    torch.testing.assert_close(half.float(), F.rms_norm(x, (32,)), rtol=1e-2, atol=1e-2)


@pytest.mark.parametrize("shape", [(2, 8, 3, 5), (1, 8, 2, 3, 4)])
def test_group_norm_without_deep_reshapes_is_group_norm(shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(0)
    x, weight, bias = (
        torch.from_numpy(rng.standard_normal(s).astype(np.float32)) for s in (shape, (8,), (8,))
    )
    expected = F.group_norm(x, 4, weight, bias, 1e-5)
    torch.testing.assert_close(shims.group_norm(x, 4, weight, bias, 1e-5), expected)


def test_an_operator_that_nothing_knows_is_named_with_its_module() -> None:
    program = captured(Said(lambda x: torch.linalg.matrix_exp(x)), torch.eye(3))
    with quiet(), pytest.raises(RequestError, match=r"aten\.linalg_matrix_exp\.default of .*Said"):
        shims.lowered(program.exported)


def test_a_keyword_that_would_be_ignored_is_seen() -> None:
    program = captured(Said(lambda x: torch.zeros_like(x, dtype=torch.int32) + 1), X)
    (node,) = (one for one in program.exported.graph.nodes if "zeros_like" in str(one.target))
    assert shims.unread(node) == {"dtype": torch.int32}
    program = captured(Said(lambda x: torch.zeros_like(x, dtype=torch.float32) + 1), X)
    (node,) = (one for one in program.exported.graph.nodes if "zeros_like" in str(one.target))
    assert not shims.unread(node)
