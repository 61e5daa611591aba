"""A recipe as YAML that loads to an equal recipe, here and in readers of YAML 1.1."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from mibias_cli.recipe.schema import Recipe
from mibias_cli.recipe.yaml_source import PLAIN_SCALARS

__all__ = ["dump_recipe"]


class _Dumper(yaml.SafeDumper):
    """Quotes whatever a reader of YAML 1.1 or 1.2 would not take for text."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


for _tag, (_pattern, _first) in PLAIN_SCALARS.items():
    _Dumper.add_implicit_resolver(_tag, _pattern, _first)


def dump_recipe(recipe: Recipe) -> str:
    """Every key of the recipe, defaults included, as YAML.

    The resolved recipe is saved beside a run, so that the run can be repeated after defaults have changed.
    """
    sections = _plain(recipe.model_dump())
    sections["data"] = {"source": recipe.data.source, **sections["data"]}  # what kind of data it is comes first
    return yaml.dump(sections, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=110)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value
