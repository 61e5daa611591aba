"""The recipes that come with mibias, in a checkout as in an installed package."""

from __future__ import annotations

from pathlib import Path

import mibias_cli
from mibias_cli.errors import Problem, RecipeError, did_you_mean
from mibias_cli.output.whole_files import write_atomically

__all__ = ["add_schema", "copy_recipe", "recipe_title", "shipped_recipes"]


def shipped_recipes() -> dict[str, Path]:
    """The shipped recipes' files by name, in alphabetical order."""
    return {path.stem: path for path in sorted(_folder().glob("*.yaml"))}


def recipe_title(path: Path) -> str:
    """The first comment of a recipe that is no instruction to editors: what the recipe is for."""
    # comments below the first key are about that key
    for line in path.read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            break
        text = line.lstrip("# ").strip()
        if text and not text.startswith("yaml-language-server:"):
            return text
    return ""


def copy_recipe(name: str, destination: Path) -> list[Path]:
    """Copy a shipped recipe to a new file or into a folder, and its JSON Schema beside it; what files were written.

    Raises:
        RecipeError: There is no such recipe, or the destination exists already.
    """
    recipes = shipped_recipes()
    if name not in recipes:
        hint = did_you_mean(name, recipes) or f"; they are {', '.join(recipes)}"
        raise RecipeError([Problem(path=name, message=f"no recipe of this name comes with mibias{hint}")])
    target = destination / recipes[name].name if destination.is_dir() else destination
    if target.exists():
        raise RecipeError([Problem(path=str(target), message="exists already; choose another place, or remove it")])
    target.parent.mkdir(parents=True, exist_ok=True)
    # the recipe last, and whole or not at all: where one is, this command refuses
    schema = add_schema(target)
    write_atomically(target, recipes[name].read_text(encoding="utf-8"), new=True)
    return [target, *schema]


def add_schema(recipe: Path) -> list[Path]:
    """Write the JSON Schema by which editors complete a recipe beside it, unless one is there; what was written."""
    from mibias_cli.recipe.schema import schema_text

    path = recipe.with_name("recipe.schema.json")
    if path.exists():
        return []
    write_atomically(path, schema_text())
    return [path]


def _folder() -> Path:
    """`mibias_cli/recipes` where a wheel put them, else `recipes/` of the checkout that the package lies in."""
    package = Path(mibias_cli.__file__).parent
    installed = package / "recipes"
    return installed if installed.is_dir() else package.parent / "recipes"
