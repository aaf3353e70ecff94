"""Stored weights: half precision or int8, each within its own bound, and never not finite."""

from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from minuet.contracts.errors import DamagedError, RequestError
from minuet.models.packed import SCALE, SMALLEST, packed, unpacked
from minuet.models.student import Sampler, Student, load_student, save_student
from tests.models.tiny import LEVELS, denoiser


def weights(*shape: int, size: float = 1.0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(2)) * size


def widest(tensor: Tensor) -> Tensor:
    """The greatest magnitude of each first-axis slice, one slice at a time, in float64."""
    found = [float(row.double().abs().max()) for row in tensor]
    return torch.tensor(found, dtype=torch.float64).reshape(-1, *([1] * (tensor.ndim - 1)))


@pytest.mark.parametrize("shape", [(64, 64), (48, 12, 3, 3), (4096, 1)], ids=str)
@pytest.mark.parametrize("size", [1e-4, 1.0, 1e5])
def test_int8_is_off_by_at_most_half_a_step_of_its_row(shape: tuple[int, ...], size: float) -> None:
    given = weights(*shape, size=size)
    step = widest(given) / 127
    back = unpacked(packed({"w": given}, "int8"))["w"]
    error = (back.double() - given.double()).abs()
    assert (error <= step / 2 * (1 + 1e-4)).all()
    if shape[1] > 1:
        assert (error > step / 4).any(), "codes of eight bits are no closer than this"


def test_int8_uses_the_whole_range_and_keeps_the_greatest_of_each_row() -> None:
    given = weights(64, 64)
    given[3] *= 1e-3
    stored = packed({"w": given}, "int8")
    assert stored["w"].dtype == torch.int8 and stored["w" + SCALE].dtype == torch.float32
    assert (stored["w"].int().abs().amax(1) == 127).all()
    assert_close(unpacked(stored)["w"].abs().amax(1), given.abs().amax(1))


def test_a_row_of_zeros_stays_zero() -> None:
    given = weights(64, 64)
    given[5] = 0
    back = unpacked(packed({"w": given}, "int8"))["w"]
    assert not back[5].any() and back.isfinite().all()


def test_what_is_small_or_has_no_rows_stays_half() -> None:
    given = {
        "bias": weights(2 * SMALLEST),
        "small": weights(3, 5),
        "just": weights(SMALLEST // 64, 64),
    }
    stored = packed(given, "int8")
    assert sorted(stored) == ["bias", "just", "just" + SCALE, "small"]
    assert [stored[name].dtype for name in ("bias", "small")] == [torch.float16] * 2
    back = unpacked(stored)
    assert sorted(back) == sorted(given)
    for name in ("bias", "small"):
        assert_close(back[name], given[name].half().float(), atol=0, rtol=0)


def test_half_is_half_for_all() -> None:
    given = {"w": weights(64, 64), "b": weights(64)}
    stored = packed(given, "half")
    assert {tensor.dtype for tensor in stored.values()} == {torch.float16}
    back = unpacked(stored)
    for name, tensor in given.items():
        assert ((back[name] - tensor).abs() <= 2**-11 * tensor.abs() + 2**-25).all()


def test_a_name_that_only_looks_like_scales_is_kept() -> None:
    given = {"norm" + SCALE: weights(4)}
    assert sorted(unpacked(packed(given, "int8"))) == ["norm" + SCALE]


@pytest.mark.parametrize("storage", ["int4", "", "HALF"])
def test_an_unknown_storage_is_refused(storage: str) -> None:
    with pytest.raises(RequestError, match=f"stored as half or int8, not '{storage}'"):
        packed({}, storage)


@pytest.mark.parametrize("storage", ["half", "int8"])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("shape", [(4,), (64, 64)], ids=str)
def test_what_is_not_finite_is_refused_by_name(
    storage: str, value: float, shape: tuple[int, ...]
) -> None:
    given = weights(*shape)
    given[-1] = value
    with pytest.raises(RequestError, match=r"^w: not finite .* nothing was saved"):
        packed({"good": weights(4), "w": given}, storage)


def test_what_half_cannot_hold_fits_in_rows_of_int8() -> None:
    given = {"w": weights(64, 64, size=1e6)}
    with pytest.raises(RequestError, match="w: not finite"):
        packed(given, "half")
    assert packed(given, "int8")["w"].dtype == torch.int8


# --- students --------------------------------------------------------------------------------


def student() -> Student:
    return Student(
        network=denoiser(fine=16, coarse=32, encoder=32, side=64),
        sampler=Sampler(levels=LEVELS),
        tokenizer="{}",
        card="",
    )


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("students")
    for storage in ("half", "int8"):
        save_student(student(), folder / storage, storage)
    return folder


def test_an_int8_student_is_smaller_on_disk(saved: Path) -> None:
    half, int8 = (
        (saved / name / "weights.safetensors").stat().st_size for name in ("half", "int8")
    )
    given = student().network.state_dict().values()
    large = sum(t.numel() for t in given if t.ndim >= 2 and t.numel() >= SMALLEST)
    assert 0.8 * large < half - int8 < large


def test_an_int8_student_is_the_student_within_half_a_step(saved: Path) -> None:
    loaded, given = (
        load_student(saved / "int8").network.state_dict(),
        student().network.state_dict(),
    )
    assert sorted(loaded) == sorted(given)
    for name, tensor in given.items():
        bound = widest(tensor) / 254 if tensor.ndim >= 2 else tensor.abs().max() * 2**-11
        assert ((loaded[name] - tensor).double().abs() <= bound * 1.0001).all(), name


def sticker(side: int) -> Tensor:
    """A striped disc with a soft edge on transparency: white noise would not be a sticker, and a
    hundredth of a pixel of motion would change every value of it."""
    y, x = torch.meshgrid(*[torch.arange(side) / side - 0.5] * 2, indexing="ij")
    alpha = ((0.36 - torch.hypot(x, y)) * 20).clamp(0, 1)
    colour = 0.5 + 0.5 * torch.sin(12 * torch.stack([x + y, x - y, 2 * x]))
    return torch.cat([colour, alpha[None]])[None]


@torch.no_grad()
@pytest.mark.parametrize("seed", range(3))
def test_an_int8_student_animates_almost_the_same(saved: Path, seed: int) -> None:
    first, second = (load_student(saved / name).animator(64) for name in ("half", "int8"))
    _, tokens, noise = first.example(seed)
    a, b = (one(sticker(64), tokens, noise).int() for one in (first, second))
    assert (a != b).any() and (a - b).abs().float().mean() < 2


def test_scales_that_are_lost_are_noticed(saved: Path, tmp_path: Path) -> None:
    import hashlib
    import json
    import shutil

    from safetensors.torch import load, save

    folder = tmp_path / "hurt"
    shutil.copytree(saved / "int8", folder)
    tensors = load((folder / "weights.safetensors").read_bytes())
    lost = next(name for name in tensors if name.endswith(SCALE))
    data = save({name: tensor for name, tensor in tensors.items() if name != lost})
    (folder / "weights.safetensors").write_bytes(data)
    about = json.loads((folder / "model.json").read_text())
    about["weights_sha256"] = hashlib.sha256(data).hexdigest()
    (folder / "model.json").write_text(json.dumps(about))
    with pytest.raises(DamagedError, match=r"model.json and the weights disagree"):
        load_student(folder)
