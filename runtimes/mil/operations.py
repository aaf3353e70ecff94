"""Operation's name -> the function that computes it; one table of all kinds."""

from __future__ import annotations

from minuet.runtimes.mil.elementwise import ELEMENTWISE
from minuet.runtimes.mil.images import IMAGES
from minuet.runtimes.mil.indexing import INDEXING
from minuet.runtimes.mil.network import NETWORK
from minuet.runtimes.mil.reductions import REDUCTIONS
from minuet.runtimes.mil.shapes import SHAPES
from minuet.runtimes.mil.tensors import Handler
from minuet.runtimes.mil.weights import WEIGHTS

OPERATIONS: dict[str, Handler] = {
    **ELEMENTWISE,
    **IMAGES,
    **INDEXING,
    **NETWORK,
    **REDUCTIONS,
    **SHAPES,
    **WEIGHTS,
}

# Why some of the format's operations are not evaluated; all others that are missing are only rare.
REFUSED = {
    **dict.fromkeys(
        ("random_bernoulli", "random_categorical", "random_normal", "random_uniform"),
        "draws random numbers, so that no two runs agree; make the noise an input",
    ),
    **dict.fromkeys(
        ("read_state", "write_state", "coreml_update_state"),
        "keeps state between calls; make the state an input and an output",
    ),
}
