"""`--set a.b=value`: values given on the command line, laid over the recipe's own."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mibias_cli.errors import Problem, RecipeError
from mibias_cli.recipe.fields import default_at
from mibias_cli.recipe.yaml_source import YamlPath, parse_value

__all__ = ["Overridden", "apply_overrides"]


@dataclass(frozen=True, kw_only=True)
class Overridden:
    """A recipe with values from the command line: the data, the paths that were set, and what went wrong."""

    data: dict[str, Any]
    paths: frozenset[YamlPath]
    problems: tuple[Problem, ...]


def apply_overrides(data: Mapping[str, Any], overrides: Sequence[str]) -> Overridden:
    """Lay `KEY=VALUE` texts over parsed YAML; the last of several for one key wins.

    Keys are dotted (`debias.critic.steps`), a number is an index into a list (`representation.layers.0`), values are
    YAML 1.2. Sections that the recipe leaves out are begun, lists that it leaves out start from their default.

    Example:
        >>> apply_overrides({"seed": 0}, ["seed=3", "debias.weight=1e-1"]).data
        {'seed': 3, 'debias': {'weight': 0.1}}
    """
    result = copy.deepcopy(dict(data))
    paths: set[YamlPath] = set()
    problems: list[Problem] = []
    for text in overrides:
        key, equals, value_text = text.partition("=")
        key = key.strip()
        if not equals or not all(key.split(".")):
            problems.append(_problem(text, "write --set KEY=VALUE, for example --set training.epochs=3"))
            continue
        try:
            paths |= _set(result, key.split("."), parse_value(value_text))
        except RecipeError as error:
            problems.append(_problem(key, f"{error.problems[0].message}, in {value_text!r}"))
        except _Refused as refusal:
            problems.append(_problem(key, str(refusal)))
    return Overridden(data=result, paths=frozenset(paths), problems=tuple(problems))


class _Refused(Exception):
    """The key leads nowhere."""


def _set(data: dict[str, Any], keys: list[str], value: Any) -> set[YamlPath]:
    """Set one value; returns its path and the paths of the sections that had to be begun."""
    container: Any = data
    begun: set[YamlPath] = set()
    path: YamlPath = ()
    for depth, key in enumerate(keys):
        step = _step(container, key, path)
        path = (*path, step)
        if depth == len(keys) - 1:
            container[step] = value
            break
        if isinstance(container, dict) and container.get(step) is None:
            default = default_at(path, data) if keys[depth + 1].isdigit() else None
            container[step] = default if isinstance(default, list) else {}
            begun.add(path)
        container = container[step]
    return begun | {path}


def _step(container: Any, key: str, path: YamlPath) -> Any:
    """The key itself, or the index that it stands for where the container is a list."""
    where = ".".join(map(str, path))
    if isinstance(container, dict):
        return key
    if not isinstance(container, list):
        raise _Refused(f"{where} is a single value, it has no {key!r}")
    if not key.isdigit() or int(key) >= len(container):
        raise _Refused(f"{where} is a list of {len(container)}; its items are 0 to {len(container) - 1}, not {key!r}")
    return int(key)


def _problem(key: str, message: str) -> Problem:
    return Problem(path="--set", line=0, column=0, key=key, message=message)
