"""Every error raised on purpose.

MinuetError                 the root; each carries the exit code its command ends with
    RequestError            what was asked, or what was given, is wrong            (2)
        DamagedError        a file is truncated, tampered with, or from the future (2)
        UntrustedError      code that nobody here vouches for was not run          (2)
        NotEvaluatedError   an evaluator does not know what a file holds           (2)
    VerdictError            the work was done and the verdict is no                (1)
        ParityError         an artifact is not the same model any more             (1)
        BudgetError         a report is over its budget                            (1)
    InconclusiveError       not enough evidence for a verdict                      (3)
    MissingBackendError     a needed backend is not installed or cannot run here   (4)
"""

from dataclasses import dataclass


class MinuetError(Exception):
    """An expected failure: one message that says what was asked, what was found, what to do."""

    exit_code = 2


class RequestError(MinuetError):
    """What was asked, or what was given, is wrong."""


class DamagedError(RequestError):
    """A file is truncated, tampered with, or written by a newer minuet."""


class UntrustedError(RequestError):
    """Code that nobody here vouches for was not run."""


class NotEvaluatedError(RequestError):
    """An evaluator does not know what a file holds, and so says nothing about it."""


class VerdictError(MinuetError):
    """The work was done, and the verdict is no."""

    exit_code = 1


class ParityError(VerdictError):
    """An artifact is not the same model any more."""


class BudgetError(VerdictError):
    """A report is over its budget."""


class InconclusiveError(MinuetError):
    """There is not enough evidence for a verdict."""

    exit_code = 3


class MissingBackendError(MinuetError):
    """A needed backend is not installed, or cannot run on this machine."""

    exit_code = 4


@dataclass(frozen=True, slots=True)
class Refusal:
    """An expected no, as a value: why something was not done."""

    reason: str

    def __str__(self) -> str:
        return self.reason
