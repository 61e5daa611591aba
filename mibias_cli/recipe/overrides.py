"""`--set a.b=value`: values given on the command line, laid over the recipe's own."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass

from mibias_cli.errors import Problem, RecipeError, shortened
from mibias_cli.recipe.fields import default_list
from mibias_cli.recipe.yaml_source import Yaml, YamlMapping, YamlPath, parse_value

__all__ = ["Overridden", "apply_overrides", "refuse_undone"]


@dataclass(frozen=True, kw_only=True)
class Overridden:
    """A recipe with values from the command line: the data, the paths that were set, and what went wrong."""

    data: dict[str, Yaml]
    paths: frozenset[YamlPath]
    problems: tuple[Problem, ...]


def apply_overrides(data: YamlMapping, overrides: Sequence[str]) -> Overridden:
    """Lay `KEY=VALUE` texts over parsed YAML; the last of several for one key wins.

    Keys are dotted (`debias.critic.steps`), a number is an index into a list (`representation.layers.0`), values are
    YAML 1.2. Sections that the recipe leaves out are begun, lists that it leaves out start from their default.

    Example:
        >>> apply_overrides({"seed": 0}, ["seed=3", "debias.weight=1e-1"]).data
        {'seed': 3, 'debias': {'weight': 0.1}}
    """
    # the file's own values stay as they are: errors show them
    result = copy.deepcopy(dict(data))
    paths: set[YamlPath] = set()
    problems: list[Problem] = []
    for text in overrides:
        key, equals, value_text = text.partition("=")
        key = key.strip()
        try:
            if not equals or not all(key.split(".")):
                key = text
                raise _Refused("write --set KEY=VALUE, for example --set training.epochs=3")
            paths |= _set(result, key.split("."), parse_value(value_text))
        except (RecipeError, _Refused) as error:
            message = str(error)
            if isinstance(error, RecipeError):
                message = f"{error.problems[0].message}, in {shortened(value_text)[0]!r}"
            problems.append(Problem(path="--set", key=key, message=message))
    return Overridden(data=result, paths=frozenset(paths), problems=tuple(problems))


def refuse_undone(overrides: Sequence[str]) -> None:
    """Raise a RecipeError where one of `KEY=VALUE` texts undoes another: on a command line, one of them is a slip."""
    problems: list[Problem] = []
    given: list[list[str]] = []
    for text in overrides:
        keys = text.partition("=")[0].strip().split(".")
        if undone := [other for other in given if other[: len(keys)] == keys]:
            what = "is set twice" if keys in undone else f"undoes what was set before, {'.'.join(undone[0])}"
            message = f"{what}; leave out one (options such as --seed and --over set keys, too)"
            problems.append(Problem(path="--set", key=".".join(keys), message=message))
        given.append(keys)
    if problems:
        raise RecipeError(problems)


class _Refused(Exception):
    """The key leads nowhere."""


def _is_index(key: str) -> bool:
    """Whether a key is written as an item's number; `²` and `٣` are digits as well, and no such number."""
    return key.isascii() and key.isdigit()


def _set(data: dict[str, Yaml], keys: list[str], value: Yaml) -> set[YamlPath]:
    """Set one value; returns its path and the paths of the sections that had to be begun."""
    container: Yaml = data
    begun: set[YamlPath] = set()
    path: YamlPath = ()
    for depth, key in enumerate(keys):
        parent, where = container, ".".join(map(str, path))
        step: str | int = key
        # what stands there already, where the key can lead there at all
        if isinstance(parent, dict):
            container = parent.get(key)
        elif not isinstance(parent, list):
            raise _Refused(f"{where} is a single value, it has no {key!r}")
        elif _is_index(key) and int(key) < len(parent):
            step = int(key)
            container = parent[step]
        else:
            if not parent:
                raise _Refused(f"{where} is an empty list; set all of it: --set '{where}=[…]'")
            raise _Refused(f"{where} is a list of {len(parent)}; its items are 0 to {len(parent) - 1}, not {key!r}")
        path = (*path, step)
        if depth == len(keys) - 1:
            container = value
        elif container is None and isinstance(parent, dict):
            # an index is into the list that the schema would fill in; other keys begin a section
            default = default_list(path, data) if _is_index(keys[depth + 1]) else None
            container = {} if default is None else default
            begun.add(path)
        parent[step] = container  # type: ignore[index]  # the step suits its parent
    return begun | {path}
