"""What a word of the command line names is known, or it is said what may be named."""

from pathlib import Path

import pytest

from minuet.contracts.errors import RequestError
from minuet.sources import KINDS, read_source
from minuet.wish import Wish


@pytest.mark.parametrize("ending", [*KINDS, ".tflite"])
def test_a_file_is_told_from_nothing(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"f{ending}"
    path.write_bytes(b"x")
    with pytest.raises(RequestError) as refused:
        read_source(str(path), Wish())
    said = str(refused.value)
    assert "not there" not in said and "package.module:factory" in said
    assert KINDS.get(ending, "a file") in said


@pytest.mark.parametrize("size", [(0, 0), (64, 0), (8193, 64)])
def test_a_size_is_checked_before_anything_is_read(size: tuple[int, int]) -> None:
    with pytest.raises(RequestError, match="a side is 1 to 8192 px, not "):
        Wish(size=size)
    assert Wish(size=(1, 8192)).size == (1, 8192)
