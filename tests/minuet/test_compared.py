"""Several programs of one kind stand in one column, and none hides another."""

import numpy as np

from minuet.benchmarks.parity import difference, not_run
from minuet.benchmarks.parity_report import FAIL, PASS, notes
from minuet.benchmarks.parity_trajectory import COMPONENT, STEP, Finding
from minuet.compared import Compared, report
from minuet.contracts.artifact import Artifact, Parity
from minuet.contracts.tensors import Signature, TensorSpec
from minuet.proof import Proof

X = TensorSpec(name="x", axes="C", shape=(4,), dtype="float32")
PASSED = Parity(verdict="pass", backend="ort: onnxruntime 1", value=120.0, tolerance=100.0)


def compared(component: str, error: float = 0.0, parity: Parity = PASSED) -> Compared:
    artifact = Artifact(
        target="onnx", precision="fp32", entry="", files=(), requires={}, component=component
    )
    found = difference(np.ones(4), np.ones(4) + error)
    places = [(COMPONENT, "middle"), (STEP, "")]
    return Compared(
        artifact=artifact,
        signature=Signature(inputs=(X,), outputs=(X,)),
        proof=Proof(artifact=artifact.name, runtime="ort", parity=parity),
        inside=tuple(
            Finding(scope=scope, component=name, step=0, output="", found=found, depth=8)
            for scope, name in places
        ),
    )


def test_a_component_that_passes_does_not_hide_another_that_fails() -> None:
    table = report("a bundle", [compared("encoder", error=0.1), compared("decoder")])
    inside = {row.name: row.cells["onnx-fp32 on ort"].verdict for row in table.rows}
    assert inside == {
        "component encoder/middle": FAIL,
        "component decoder/middle": PASS,
        "step encoder": FAIL,
        "step decoder": PASS,
        "final encoder x": PASS,
        "final decoder x": PASS,
    }
    assert len(table.failures) == 2


def test_a_program_that_is_all_of_a_bundle_needs_no_name() -> None:
    rows = report("a bundle", [compared("main")]).rows
    assert [row.name for row in rows] == ["component middle", "step 0", "final x"]


def test_why_some_programs_were_not_run_is_told_beside_those_that_were() -> None:
    absent = not_run("ort", "no kernel for onnx-fp32/unet")
    table = report("a bundle", [compared("unet", parity=absent), compared("vae")])
    (column,) = table.columns
    assert column.version == "onnxruntime 1" and not column.refusal
    assert "not run: onnx-fp32 on ort: unet: no kernel for onnx-fp32/unet" in notes(table)
