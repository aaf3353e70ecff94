"""The choice of treatments against exhaustive search."""

from itertools import pairwise, product

import numpy as np
import pytest

from minuet.contracts.errors import RequestError
from minuet.quantize.search import Option, Options, front, least, smallest_error

SIZES = {"small": 2, "middle": 4, "large": 8}


def options(layers: int = 5) -> Options:
    """Layers of very different sensitivity; a bit more a weight divides the error by four."""
    powers = np.random.default_rng(0).uniform(1, 5, layers)
    return {
        f"layer{at}": {
            name: Option(error=10.0**-power * 4.0**-size, size=size * 10)
            for name, size in SIZES.items()
        }
        for at, power in enumerate(powers)
    }


def every_choice(given: Options) -> list[tuple[int, float]]:
    rows = [list(treatments.values()) for treatments in given.values()]
    return [(sum(o.size for o in c), sum(o.error for o in c)) for c in product(*rows)]


@pytest.mark.parametrize("size", [100, 160, 200, 300, 400])
def test_no_choice_of_the_same_bytes_has_less_error(size: int) -> None:
    given = options()
    found = smallest_error(given, size)
    assert found.size <= size
    for bytes_, error in every_choice(given):
        assert bytes_ > found.size or error >= found.error * (1 - 1e-12)


def test_it_beats_the_same_treatment_for_all() -> None:
    given = options(20)
    uniform = sum(layer["middle"].error for layer in given.values())
    assert smallest_error(given, 20 * SIZES["middle"] * 10).error < uniform / 2


def test_with_bytes_to_spare_every_layer_takes_its_best() -> None:
    found = smallest_error(options(), 10_000)
    assert set(found.layers.values()) == {"large"}


def test_too_few_bytes_are_refused_with_what_is_needed() -> None:
    with pytest.raises(RequestError, match=r"99 bytes were asked for.*takes 100"):
        smallest_error(options(), 99)


def test_decibels_are_those_of_the_summed_error() -> None:
    given = {"a": {"x": Option(error=0.0005, size=1)}, "b": {"x": Option(error=0.0005, size=1)}}
    assert smallest_error(given, 2).decibels == pytest.approx(30.0)


def test_the_front_rises_in_bytes_and_falls_in_error() -> None:
    found = front(options(12), range(100, 1000, 37))
    assert len(found) > 5
    for smaller, larger in pairwise(found):
        assert smaller.size < larger.size and smaller.error > larger.error


def three_costs(layers: int = 6) -> Options:
    """Treatments that trade error, bytes and time in different ways."""
    rng = np.random.default_rng(1)
    return {
        f"layer{at}": {
            name: Option(
                error=float(10 ** -rng.uniform(2, 5)),
                size=int(rng.integers(10, 100)),
                seconds=float(rng.uniform(1, 9)),
            )
            for name in ("float", "weights", "int8")
        }
        for at in range(layers)
    }


@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_two_limits_are_kept_and_nothing_within_them_is_much_better(share: float) -> None:
    given = three_costs()
    rows = [list(treatments.values()) for treatments in given.values()]
    every = [
        tuple(sum(getattr(o, cost) for o in c) for cost in ("seconds", "error", "size"))
        for c in product(*rows)
    ]
    error, size = (float(np.quantile([row[at] for row in every], share)) for at in (1, 2))
    found = least(given, "seconds", {"error": error, "size": size})
    assert found.error <= error and found.size <= size
    best = min(row[0] for row in every if row[1] <= error and row[2] <= size)
    step = max(o.seconds for row in rows for o in row)
    assert found.seconds <= best + step  # the hull misses a layer's step or two at most


def test_limits_that_exclude_one_another_are_refused() -> None:
    given = {
        "a": {"small": Option(error=1.0, size=1), "exact": Option(error=0.0, size=9)},
    }
    with pytest.raises(RequestError, match=r"within 1 bytes and 0\.5 of mean square error at once"):
        least(given, "seconds", {"size": 1, "error": 0.5})
