"""Additions to a network: untrained they change no bit, merged they change no number."""

import copy
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from minuet.contracts.errors import DamagedError, RequestError
from minuet.distill.adapters import (
    attach,
    delta,
    load_weights,
    merge,
    save_weights,
    stack,
    trained,
)
from minuet.distill.predict import Composed
from tests.distill.squares import squares
from tests.models.tiny import denoiser, shaken


def answer(network: nn.Module) -> Tensor:
    batch = squares(2, side=16)
    torch.manual_seed(0)
    noisy = torch.randn(batch.x0.shape)
    found: Tensor = Composed(network)(noisy, torch.tensor([0.3, 0.9]), batch.condition)  # type: ignore[arg-type]
    return found


def stirred(network: nn.Module) -> None:
    """As if LoRA had been trained."""
    with torch.no_grad():
        for value in trained(network).values():
            value.add_(torch.randn(value.shape, generator=torch.Generator().manual_seed(2)) * 0.1)


def test_attached_and_untrained_is_bit_for_bit_the_network_without() -> None:
    network = denoiser().requires_grad_(False)  # other kernels run where weights are trained
    before = answer(network)
    attach(network, ["*"], rank=2)
    assert torch.equal(answer(network), before)


def test_merged_equals_unmerged_and_has_the_networks_own_names() -> None:
    network = denoiser()
    names, before = list(network.state_dict()), answer(network)
    attach(network, ["*"], rank=2, scale=0.5)
    stirred(network)
    unmerged = answer(network)
    assert (unmerged - before).abs().max() > 1e-3
    merge(network)
    torch.testing.assert_close(answer(network), unmerged, rtol=0, atol=1e-6)
    assert sorted(network.state_dict()) == sorted(names)


def test_the_addition_to_a_convolution_is_the_low_rank_product() -> None:
    conv = nn.Conv2d(3, 5, 3, bias=False)
    plain, images = conv.weight.detach().clone(), torch.randn(2, 3, 6, 6)
    layer = nn.Sequential(conv)
    attach(layer, ["0"], rank=2, scale=2.0)
    stirred(layer)
    up, down = (trained(layer)[f"0.parametrizations.weight.0.{name}"] for name in ("up", "down"))
    by_hand = nn.functional.conv2d(images, 2.0 * (up @ down).reshape(5, 3, 3, 3))
    torch.testing.assert_close(layer(images), nn.functional.conv2d(images, plain) + by_hand)


def test_only_the_addition_is_trained() -> None:
    network = denoiser()
    chosen = attach(network, ["coarse*", "stem"], rank=2)
    assert "stem" in chosen and all(name.startswith(("coarse", "stem")) for name in chosen)
    answer(network).square().mean().backward()
    moved = {name for name, p in network.named_parameters() if p.grad is not None}
    assert moved == set(trained(network)) and len(moved) == 2 * len(chosen)


def test_an_adapted_network_is_copied_whole() -> None:
    network = denoiser()
    attach(network, ["*"], rank=2)
    stirred(network)
    twin = copy.deepcopy(network)
    assert torch.equal(answer(twin), answer(network))
    stirred(twin)
    assert not torch.equal(answer(twin), answer(network))


def test_a_pattern_without_a_match_is_refused() -> None:
    with pytest.raises(RequestError, match="a match among"):
        attach(denoiser(), ["no_such_layer"], rank=2)


def test_deltas_of_disjoint_layers_stack_to_both_networks_at_once() -> None:
    base, one, other = denoiser(), denoiser(), denoiser()
    shaken(one.stem)
    shaken(other.out, 0.1)
    both = denoiser()
    both.stem.load_state_dict(one.stem.state_dict())
    both.out.load_state_dict(other.out.state_dict())
    deltas = [delta(tuned.state_dict(), base.state_dict()) for tuned in (one, other)]
    assert {name.split(".")[0] for name in deltas[0]} == {"stem"}
    stack(base, deltas)
    torch.testing.assert_close(answer(base), answer(both))


def test_what_is_saved_is_the_delta_and_comes_back(tmp_path: Path) -> None:
    base, tuned = denoiser(), denoiser()
    shaken(tuned.stem)
    path = tmp_path / "edit.safetensors"
    save_weights(path, delta(tuned.state_dict(), base.state_dict()))
    assert path.stat().st_size < 0.5 * sum(4 * p.numel() for p in base.parameters())
    stack(base, [load_weights(path)])
    torch.testing.assert_close(answer(base), answer(tuned))


def test_lora_alone_is_saved_and_attached_to_a_fresh_network(tmp_path: Path) -> None:
    network, path = denoiser(), tmp_path / "align.safetensors"
    attach(network, ["*"], rank=2)
    stirred(network)
    save_weights(path, trained(network))
    fresh = denoiser()
    attach(fresh, ["*"], rank=2)
    fresh.load_state_dict(load_weights(path), strict=False)
    assert torch.equal(answer(fresh), answer(network))


def test_a_delta_of_another_architecture_is_refused() -> None:
    with pytest.raises(RequestError, match="another architecture"):
        delta(denoiser(fine=12).state_dict(), denoiser().state_dict())
    with pytest.raises(RequestError, match=r"unknown \['nowhere'\]"):
        stack(denoiser(), [{"nowhere": torch.zeros(1)}])


@pytest.mark.parametrize("content", [b"", b"\x08\x00\x00\x00", b"pickled" * 20])
def test_a_damaged_file_is_one_message(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "edit.safetensors"
    path.write_bytes(content)
    with pytest.raises(DamagedError, match=r"edit\.safetensors"):
        load_weights(path)


def test_weights_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "edit.safetensors"
    save_weights(path, {"a": torch.tensor([1.0, float("nan")])})
    with pytest.raises(DamagedError, match="not finite"):
        load_weights(path)
