"""What the user sees when a command fails, and the exit code.

0 well, 1 a gate failed, 2 an error; 130 interrupted (Ctrl-C), 143 told to end (SIGTERM), 129 terminal gone (SIGHUP).
"""

from __future__ import annotations

import os
import re
import sys
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import typer
from typer.core import TyperGroup

from mibias_cli import __version__
from mibias_cli.cli.ci import annotate, annotate_problems
from mibias_cli.cli.stopping import Interrupted, Stopped, reports_stops, tells_of_stops
from mibias_cli.errors import MibiasError, RecipeError
from mibias_cli.output.machine import NOWHERE, is_nowhere, machine_fault
from mibias_cli.ranks.place import place_if_told

__all__ = ["EXIT_ERROR", "EXIT_GATE", "EXIT_INTERRUPTED", "GuardedGroup", "guarded"]

EXIT_GATE = 1
EXIT_ERROR = 2
EXIT_INTERRUPTED = 130

_EMPTY = re.compile(r"--[a-z][a-z-]*=")
_GIVE_WAY_SECONDS = 5.0
"""Longer than it takes a rank that has failed to end, and who started it to end the others."""
_LOST = ("Connection closed by peer", "Connection reset by peer", "Broken pipe", "NCCL", "gloo")
"""What torch says where another rank has ended."""


class GuardedGroup(TyperGroup):
    """A group of commands in which every error ends in a message and an exit code."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read the command line, in which nothing is empty: `--out "$DIR"` of a variable that is not set names nothing.

        Taken for a path, an empty text would be the current folder.
        """
        for before, given in zip(["", *args], args, strict=False):
            if not given or _EMPTY.fullmatch(given):
                where = before if before.startswith("--") and not given else given.rstrip("=") or "an argument"
                raise typer.BadParameter(f"{where} is empty (perhaps a variable that is not set); give it a value")
        return super().parse_args(ctx, args)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The chosen command, of whose options none is given twice, but for those that are repeatable."""
        name, command, rest = found = super().resolve_command(ctx, args)
        if command is not None and not isinstance(command, TyperGroup):
            _refuse_twice(command, name, list(rest), ctx)
        return found

    # no type for the context: newer versions of typer bring a click of their own, older ones import it
    def invoke(self, ctx: Any) -> Any:
        """Run the chosen command."""
        debug = bool(ctx.params.get("debug"))
        # click would take escape sequences out of names, and leave names that nobody has; ours show them escaped
        ctx.color = True
        with reports_stops(), guarded(debug=debug):
            if is_nowhere():
                raise MibiasError(NOWHERE)
            return super().invoke(ctx)


@contextmanager
def guarded(*, debug: bool) -> Iterator[None]:
    """Turn errors into messages on stderr (`debug`: tracebacks) and exit codes; what Typer reports passes through."""
    try:
        yield
    except (typer.Exit, typer.Abort):
        raise
    except (KeyboardInterrupt, Interrupted) as error:
        if tells_of_stops():
            # on a line of its own, below the ^C of the terminal
            typer.echo(f"\ninterrupted{f'; {error}' if str(error) else ''}", err=True)
        code = error.exit_code if isinstance(error, Interrupted | Stopped) else EXIT_INTERRUPTED
        raise typer.Exit(code) from error
    except Exception as error:
        _give_way(error)
        if _is_usage(error):
            raise
        if debug:
            traceback.print_exc()
        else:
            typer.echo(_message(error), err=True)
        if isinstance(error, RecipeError):
            annotate_problems(error.problems)
        else:
            annotate("error", _message(error), title="mibias")
        _end_rank()
        raise typer.Exit(EXIT_ERROR) from error


def _refuse_twice(command: Any, name: str | None, args: list[str], parent: Any) -> None:
    """Only the last of two values would count: `--baseline A --baseline B` would compare with B alone."""
    ctx = command.context_class(command, info_name=name, parent=parent, resilient_parsing=True)
    order = command.make_parser(ctx).parse_args(args)[2]
    once = [p for p in order if p.param_type_name == "option" and not (p.multiple or p.is_flag)]
    for option, n in Counter(once).items():
        if n > 1:
            raise typer.BadParameter(f"{option.opts[0]} is given {n} times, and takes one value; keep one of them")


def _is_usage(error: Exception) -> bool:
    """Whether it is a usage error, which Typer prints with the command's usage; told by its parts, see above."""
    return hasattr(error, "show") and hasattr(error, "exit_code")


def _give_way(error: Exception) -> None:
    """On several ranks: wait for the one that knows what happened to say it, and for the others to be ended.

    What the user can mend most ranks meet at once, and rank 0 says it. What else one meets is often only that another
    has ended.
    """
    place, is_users = place_if_told(os.environ), isinstance(error, MibiasError) or _is_usage(error)
    if place is None or (place.rank == 0 and is_users):
        return
    time.sleep(_GIVE_WAY_SECONDS)
    # still here: nobody ends the ranks of a failed run, and this one's error says nothing
    if any(text in str(error) for text in _LOST):
        if place.rank == 0:
            typer.echo("error: another rank has ended, and with it the run; its own message says why", err=True)
        raise typer.Exit(EXIT_ERROR) from error


def _end_rank() -> None:
    """End this process at once where it is one of several: torch's own end takes seconds, and others would speak."""
    if place_if_told(os.environ) is not None:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(EXIT_ERROR)


def _message(error: Exception) -> str:
    """The error in words: a fault of recipe, data or system that the user can mend, or else a fault of mibias."""
    if isinstance(error, RecipeError):
        n = len(error.problems)
        return f"{error}\n{n} problem{'s' if n > 1 else ''}"
    if isinstance(error, MibiasError):
        return f"error: {error}"
    fault = machine_fault(error)
    if fault is not None:
        return f"error: {fault}"
    # nothing that the user did: what to report
    text = str(error).strip()
    return (
        f"internal error in mibias {__version__}: {type(error).__name__}{f': {text}' if text else ''}\n"
        "`mibias --debug …` shows where it happened; please report it with that output"
    )
