"""The `mibias` command. Nothing here, nor in what it imports, loads torch: `mibias --help` answers at once."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from mibias_cli import __version__
from mibias_cli.cli.commands.apply import embed, predict
from mibias_cli.cli.commands.compare import compare, sweep
from mibias_cli.cli.commands.data import data_app
from mibias_cli.cli.commands.doctor import doctor
from mibias_cli.cli.commands.estimate import estimate
from mibias_cli.cli.commands.gate import gate
from mibias_cli.cli.commands.init import init
from mibias_cli.cli.commands.recipe import recipes_app, schema, validate
from mibias_cli.cli.commands.run import evaluate, export, train
from mibias_cli.cli.commands.scan import scan
from mibias_cli.cli.guard import GuardedGroup
from mibias_cli.cli.quiet import quiet_libraries
from mibias_cli.cli.stopping import stoppable
from mibias_cli.cli.streams import safe_streams

__all__ = ["app", "main"]

app = typer.Typer(
    name="mibias",
    cls=GuardedGroup,
    help="Debias pretrained feature extractors by mutual-information backpropagation, and measure that it worked.",
    no_args_is_help=True,
    # Rich would cost a third of the time that --help may take
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
# in the order in which --help lists them
_COMMANDS = (
    init,
    scan,
    train,
    evaluate,
    estimate,
    export,
    embed,
    predict,
    compare,
    sweep,
    gate,
    validate,
    schema,
    doctor,
)
for _command in _COMMANDS:
    app.command()(_command)
app.add_typer(data_app, name="data")
app.add_typer(recipes_app, name="recipes")


def main() -> None:
    """Entry point of the console script: exits with 0, 1 (a gate failed), 2 (an error) or 130, 143, 129 (stopped)."""
    quiet_libraries()
    # torch reads it when it is loaded: large tensors in huge pages, of which the system has fewer to map
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
    with safe_streams(), stoppable():
        app(prog_name="mibias")


def _print_version(wanted: bool) -> None:
    # called for every command: the option is eager, so that no command is needed beside it
    if wanted:
        typer.echo(f"mibias {__version__}")
        raise typer.Exit


@app.callback()
def _globals(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", envvar="MIBIAS_DEBUG", help="Show the traceback of an error.")
    ] = False,
) -> None:
    """Debias pretrained feature extractors by mutual-information backpropagation, and measure that it worked."""
