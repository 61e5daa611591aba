"""Commands about recipes: validate, schema, recipes. They answer at once, without torch."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mibias_cli.cli.options import SetOption, file_option
from mibias_cli.cli.places import refuse_place
from mibias_cli.cli.recipe_checks import recipe_checks
from mibias_cli.errors import Problem, RecipeError
from mibias_cli.output.whole_files import write_atomically

__all__ = ["recipes_app", "schema", "validate"]

recipes_app = typer.Typer(help="The recipes that come with mibias.", no_args_is_help=True, rich_markup_mode=None)


def validate(
    recipes: Annotated[list[Path], typer.Argument(metavar="RECIPE", help="Recipes to check.")],
    overrides: SetOption = None,
) -> None:
    """Check recipes without running them.

    Names every problem at once, each with its line, gates included. Loads no data and no model, but says which of the
    files and folders that it names are not there.
    """
    from mibias_cli.recipe.load import load_recipe, missing_places
    from mibias_cli.recipe.overrides import refuse_undone

    refuse_undone(overrides or ())
    # every recipe is checked, and all problems are named at once
    problems: list[Problem] = []
    for path in recipes:
        try:
            recipe = load_recipe(path, overrides or (), checks=recipe_checks())
        except RecipeError as error:
            problems += error.problems
            continue
        typer.echo(f"{path}: ok", err=True)
        # no fault of the recipe: it may be for another machine
        for key, place in missing_places(recipe):
            typer.echo(f"{path}: {key}: {place} is not on this machine", err=True)
    if problems:
        raise RecipeError(problems)


def schema(out: Annotated[Path | None, file_option("--out", help="File to write. [default: stdout]")] = None) -> None:
    """Print the JSON Schema of recipes, for editors."""
    from mibias_cli.recipe.schema import schema_text

    if out is None:
        typer.echo(schema_text(), nl=False)
    else:
        refuse_place(out, option="--out", what="JSON Schema", begins=b"{")
        write_atomically(out, schema_text())
        typer.echo(f"wrote {out}", err=True)


@recipes_app.command("list")
def list_recipes() -> None:
    """List the shipped recipes: name, and what it is for."""
    from mibias_cli.recipe.shipped import recipe_title, shipped_recipes

    recipes = shipped_recipes()
    width = max(map(len, recipes), default=0)
    for name, path in recipes.items():
        typer.echo(f"{name:{width}}  {recipe_title(path)}".rstrip())


@recipes_app.command("copy")
def copy(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A recipe that `mibias recipes list` names.")],
    destination: Annotated[
        Path | None, typer.Argument(metavar="DESTINATION", help="File or folder. [default: NAME.yaml here]")
    ] = None,
) -> None:
    """Copy a shipped recipe, never over a file."""
    from mibias_cli.recipe.shipped import copy_recipe

    for path in copy_recipe(name, destination or Path(f"{name}.yaml")):
        typer.echo(f"wrote {path}", err=True)
