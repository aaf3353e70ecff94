"""Structures come apart and together again, and their tensors get names that people would give."""

from collections import namedtuple
from typing import Any

import pytest
import torch
from torch import Tensor

from minuet.export.sources.part import Slot
from minuet.export.sources.tree import leaves, names_of, rebuilt

Pair = namedtuple("Pair", "first second")


def doubled(value: Any) -> Any:
    return rebuilt(value, Tensor, lambda _, x: 2 * x)


@pytest.mark.parametrize(
    ("paths", "names"),
    [
        ([("sample",), ("added", "text_embeds")], ["sample", "text_embeds"]),
        ([("rotary", "0"), ("rotary", "1")], ["rotary_0", "rotary_1"]),
        ([("a", "mask"), ("b", "mask"), ("x",)], ["a_mask", "b_mask", "x"]),
        ([("0",), ("1",)], ["input_0", "input_1"]),
        ([()], ["input"]),
        ([("a-b c",)], ["a_b_c"]),
        ([("x",), ("x",)], ["x_0", "x_1"]),
    ],
)
def test_names_are_the_shortest_that_tell_tensors_apart(
    paths: list[tuple[str, ...]], names: list[str]
) -> None:
    assert names_of(paths, "input") == names


def test_containers_keep_their_kind() -> None:
    one = torch.ones(1)
    made = doubled({"a": [one, None], "b": Pair(one, "word"), "c": (one, 3)})
    assert made == {"a": [2, None], "b": Pair(torch.tensor(2.0), "word"), "c": (2, 3)}
    assert type(made["b"]) is Pair and type(made["c"]) is tuple


def test_a_models_output_comes_back_as_one_with_its_empty_fields() -> None:
    outputs = pytest.importorskip("diffusers.pipelines.stable_diffusion")
    made = doubled(
        outputs.StableDiffusionPipelineOutput(images=torch.ones(1), nsfw_content_detected=None)
    )
    assert made.images == 2 and made.nsfw_content_detected is None


def test_a_distribution_is_its_parameters_even_while_they_are_no_tensor() -> None:
    vae = pytest.importorskip("diffusers.models.autoencoders.vae")
    whole = vae.DiagonalGaussianDistribution(torch.arange(8.0).reshape(1, 2, 2, 2))
    assert [at for at, _ in leaves([whole], Tensor)] == [("0", "parameters")]
    closed = rebuilt([whole], Tensor, lambda _, x: Slot(tuple(x.shape), x.dtype))
    (again,) = rebuilt(closed, Slot, lambda _, slot: torch.ones(slot.shape))
    assert isinstance(again, vae.DiagonalGaussianDistribution) and bool((again.mean == 1).all())
