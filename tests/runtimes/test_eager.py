"""The reference is the module, and leaves torch as it found it."""

import numpy as np
import torch

from minuet.contracts.artifact import Artifact
from minuet.contracts.tensors import Array, Arrays, Signature
from minuet.runtimes.eager import EagerRuntime
from tests.standin import Standin


def test_eager_is_the_module_itself(
    module: Standin, declared: Signature, inputs: Arrays, expected: Array, tmp_path: object
) -> None:
    before = torch.get_num_threads()
    with EagerRuntime(lambda: module).open(None, None, declared, threads=1) as session:
        np.testing.assert_array_equal(session.run(inputs)["frames"], expected)
    assert torch.get_num_threads() == before


def test_nothing_is_made_before_it_is_opened(declared: Signature) -> None:
    def make() -> torch.nn.Module:
        raise AssertionError("made too early")

    runtime = EagerRuntime(make)
    assert runtime.available() is None and runtime.version().startswith("torch ")
    assert not isinstance(runtime, Artifact)
