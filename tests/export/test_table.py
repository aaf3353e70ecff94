"""The table names what exists, and refuses the rest with a reason."""

import pytest

from minuet.benchmarks.tolerances import tolerance
from minuet.contracts.artifact import PRECISIONS, TARGETS
from minuet.contracts.errors import RequestError
from minuet.export.table import EXPORTERS, exporter, missing, row


def test_every_target_of_the_contract_has_an_exporter() -> None:
    assert tuple(EXPORTERS) == TARGETS
    assert all(callable(exporter(target)) for target in EXPORTERS)


def test_every_row_has_a_tolerance_for_each_precision() -> None:
    for target, found in EXPORTERS.items():
        assert set(found.precisions) <= set(PRECISIONS)
        assert all(tolerance(target, precision).reason for precision in found.precisions)


def test_an_unknown_target_is_refused_with_the_known_ones() -> None:
    with pytest.raises(RequestError, match="'tflite' is not known; choose from onnx"):
        row("tflite")


def test_a_missing_library_is_refused_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    refusal = missing("coreml")
    assert refusal is not None and "minuet[coreml]" in refusal.reason
