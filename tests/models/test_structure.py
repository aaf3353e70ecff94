"""Networks of another shape: what remains is what was, and hostile shapes are refused."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch.testing import assert_close

from minuet.contracts.errors import DamagedError, RequestError
from minuet.distill.predict import Composed
from minuet.models.compose import Fields
from minuet.models.config import DenoiserConfig
from minuet.models.denoiser import Denoiser, rebuilt
from minuet.models.layers import ResBlock, narrow_
from minuet.models.structure import Removed, narrowable, removable, strongest, temporal
from minuet.models.student import Sampler, Student, load_student, save_student
from tests.models.test_denoiser import inputs
from tests.models.tiny import LATENT, LEVELS, TINY, denoiser

CUT = replace(
    TINY,
    widths={"fine_in": 4, "caption.mlps.0": 12, "sticker.coarse.1": 5},
    removed=("coarse_out.0", "look.time", "fine_out.temporal"),
    halved=True,
    frames=2,
    gap=2,
)


def fields_of(network: Denoiser) -> Fields:
    noisy, sticker, tokens = inputs()
    noisy = noisy[:, : network.config.frames]
    context = network.encode(sticker, tokens)
    return network.shown(noisy, torch.tensor([0.9, 0.2]), sticker, context)


def assert_same(a: Fields, b: Fields, atol: float = 0.0) -> None:
    for name in ("affine_NK6", "parts_NKHW", "dense_N2HW", "gate_N1HW", "paint_NCHW"):
        assert_close(getattr(a, name), getattr(b, name), rtol=0, atol=atol)


def test_every_residual_block_is_found_by_its_name() -> None:
    network = denoiser()
    assert {"fine_in", "coarse_in.0", "look.space", "look.time", "sticker.look"} <= set(
        removable(network)
    )
    assert "fine_out" not in removable(network)  # its input is wider than its output
    assert {"fine_out", "finder.body.0", "caption.mlps.0"} <= set(narrowable(network))
    assert set(temporal(network)) == {
        *("fine_in.temporal", "coarse_in.0.temporal", "coarse_out.0.temporal"),
        *("fine_out.temporal", "look.time"),
    }


@torch.no_grad()
def test_a_network_rebuilt_in_its_own_shape_is_itself() -> None:
    network = denoiser()
    assert_same(fields_of(rebuilt(network, TINY)), fields_of(network))


def test_what_remains_has_the_weights_it_had() -> None:
    network = denoiser()
    kept = {"fine_in": torch.tensor([1, 2, 5, 7])}
    small = rebuilt(network, CUT, kept)
    assert_close(small.fine_in.conv_in.weight, network.fine_in.conv_in.weight[kept["fine_in"]])
    assert_close(small.fine_in.conv_out.weight, network.fine_in.conv_out.weight[:, kept["fine_in"]])
    assert small.fine_in.film is not None and network.fine_in.film is not None
    both = [1, 2, 5, 7, 9, 10, 13, 15]  # scales, then shifts
    assert_close(small.fine_in.film.weight, network.fine_in.film.weight[both])
    assert_close(small.frame, network.frame[::2])
    assert isinstance(small.look.time, Removed) and isinstance(small.coarse_out[0], Removed)
    name = "sticker.coarse.1"
    chosen = strongest(narrowable(network)[name], 5)
    weight = small.get_parameter(f"{name}.conv_in.weight")
    assert_close(weight, network.get_parameter(f"{name}.conv_in.weight")[chosen])


@torch.no_grad()
def test_channels_that_do_nothing_are_removed_without_a_trace() -> None:
    """Of a feed-forward layer exactly: nothing normalises its inner channels."""
    network = denoiser()
    _, last = narrowable(network)["caption.mlps.0"].ends
    gone = torch.arange(0, 32, 2)
    last.weight[:, gone] = 0
    small = rebuilt(network, replace(TINY, widths={"caption.mlps.0": 16}), {})
    chosen = {"caption.mlps.0": torch.arange(1, 32, 2)}
    exact = rebuilt(network, replace(TINY, widths={"caption.mlps.0": 16}), chosen)
    assert_same(fields_of(exact), fields_of(network), atol=1e-5)
    assert (fields_of(small).paint_NCHW - fields_of(network).paint_NCHW).abs().max() > 1e-5


def test_a_row_of_channels_holds_what_feeds_it_and_what_hears_it() -> None:
    block = ResBlock(6, 8, film=5)
    assert block.channels().shape == (8, 6 * 9 + 1 + 8 * 9)
    before = block.channels()[[2, 3]]
    block.narrow(torch.tensor([2, 3]))
    assert_close(block.channels(), before)
    assert block(torch.randn(1, 6, 4, 4), torch.randn(1, 5)).shape == (1, 8, 4, 4)


def test_a_layer_loses_inputs_or_outputs() -> None:
    layer = torch.nn.Linear(4, 3)
    narrow_(layer, torch.tensor([0, 2]), out=False)
    assert layer(torch.zeros(1, 2)).shape == (1, 3) and layer.in_features == 2


@torch.no_grad()
def test_a_cut_student_survives_the_disk_and_shows_every_frame(tmp_path: Path) -> None:
    network = rebuilt(denoiser(), CUT)
    assert sum(p.numel() for p in network.parameters()) < sum(
        p.numel() for p in denoiser().parameters()
    )
    student = Student(network=network, sampler=Sampler(levels=LEVELS), tokenizer="{}", card="")
    save_student(student, tmp_path / "student")
    again = load_student(tmp_path / "student")
    assert again.network.config == CUT
    animator = again.animator(64)
    assert animator(*animator.example()).shape == (4, 4, 64, 64)
    assert animator.signature().outputs[0].shape == (4, 4, 64, 64)


def test_a_config_of_before_still_means_the_whole_network() -> None:
    old = {k: v for k, v in TINY.to_json().items() if k not in NEW}
    assert DenoiserConfig.from_json(old) == TINY


NEW = ("gap", "halved", "widths", "removed")


def test_a_cut_config_survives_json() -> None:
    import json

    assert DenoiserConfig.from_json(json.loads(json.dumps(CUT.to_json()))) == CUT


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"widths": {"fine_in": 0}}, "widths are whole numbers"),
        ({"widths": {"fine_in": 10**9}}, "widths are whole numbers"),
        ({"widths": {"fine_in": True}}, "widths are whole numbers"),
        ({"widths": [8]}, "widths are whole numbers"),
        ({"removed": "look.time"}, "removed is a list of names"),
        ({"removed": ["look.time", "look.time"]}, "removed is a list of names, each once"),
        ({"removed": [3]}, "have names"),
        ({"halved": 1}, "halved 1 is true or false"),
        ({"gap": 0}, r"\['gap'\] must be whole numbers"),
        ({"gap": 8000}, "gap 8000"),
        ({**LATENT, "gap": 2}, "gap 2 needs the head 'compose'"),
    ],
)
def test_an_impossible_cut_is_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(RequestError, match=message):
        DenoiserConfig.from_json(TINY.to_json() | change)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"widths": {"wings": 4}}, "'wings': 4 asked; it is no block"),
        ({"widths": {"fine_in": 9}}, "'fine_in': 9 asked; it is 8 wide"),
        ({"widths": {"coarse_in.0": 4}, "removed": ("coarse_in.0",)}, "it is no block"),
        ({"removed": ("fine_out",)}, r"can be left out: \['fine_out'\]"),
        ({"removed": ("__class__",)}, "can be left out"),
    ],
)
def test_a_cut_that_the_network_does_not_have_is_refused(
    change: dict[str, object], message: str
) -> None:
    with pytest.raises(RequestError, match=message):
        Denoiser(replace(TINY, **change))  # type: ignore[arg-type]


def test_a_network_is_not_cut_out_of_a_smaller_one() -> None:
    with pytest.raises(RequestError, match="this one has not"):
        rebuilt(rebuilt(denoiser(), CUT), TINY)
    with pytest.raises(RequestError, match="is no part of"):
        rebuilt(denoiser(), replace(TINY, frames=3))
    with pytest.raises(RequestError, match="is no part of"):
        rebuilt(denoiser(), replace(TINY, coarse=20))


def test_a_student_whose_cuts_are_hostile_is_one_clear_message(tmp_path: Path) -> None:
    import json

    student = Student(network=denoiser(), sampler=Sampler(levels=LEVELS), tokenizer="{}", card="")
    save_student(student, tmp_path / "student")
    path = tmp_path / "student" / "model.json"
    about = json.loads(path.read_text())
    about["config"]["removed"] = ["caption"]
    path.write_text(json.dumps(about))
    with pytest.raises(DamagedError, match=r"left out: \['caption'\]"):
        load_student(tmp_path / "student")


@torch.no_grad()
def test_half_the_pixels_cost_a_quarter_in_the_stem_and_give_as_many_back() -> None:
    from torch.utils.flop_counter import FlopCounterMode

    def flops(network: Denoiser) -> dict[str, int]:
        noisy, sticker, tokens = inputs()
        with FlopCounterMode(display=False, depth=4) as counter:
            clip = Composed(network)(noisy, torch.ones(2), {"sticker": sticker, "tokens": tokens})
        assert clip.shape == noisy.shape
        counts = counter.get_flop_counts()
        return {n.removeprefix("Composed.network."): sum(c.values()) for n, c in counts.items()}

    whole, halved = flops(denoiser()), flops(rebuilt(denoiser(), replace(TINY, halved=True)))
    for name in ("stem", "fine_in"):
        assert halved[name] * 4 == pytest.approx(whole[name], rel=0.1)
    for name in ("coarse_in.0", "fine_out"):
        assert halved[name] == whole[name]
