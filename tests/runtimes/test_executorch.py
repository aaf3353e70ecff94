from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from minuet.benchmarks.placement import off_unit
from minuet.contracts.artifact import Artifact
from minuet.contracts.errors import DamagedError
from minuet.contracts.files import read_json, write_json
from minuet.contracts.report import Run
from minuet.contracts.tensors import Arrays, Signature
from minuet.runtimes.executorch import ExecutorchRuntime, placed
from tests.standin import Standin

Written = tuple[Path, Artifact]
FOLDED = 1e-5  # of the work: the embedding of a constant is a constant
RUN: dict[str, Any] = {
    **{"artifact": "executorch-fp32", "artifact_sha256": "0", "runtime": "executorch"},
    **{"runtime_version": "1", "threads": 1, "samples_ms": {}, "peak_rss_mib": None},
    **{"bytes_on_disk": 1, "steps": 1, "nfe": 1, "macs": None},
}


@pytest.mark.slow
@pytest.mark.parametrize("artifact", ["executorch-fp32"], indirect=True)
def test_who_runs_an_operator_is_told_and_that_nothing_is_timed(
    artifact: Written, declared: Signature, inputs: Arrays, module: Standin
) -> None:
    if refusal := ExecutorchRuntime().available():
        pytest.skip(refusal.reason)
    found = ExecutorchRuntime().stages(*artifact, declared, inputs, runs=1)
    assert "no event tracer" in found.untimed and not found.stages_ms and not found.total_ms
    assert {one.unit for one in found.operators} == {"XnnpackBackend", "portable"}
    assert {"native_layer_norm"} <= {one.kind for one in found.operators if one.unit == "portable"}
    assert not any(one.p50_ms for one in found.operators)
    table = read_json(artifact[0] / "executorch-fp32/delegation.json")
    share = off_unit(Run(operators=found.operators, **RUN), "Xnnpack*")
    assert share is not None and 0 < share < 1 and table["fallback"] > 0
    with FlopCounterMode(display=False) as counter:
        module(*(torch.from_numpy(value) for value in inputs.values()))
    counted = sum(one.macs or 0 for one in found.operators)
    assert counted == pytest.approx(counter.get_total_flops() / 2, rel=FOLDED)


ROW = {
    **{"operator": "aten.mm.default", "runs_on": "portable kernel", "count": 2},
    **{"work": 9, "module": "", "macs": 9, "moved_bytes": 80},
}


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({key: value for key, value in ROW.items() if key != "macs"}, "lacks macs; export"),
        (ROW | {"macs": float("nan")}, "macs is nan, not a whole number"),
        (ROW | {"moved_bytes": -1}, "below 0"),
        (ROW | {"count": "two"}, "count is 'two'"),
    ],
)
def test_a_table_that_an_earlier_or_a_hostile_hand_wrote_is_refused(
    row: dict[str, object], said: str, tmp_path: Path
) -> None:
    value = {"delegates": 1, "fallback": 0.0, "operators": [row]}
    with pytest.raises(DamagedError, match=said):
        placed(value, "delegation.json")
    write_json(tmp_path / "delegation.json", {**value, "operators": [ROW]})
    (found,) = placed(read_json(tmp_path / "delegation.json"), "here")
    assert (found.name, found.kind, found.unit) == ("aten.mm.default x2", "mm", "portable")
