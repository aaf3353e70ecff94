"""The verbs become one command line, each loaded only when it is asked for."""

import importlib
import sys
import warnings
from io import TextIOWrapper
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

from minuet import __version__
from minuet.commands.common import complain, in_words, switch
from minuet.commands.interrupts import INTERRUPTS

# Verb: the function that does it, and its line in `minuet --help`, which must load no verb.
VERBS = {
    "demo": ("minuet.commands.demo:demo", "the whole flow on the embedded sticker world"),
    "animate": (
        "minuet.commands.animate:animate",
        "a caption becomes a moving sticker",
    ),
    "distill": ("minuet.commands.distill:distill", "teachers become a small, few-step student"),
    "curate": ("minuet.commands.curate:curate", "people choose what the student learns from"),
    "quantize": (
        "minuet.commands.quantize:quantize",
        "a program becomes a quantized one",
    ),
    "export": ("minuet.commands.export:export", "a student becomes a bundle that an app ships"),
    "verify": ("minuet.commands.verify:verify", "hashes, and golden frames on every runtime here"),
    "bench": ("minuet.commands.bench:bench", "latency, memory and bytes become a report"),
    "gate": ("minuet.commands.gate:gate", "a report and a budget become a verdict"),
    "plan": ("minuet.commands.plan:plan", "what a recipe would do, without doing it"),
    "doctor": ("minuet.commands.doctor:doctor", "what works on this machine, and what does not"),
}


class Verb(TyperCommand):
    """A row of `VERBS`: a name and a line of help until it runs, then the real command."""

    def make_context(
        self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any
    ) -> Any:
        """Load the verb and let it read its own arguments."""
        return load(self.name or "").make_context(info_name, args, parent=parent, **extra)


class Verbs(TyperGroup):
    """The group that knows the table, and the only place where errors become words."""

    def list_commands(self, ctx: Any) -> list[str]:
        """The table's order: the newcomer's first."""
        return list(VERBS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """A verb that is not loaded yet."""
        return Verb(cmd_name, help=VERBS[cmd_name][1]) if cmd_name in VERBS else None

    def invoke(self, ctx: Any) -> Any:
        """Run the verb; an expected failure becomes one message and an exit code."""
        try:
            with INTERRUPTS:
                return super().invoke(ctx)
        except (Exception, KeyboardInterrupt) as error:
            words = in_words(error)
            if words is None or switch("MINUET_DEBUG"):
                raise
            complain(words[0])
            raise typer.Exit(words[1]) from error


def load(verb: str) -> Any:
    """The real command of a verb, made from its function's signature."""
    module, _, function = VERBS[verb][0].partition(":")
    one = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    one.command(verb)(getattr(importlib.import_module(module), function))
    return get_command(one)


def _version(asked: bool) -> None:
    if asked:
        print(f"minuet {__version__}")
        raise typer.Exit


app = typer.Typer(cls=Verbs, add_completion=False, pretty_exceptions_enable=False)


@app.callback(no_args_is_help=True)
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="which minuet")
    ] = False,
) -> None:
    """Large, slow teachers become small students that animate a sticker in a few small steps."""


def main() -> None:
    """The console script."""
    if not sys.warnoptions and not switch("MINUET_DEBUG"):
        warnings.simplefilter("ignore")  # libraries' advice to their developers, not to our users
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # a terminal or a file name without Unicode
            stream.reconfigure(errors="backslashreplace")
    app(prog_name="minuet")


if __name__ == "__main__":
    main()
