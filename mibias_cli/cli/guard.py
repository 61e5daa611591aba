"""What the user sees when a command fails, and the exit code.

0 well, 1 a gate failed, 2 an error; 130 interrupted (Ctrl-C), 143 told to end (SIGTERM), 129 terminal gone (SIGHUP).
"""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import typer
from typer.core import TyperGroup

from mibias_cli import __version__
from mibias_cli.cli.ci import annotate, annotate_problems
from mibias_cli.cli.stopping import Interrupted, Stopped, reports_stops
from mibias_cli.errors import MibiasError, RecipeError
from mibias_cli.output.machine import machine_fault

__all__ = ["EXIT_ERROR", "EXIT_GATE", "EXIT_INTERRUPTED", "GuardedGroup", "guarded"]

EXIT_GATE = 1
EXIT_ERROR = 2
EXIT_INTERRUPTED = 130


class GuardedGroup(TyperGroup):
    """A group of commands in which every error ends in a message and an exit code."""

    # no type for the context: newer versions of typer bring a click of their own, older ones import it
    def invoke(self, ctx: Any) -> Any:
        """Run the chosen command."""
        debug = bool(ctx.params.get("debug"))
        with reports_stops(), guarded(debug=debug):
            return super().invoke(ctx)


@contextmanager
def guarded(*, debug: bool) -> Iterator[None]:
    """Turn errors into messages on stderr (`debug`: tracebacks) and exit codes; what Typer reports passes through."""
    try:
        yield
    except (typer.Exit, typer.Abort):
        raise
    except (KeyboardInterrupt, Interrupted) as error:
        # on a line of its own, below the ^C of the terminal
        typer.echo(f"\ninterrupted{f'; {error}' if str(error) else ''}", err=True)
        code = error.exit_code if isinstance(error, Interrupted | Stopped) else EXIT_INTERRUPTED
        raise typer.Exit(code) from error
    except Exception as error:
        # a usage error (told by its parts, see above): Typer prints it with the command's usage
        if hasattr(error, "show") and hasattr(error, "exit_code"):
            raise
        if debug:
            traceback.print_exc()
        else:
            typer.echo(_message(error), err=True)
        if isinstance(error, RecipeError):
            annotate_problems(error.problems)
        else:
            annotate("error", _message(error), title="mibias")
        raise typer.Exit(EXIT_ERROR) from error


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
