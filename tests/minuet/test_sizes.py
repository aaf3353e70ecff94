"""A source at other sizes: only what depends on the size is held more than once."""

import pytest

from minuet.contracts.errors import RequestError
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
