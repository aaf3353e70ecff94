"""Components of real pipeline classes come back from a Core ML package as they went in.

A few that tell much; `make matrix` runs all of them.
"""

from pathlib import Path

import numpy as np
import pytest
import torch

from minuet.benchmarks.tolerances import tolerance
from minuet.export.sources.folder import read_folder
from minuet.export.sources.pipeline import load_pipeline
from minuet.export.sources.record import Request, parts_of, recorded
from minuet.export.to_coreml import export_coreml
from minuet.runtimes.mil.evaluate import evaluate
from minuet.runtimes.mil.package import load_function
from tests.pipelines import SIDE, TOKENS, build

# Rotary embeddings and modulation; joint attention.
COMPONENTS = [("flux", "transformer"), ("sd3", "transformer")]


@pytest.mark.parametrize(("name", "component"), COMPONENTS)
def test_a_component_is_the_same_in_its_package(name: str, component: str, tmp_path: Path) -> None:
    request = Request(size=(SIDE, SIDE), more={"max_sequence_length": TOKENS})
    pipeline = load_pipeline(read_folder(build(name)))
    (part,) = parts_of(pipeline, recorded(pipeline, request, [component]), [component])
    artifact = export_coreml(part.program(), tmp_path, "fp32")
    function = load_function(tmp_path / artifact.entry)
    for case in part.cases:
        given = {key: torch.from_numpy(np.array(one)) for key, one in case.inputs.items()}
        found = evaluate(function, given)
        for key, expected in case.outputs.items():
            error = np.square(found[key].numpy() - expected).mean()
            power = np.square(expected).mean()
            assert 10 * np.log10(power / error) > tolerance("coreml", "fp32").db
