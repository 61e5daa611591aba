"""From a YAML file and `--set` options to a recipe, with every problem named at once in its place; and back."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, takewhile
from pathlib import Path

import yaml
from pydantic import ValidationError

from mibias_cli.errors import Problem, RecipeError
from mibias_cli.output.text import shown
from mibias_cli.output.whole_files import NO_FILE, is_device, is_no_file
from mibias_cli.recipe.checks import WEIGHT_FILES, Check, cross_checks
from mibias_cli.recipe.messages import Fault, faults_of
from mibias_cli.recipe.overrides import Overridden, apply_overrides
from mibias_cli.recipe.schema import Recipe
from mibias_cli.recipe.values import BEGUN
from mibias_cli.recipe.yaml_source import PLAIN_SCALARS, Source, YamlMapping, YamlPath, parse_yaml

__all__ = ["dump_recipe", "load_recipe", "missing_places", "parse_recipe", "public_weights"]

_LOCAL = "local-dir:"


def load_recipe(
    path: Path | str, overrides: Sequence[str] = (), *, checks: Sequence[Check] = (), begun: bool = False
) -> Recipe:
    """Read a recipe from a file.

    Args:
        path: The YAML file; relative paths inside it start from its folder.
        overrides: `KEY=VALUE` texts as `--set` takes them; relative paths there start from the current folder.
        checks: Further checks of the parsed recipe, for what this package cannot know.
        begun: Whether it is the recipe that a run was begun with. It was taken then: what is refused in it is what no
            longer can be read, and what overrides bring.

    Raises:
        RecipeError: The file cannot be read, or the recipe has problems: all of them, each with its line.
    """
    path = Path(path)
    # <(…) and /dev/stdin end with what writes them; of any other pipe or device nobody knows whether it ever does
    if is_no_file(path) and not (is_device(path) and path.is_fifo()):
        raise RecipeError([Problem(path=str(path), message=NO_FILE)])
    try:
        raw = path.read_bytes()
    except OSError as error:
        reasons: dict[type[OSError], str] = {
            FileNotFoundError: "there is no such file; `mibias recipes list` names the recipes that come with mibias",
            IsADirectoryError: "this is a folder, not a recipe file",
        }
        reason = reasons.get(type(error), f"cannot be read ({error.strerror})")
        raise RecipeError([Problem(path=str(path), message=reason)]) from error
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        message = f"is not UTF-8 text (line {line}); save it as UTF-8"
        raise RecipeError([Problem(path=str(path), message=message)]) from error
    return parse_recipe(text, path=str(path), overrides=overrides, checks=checks, begun=begun)


def parse_recipe(
    text: str, *, path: str, overrides: Sequence[str] = (), checks: Sequence[Check] = (), begun: bool = False
) -> Recipe:
    """Make a recipe from YAML text.

    Args:
        path: What to call it in errors; relative paths in the text start from its folder.
        overrides, checks, begun: See :func:`load_recipe`.

    Raises:
        RecipeError: All problems at once, each with its line.
    """
    try:
        source = parse_yaml(text.removeprefix("\ufeff"), path=path)
    except RecipeError as error:
        # the recipe cannot be read, but mistakes in --set are named all the same
        raise RecipeError([*error.problems, *apply_overrides({}, overrides).problems]) from error
    # values of --set first, so that they can mend a fault of the file
    overridden = apply_overrides(source.data, overrides)
    places = _Places(source=source, overridden=overridden)
    recipe, faults = _judged(overridden.data, checks)
    if begun and faults:
        recipe, faults = _judged_as_begun(overridden.data, source.data, checks, faults)
    problems = [*source.problems, *sorted(map(places.problem, faults), key=_in_order), *overridden.problems]
    if problems or recipe is None:
        raise RecipeError(sorted(problems, key=_in_order))
    folder = Path(path).parent.absolute()
    return _make_paths_absolute(recipe, lambda place: Path.cwd() if places.is_overridden(place) else folder)


def _validated(data: YamlMapping, context: str | None = None) -> tuple[Recipe | None, list[Fault]]:
    """The recipe, or None and every fault that the schema finds."""
    try:
        return Recipe.model_validate(data, context=context), []
    except ValidationError as error:
        return None, faults_of(error.errors(include_url=False), data)


def _judged_as_begun(
    data: YamlMapping, own: YamlMapping, checks: Sequence[Check], faults: Sequence[Fault]
) -> tuple[Recipe | None, list[Fault]]:
    """The same of a run's recipe with overrides: faults of its `own` count only where it cannot be read."""
    recipe, unreadable = _validated(data, BEGUN)
    accepted = [*unreadable, *_judged(own, checks)[1]]
    return recipe, unreadable + [fault for fault in faults if fault not in accepted]


def _judged(data: YamlMapping, checks: Sequence[Check]) -> tuple[Recipe | None, list[Fault]]:
    """The recipe, or None and every fault that the schema and the cross checks find."""
    recipe, faults = _validated(data)
    # one fault a place: where the schema refuses a value already, what else is wrong with it would only confuse
    for place, message in [*cross_checks(data), *(fault for check in checks for fault in check(data))]:
        if place not in {taken for taken, _ in faults}:
            faults.append((place, message))
    return recipe, faults


@dataclass(frozen=True, kw_only=True)
class _Places:
    """Finds where a fault stands: on a line of the file, or on the command line."""

    source: Source
    overridden: Overridden

    def is_overridden(self, place: YamlPath) -> bool:
        """Whether the value at a place comes from `--set`: itself, or the section it stands in."""
        return any(place[:depth] in self.overridden.paths for depth in range(len(place) + 1))

    def problem(self, fault: Fault) -> Problem:
        """The problem with its line; what is missing is shown at the section that should hold it."""
        place, message = fault
        if self.is_overridden(place):
            return Problem(path="--set", key=".".join(map(str, place)), message=message)
        positions = self.source.positions
        if place in positions:
            # an unknown key is wrong itself, of other faults the value is
            found = positions[place]
            at = found.key if message.startswith("unknown key") else found.value
        else:
            # the nearest section around it, or the file's first key
            around = (positions[place[:n]] for n in range(len(place) - 1, 0, -1) if place[:n] in positions)
            nearest = next(chain(around, positions.values()), None)
            at = nearest.key if nearest else (1, 1)
        return self.source.problem(place, at, message)


def _in_order(problem: Problem) -> tuple[bool, int, int]:
    """By line; what has no line comes last."""
    return problem.line == 0, problem.line, problem.column


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
    # people read it on terminals: where a name holds what steers one, all that is not ASCII is escaped
    text = _as_yaml(sections, unicode=True)
    return text if shown(text) == text else _as_yaml(sections, unicode=False)


def _as_yaml(sections: Mapping[str, object], *, unicode: bool) -> str:
    return str(yaml.dump(sections, Dumper=_Dumper, sort_keys=False, allow_unicode=unicode, width=110))


def _make_paths_absolute(recipe: Recipe, base_of: Callable[[YamlPath], Path]) -> Recipe:
    """The recipe with every path absolute, from the folder that `base_of` gives for its place, and `~` expanded."""
    # paths stand among the keys of `data`, and in forms of backbone.weights and backbone.cache
    given = {name: getattr(recipe.data, name) for name in type(recipe.data).model_fields}
    data = {name: _join(base_of(("data", name)), path) for name, path in given.items() if isinstance(path, Path)}
    weights = _weights(recipe.backbone.weights, base_of(("backbone", "weights")))
    cache = recipe.backbone.cache
    if cache not in ("auto", "off"):
        cache = str(_join(base_of(("backbone", "cache")), Path(cache)))
    backbone = recipe.backbone.model_copy(update={"weights": weights, "cache": cache})
    original = recipe.original
    if original is not None and original.weights is not None:
        place = _join(base_of(("original", "weights")), original.weights)
        original = original.model_copy(update={"weights": place})
    changed = {"data": recipe.data.model_copy(update=data), "backbone": backbone, "original": original}
    return recipe.model_copy(update=changed)


def missing_places(recipe: Recipe) -> list[tuple[str, Path]]:
    """Files and folders that a recipe names and that are not there, each with its key."""
    named = {f"data.{name}": getattr(recipe.data, name) for name in type(recipe.data).model_fields}
    weights = recipe.backbone.weights.removeprefix(_LOCAL)
    if weights != recipe.backbone.weights or (weights.endswith(WEIGHT_FILES) and not weights.startswith("hf-hub:")):
        named["backbone.weights"] = Path(weights)
    if recipe.original is not None:
        named["original.weights"] = recipe.original.weights
    patterns = recipe.data.source == "webdataset"
    return [(key, place) for key, place in named.items() if isinstance(place, Path) and not _is_there(place, patterns)]


def _is_there(place: Path, may_be_pattern: bool) -> bool:
    """Whether a file or folder exists; of a pattern, the folder in which it begins."""
    plain = Path(*takewhile(lambda part: not set(part) & set("{*?["), place.parts)) if may_be_pattern else place
    return place.exists() or plain.exists()


def _weights(text: str, base: Path) -> str:
    """Paths among the forms of backbone.weights made absolute; the other forms as they are."""
    if text.startswith(_LOCAL):
        return _LOCAL + str(_join(base, Path(text.removeprefix(_LOCAL))))
    if text.endswith(WEIGHT_FILES) and not text.startswith("hf-hub:"):
        return str(_join(base, Path(text)))
    return text


def public_weights(text: str) -> str:
    """What others are told of `backbone.weights`: of a path its last part, for folders name machines and people."""
    if text.startswith(_LOCAL):
        return _LOCAL + Path(text.removeprefix(_LOCAL)).name
    return Path(text).name if text.endswith(WEIGHT_FILES) and not text.startswith("hf-hub:") else text


def _join(base: Path, path: Path) -> Path:
    """Absolute and without `..`, links left as they are."""
    try:
        path = path.expanduser()
    except RuntimeError:
        return path  # a `~user` that this machine does not know: opening it will say so
    return Path(os.path.abspath(base / path))  # Path.resolve would follow links
