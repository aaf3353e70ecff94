"""Every expected failure ends a command with its own code."""

import pytest

from minuet.contracts import errors

CODES = {
    errors.RequestError: 2,
    errors.DamagedError: 2,
    errors.UntrustedError: 2,
    errors.NotEvaluatedError: 2,
    errors.VerdictError: 1,
    errors.ParityError: 1,
    errors.BudgetError: 1,
    errors.InconclusiveError: 3,
    errors.MissingBackendError: 4,
}


@pytest.mark.parametrize("error", CODES)
def test_an_error_has_the_code_that_the_module_promises(error: type[errors.MinuetError]) -> None:
    assert issubclass(error, errors.MinuetError) and error.exit_code == CODES[error]
    promised = next(line for line in (errors.__doc__ or "").splitlines() if error.__name__ in line)
    assert promised.endswith(f"({CODES[error]})")


def test_no_error_goes_unlisted() -> None:
    found = {value for value in vars(errors).values() if isinstance(value, type)}
    raised = {kind for kind in found if issubclass(kind, errors.MinuetError)}
    assert raised == {*CODES, errors.MinuetError}


def test_a_refusal_reads_as_its_reason() -> None:
    assert f"{errors.Refusal('no GPU here')}" == "no GPU here"
