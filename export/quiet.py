"""Chatter of conversion libraries -> silence; our own errors and progress still show."""

import contextlib
import io
import logging
import sys
import warnings
from collections.abc import Iterator
from typing import TextIO


class Sink(io.StringIO):
    """Swallows what is printed, but lets rich's progress bars through to where they were drawn."""

    def __init__(self, behind: TextIO) -> None:
        super().__init__()
        # rich looks for this name when it chooses where to draw.
        self.rich_proxied_file = getattr(behind, "rich_proxied_file", behind)

    def write(self, text: str) -> int:
        """Keep nothing."""
        return len(text)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Hold back warnings, log lines and prints of third parties.

    They speak of their own internals (deprecated calls, missing optional extensions), which
    nobody who exports a sticker can act upon. Errors are exceptions and pass through.
    """
    before = logging.root.manager.disable
    with (
        warnings.catch_warnings(),
        contextlib.redirect_stderr(Sink(sys.stderr)),
        contextlib.redirect_stdout(Sink(sys.stdout)),
    ):
        warnings.simplefilter("ignore")
        logging.disable(logging.ERROR)
        try:
            yield
        finally:
            logging.disable(before)
