"""With the source at hand, golden cases are what it makes of their inputs, or the bundle lies."""

from dataclasses import replace

import numpy as np
import pytest

from minuet.contracts.errors import DamagedError
from minuet.origin import Origin
from minuet.sources import read_source
from minuet.wish import Wish

SOURCE = "models:autoencoder/f4"


@pytest.fixture(scope="module")
def origin() -> Origin:
    return Origin(source=read_source(SOURCE, Wish(size=(64, 64))))


def test_a_sources_own_cases_are_taken(origin: Origin) -> None:
    for part in origin.source.parts:
        origin.check(part.name, part.cases)


@pytest.mark.parametrize("which", [0, 1])
def test_a_case_that_was_changed_is_named(origin: Origin, which: int) -> None:
    part = next(part for part in origin.source.parts if part.name == "decoder")
    cases = [replace(case, program=part.name) for case in part.cases]
    changed = {name: np.flip(value) for name, value in cases[which].outputs.items()}
    cases[which] = replace(cases[which], outputs=changed)
    with pytest.raises(DamagedError, match=rf"decoder/{cases[which].name}: its .* is not what"):
        Origin(source=origin.source).check(part.name, cases)
