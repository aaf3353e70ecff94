"""One call from a sticker to bytes; the captured program is the same program."""

import numpy as np
import pytest
import torch
from torch.export import ExportedProgram
from torch.testing import assert_close

from minuet.contracts.errors import RequestError
from minuet.models.animator import Animator
from minuet.models.compose import compose, decided, premultiply, unpremultiply
from tests.models.tiny import LATENT, LEVELS, denoiser, ranks

MAX_RANK = 5  # Core ML and TensorRT refuse more
PIXEL_STEP = 1  # a byte may round the other way


@pytest.fixture(scope="module")
def animator() -> Animator:
    return Animator(denoiser(), LEVELS, 64).eval()


@torch.no_grad()
def test_frame_zero_is_the_image_and_the_others_are_not(animator: Animator) -> None:
    image, tokens, noise = animator.example()
    frames = animator(image, tokens, noise)
    assert frames.dtype == torch.uint8 and frames.shape == (4, 4, 64, 64)
    given = (image[0] * 255).round()
    seen = image[0, 3] >= 1 / 255  # nothing shows what colour the rest has
    assert (frames[0].float() - given)[:, seen].abs().max() <= PIXEL_STEP
    assert (frames[1:].float() - given).abs().mean() > PIXEL_STEP


@torch.no_grad()
def test_it_is_the_euler_sampler_written_out(animator: Animator) -> None:
    image, tokens, noise = animator.example()
    network, sticker = animator.network, premultiply(image)
    small = sticker.reshape(1, 4, 16, 4, 16, 4).mean((3, 5))
    context = network.encode(small, tokens)
    z = noise
    for t, s in ((1.0, 0.7), (0.7, 0.0)):
        fields = network.fields(z, torch.tensor([t]), small, context)
        clean = compose(small, fields, 4)[None] * 2 - 1
        z = z + (s - t) * (z - clean) / t
    composed = compose(sticker, decided(fields), 4)
    expected = (unpremultiply(composed) * 255).round()
    error = (animator(image, tokens, noise).float() - expected).abs()
    seen = (composed[:, 3] >= 1 / 255) & (composed[:, 3] <= 1)  # random paint leaves the range
    assert seen.float().mean() > 0.8
    assert error.amax(1)[seen].max() <= PIXEL_STEP


@pytest.fixture(scope="module")
def program(animator: Animator) -> ExportedProgram:
    with torch.no_grad():
        return torch.export.export(animator, animator.example(), strict=False)


@torch.no_grad()
def test_the_captured_program_equals_eager(animator: Animator, program: ExportedProgram) -> None:
    again = animator.example(seed=1)
    assert_close(program.module()(*again), animator(*again), atol=PIXEL_STEP, rtol=0)


def test_no_tensor_in_the_program_has_more_than_five_axes(program: ExportedProgram) -> None:
    found = ranks(program)
    assert len(found) > 100
    assert not {name: rank for name, rank in found.items() if rank > MAX_RANK}


def test_the_signature_tells_the_truth(animator: Animator) -> None:
    signature = animator.signature()
    image, tokens, noise = (x.numpy() for x in animator.example())
    signature.check_inputs({"image": image, "tokens": tokens, "noise": noise})
    with torch.no_grad():
        frames = animator(*animator.example()).numpy()
    signature.outputs[0].check(frames)
    assert frames.dtype == np.uint8


@pytest.mark.parametrize("side", [65, 0, 1024])
def test_other_sides_are_refused(side: int) -> None:
    with pytest.raises(RequestError, match=f"one of .*, not {side}"):
        Animator(denoiser(), LEVELS, side)


def test_a_latent_network_is_refused() -> None:
    with pytest.raises(RequestError, match="head 'latent'"):
        Animator(denoiser(**LATENT), LEVELS, 64)


@torch.no_grad()
def test_a_program_carries_the_scales_its_network_is_told() -> None:
    network = denoiser(scales=2)
    one, other = (
        Animator(network, LEVELS, 64, scales).eval() for scales in ((1.0, 3.0), (2.0, 3.0))
    )
    given = one.example()
    assert [spec.name for spec in one.signature().inputs] == ["image", "tokens", "noise"]
    assert not torch.equal(one(*given), other(*given))
    program = torch.export.export(one, given, strict=False)
    again = one.example(seed=1)
    assert_close(program.module()(*again), one(*again), atol=PIXEL_STEP, rtol=0)


@pytest.mark.parametrize(("told", "scales"), [(0, (1.5,)), (1, ()), (1, (1.5, 2.0)), (1, (0.0,))])
def test_other_scales_than_the_network_is_told_are_refused(
    told: int, scales: tuple[float, ...]
) -> None:
    with pytest.raises(RequestError, match=f"told {told} guidance scales"):
        Animator(denoiser(scales=told), LEVELS, 64, scales)
