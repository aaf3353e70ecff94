"""A source at other sizes: only what depends on the size is held more than once."""

from dataclasses import replace
from pathlib import Path

import pytest

from minuet.contracts.errors import RequestError
from minuet.export.capture import Program
from minuet.exporting import How, Job, made_of, piece_of
from minuet.quantize.apply import changed_program
from minuet.quantize.palettes import palettize
from minuet.runtimes.mil.package import load_functions
from minuet.sizes import read_sizes
from minuet.sources import read_source
from minuet.wish import Wish

WORD, WISH = "models:autoencoder/f4", Wish(size=(16, 16))


def test_other_sizes_are_named_by_their_sides_and_repetitions_left_out() -> None:
    found = read_sizes(
        WORD, WISH, read_source(WORD, WISH), [(24, 16), (16, 16), (24, 16)], "shapes"
    )
    assert set(found) == {"encoder", "decoder"}
    (other,) = found["encoder"].others
    assert other.name == "encoder_24x16"
    assert other.signature.inputs[0].shape[-2:] == (24, 16)
    assert [held.name for held in found["encoder"].held] == ["encoder_24x16"]
    assert found["encoder"].told == {"shapes": {"encoder_24x16": other.signature}}


def test_a_size_that_changes_nothing_is_refused() -> None:
    with pytest.raises(RequestError, match="the same at every size"):
        read_sizes(WORD, WISH, read_source(WORD, WISH), [(16, 16)], "functions")


def test_functions_are_told_by_the_hashes_of_their_programs() -> None:
    found = read_sizes(WORD, WISH, read_source(WORD, WISH), [(24, 24)], "functions")["decoder"]
    assert found.program is None
    assert {name: len(told) for name, told in found.told["functions"].items()} == {
        "decoder_24x24": 64
    }


def of_four_colours(program: Program, target: str) -> Program:
    """Every weight of more than one axis from a palette of 2 bits."""
    assert target == "coreml"
    weights = {n: v.detach().numpy() for n, v in program.exported.state_dict.items() if v.ndim > 1}
    made = {name: palettize(weight, 2).unpack() for name, weight in weights.items()}
    return replace(program, exported=changed_program(program.exported, made))


@pytest.mark.slow
@pytest.mark.parametrize("way", ["functions", "shapes"])
def test_a_quantized_source_is_quantized_at_every_size(way: str, tmp_path: Path) -> None:
    source = replace(read_source(WORD, WISH), quantize=of_four_colours)
    how = How(sizes=read_sizes(WORD, WISH, source, [(24, 24)], way))
    (part,) = (one for one in source.parts if one.name == "decoder")
    program = part.program()
    small = piece_of(part, program, Job(target="coreml", precision="palettes"), how, source)
    plain = piece_of(part, program, Job(target="coreml", precision="fp16"), how, source)
    assert small.key != plain.key
    assert small.sizes is not None
    told = small.sizes.program or small.options["functions"]["decoder_24x24"]
    weights = [value for value in told.exported.state_dict.values() if value.ndim > 1]
    assert max(len(weight.unique()) for weight in weights) <= 4
    package = tmp_path / made_of(small, tmp_path).entry
    for function in load_functions(package).values():
        assert "constexpr_lut_to_dense" in [op.kind for op in function.walk()]
    (stored,) = (path.stat().st_size for path in package.rglob("weight.bin"))
    assert stored < sum(weight.numel() for weight in weights)  # two bytes each in float16


def test_a_key_knows_how_the_other_sizes_were_quantized() -> None:
    source = read_source(WORD, WISH)
    sizes = read_sizes(WORD, WISH, source, [(24, 24)], "functions")["decoder"]
    made = replace(sizes, finish=lambda program: of_four_colours(program, "coreml"))
    assert sizes.told != made.told and set(sizes.told["functions"]) == set(made.told["functions"])
