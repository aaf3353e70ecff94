"""Ctrl-C becomes a clean stop: the first finishes the step at hand, the second does not wait."""

import os
import signal
import sys
from collections.abc import Generator
from contextlib import contextmanager
from types import FrameType
from typing import Self

FIRST, SECOND = 130, 2  # exit codes: as shells say it, and as a request that was taken back

_WAIT = "stopping after this step; Ctrl-C once more stops at once"
_MESSAGES = {
    FIRST: "Interrupted. Run the same command again to continue.",
    SECOND: "Stopped at once; nothing was left half-written. Run the same command again.",
}


class Interrupts:
    """Counts Ctrl-C while a command runs (`with INTERRUPTS:`) and decides what each one means.

    The first raises KeyboardInterrupt: at the next `check()` inside a `stepwise()` block, whose
    steps promise to come soon, and right away outside of one. The second raises right away, unless
    the first is already unwinding: then the cleaning up goes on, which is short, and only the exit
    code changes. The third ends the process.
    """

    def __init__(self) -> None:
        self._count = 0
        self._stepwise = 0
        self._unwinding = False

    def __enter__(self) -> Self:
        self._count, self._unwinding = 0, False
        self._before = signal.getsignal(signal.SIGINT)
        if self._before is not signal.SIG_IGN:  # as for jobs that a shell put in the background
            signal.signal(signal.SIGINT, self._pressed)
        return self

    def __exit__(self, *exc_info: object) -> None:
        """Hand Ctrl-C back, unless one came: another would kill the process as it says goodbye."""
        if not self._count:
            signal.signal(signal.SIGINT, self._before)

    @property
    def exit_code(self) -> int:
        """What an interrupted command ends with."""
        return FIRST if self._count < 2 else SECOND

    @property
    def message(self) -> str:
        """What an interrupted command says at its end."""
        return _MESSAGES[self.exit_code]

    @contextmanager
    def stepwise(self) -> Generator[None]:
        """A block that calls `check()` after each short step."""
        self._stepwise += 1
        try:
            yield
        finally:
            self._stepwise -= 1

    def check(self) -> None:
        """A safe place to stop: raises KeyboardInterrupt if that was asked for."""
        if self._count and not self._unwinding:
            self._raise()

    def _pressed(self, signum: int, frame: FrameType | None) -> None:
        self._count += 1
        if self._count > 2:
            os._exit(SECOND)
        if self._count == 1 and self._stepwise:
            print(f"\n{_WAIT}", file=sys.stderr, flush=True)
        elif not self._unwinding:
            self._raise()

    def _raise(self) -> None:
        self._unwinding = True
        raise KeyboardInterrupt


INTERRUPTS = Interrupts()
