"""One tiny network, trained once for all that is cut out of it."""

import copy
from collections.abc import Callable
from pathlib import Path

import pytest

from minuet.models.denoiser import Denoiser
from tests.distill.shrink.test_blocks import taught
from tests.models.tiny import denoiser


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Denoiser]:
    """Copies of it."""
    folder: Path = tmp_path_factory.mktemp("whole")
    network = taught(denoiser(), 150, folder).requires_grad_(False)
    return lambda: copy.deepcopy(network)
