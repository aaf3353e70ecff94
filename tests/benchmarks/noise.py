"""Latencies as a busy machine makes them, for tests of what judges them."""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def chain(rng: np.random.Generator, count: int, rho: float, sd: float) -> Floats:
    """AR(1) noise: each value leans on the one before."""
    out = np.empty(count)
    out[0] = rng.normal(0, sd)
    steps = rng.normal(0, sd * np.sqrt(1 - rho**2), count)
    for at in range(1, count):
        out[at] = rho * out[at - 1] + steps[at]
    return out


def in_turns(
    rng: np.random.Generator,
    count: int,
    factors: tuple[float, ...] = (1.0, 1.0),
    *,
    shared: float = 0.1,
    own: float = 0.04,
    tail: float = 0.05,
    middle: float = 50.0,
) -> list[Floats]:
    """`count` samples of each subject, A A B B B B A A ..., on one machine whose speed wanders.

    Args:
        factors: how many times slower each subject is.
        shared: scatter of the machine's speed, which takes tens of samples to change.
        own: scatter of a subject's samples, a little like their neighbours.
        tail: how many of them are late by half, on average.
    """
    order = [at for at in range(len(factors)) for _ in (0, 1)]
    turns = np.resize(order + order[::-1], 2 * count * len(factors))
    state = chain(rng, turns.size, 0.95, shared)
    found = []
    for at, factor in enumerate(factors):
        logs = state[turns == at][:count] + chain(rng, count, 0.3, own)
        logs += (rng.random(count) < tail) * rng.exponential(0.5, count)
        found.append(middle * factor * np.exp(logs))
    return found
