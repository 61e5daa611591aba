"""A recipe as YAML that loads to an equal recipe, here and in readers of YAML 1.1."""

from __future__ import annotations

from pathlib import Path

import yaml

from mibias_cli.recipe.schema import Recipe
from mibias_cli.recipe.yaml_source import PLAIN_SCALARS

__all__ = ["dump_recipe"]


class _Dumper(yaml.SafeDumper):
    """Quotes whatever a reader of YAML 1.1 or 1.2 would not take for text."""

    def ignore_aliases(self, data: object) -> bool:
        return True


# beside PyYAML's own resolvers of YAML 1.1: text that either version reads as something else is quoted
for _tag, (_pattern, _first) in PLAIN_SCALARS.items():
    _Dumper.add_implicit_resolver(_tag, _pattern, _first)
# paths are text, tuples are lists
_Dumper.add_multi_representer(Path, lambda dumper, path: dumper.represent_str(str(path)))
_Dumper.add_representer(tuple, yaml.SafeDumper.represent_list)


def dump_recipe(recipe: Recipe) -> str:
    """Every key of the recipe, defaults included, as YAML.

    The resolved recipe is saved beside a run, so that the run can be repeated after defaults have changed.
    """
    sections = recipe.model_dump()
    sections["data"] = {"source": recipe.data.source, **sections["data"]}  # what kind of data it is comes first
    return yaml.dump(sections, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=110)
