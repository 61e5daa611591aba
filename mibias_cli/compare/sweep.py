"""Sweeps: a recipe over a grid of settings, each point a run of its own in a process of its own.

A sweep is resumed by giving the same command again: points whose runs are finished are skipped, half-finished ones go
on from their last checkpoint. Given on several machines at a time, each trains what no other is at.
"""

from __future__ import annotations

import hashlib
import itertools
import math
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from mibias_cli.compare.jobs import Point, claim_of, gpu_slots, is_finished, run_all
from mibias_cli.data.files.tabular import first_rows
from mibias_cli.errors import BackboneError, DataError, Problem, RecipeError, RunError
from mibias_cli.gates.recipe_names import gate_name_faults
from mibias_cli.output.machine import writing
from mibias_cli.progress import Progress
from mibias_cli.recipe.begun import differing_settings, read_beginning
from mibias_cli.recipe.load import load_recipe
from mibias_cli.recipe.schema import Recipe
from mibias_cli.recipe.unbelievable import debiased_target
from mibias_cli.recipe.yaml_source import parse_value
from mibias_cli.run_folder import RunFolder, has_locks, holds_nothing, is_locked, is_run

__all__ = [
    "Axis",
    "SweepResult",
    "make_points",
    "parse_axis",
    "plain_points",
    "points_to_run",
    "run_sweep",
]

MAX_POINTS = 1000
_SAFE = re.compile(r"[^A-Za-z0-9._=+-]+")
_LONGEST = 80


@dataclass(frozen=True, kw_only=True)
class Axis:
    """One setting and the values that it takes, as YAML texts."""

    key: str
    values: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class SweepResult:
    """What became of a sweep: the folders of finished runs by name, how many were there already, and what failed.

    `elsewhere` are the names of points that another process is at: another sweep of the same folder, or `train`.
    """

    finished: Mapping[str, Path]
    n_skipped: int
    failed: Mapping[str, str]
    elsewhere: tuple[str, ...] = ()


def parse_axis(text: str) -> Axis:
    """Read `KEY=VALUE,VALUE,…`; values are YAML, so that lists and quoted text may hold commas.

    Raises:
        RecipeError: It is no such text, or a value comes twice.

    Example:
        >>> parse_axis("debias.weight=0,1e-1").values
        ('0', '1e-1')
        >>> parse_axis("representation.layers=[features],[features, output]").values
        ('[features]', '[features, output]')
    """
    key, equals, listed = text.partition("=")
    if not equals or not key.strip() or not listed.strip():
        raise _refused(text, "write --over KEY=VALUE,VALUE,…, for example --over debias.weight=0,1,2")
    values = tuple(part.strip() for part in _split(listed))
    for value in values:
        if not value:
            raise _refused(key, f"a value is empty in {listed!r}")
        try:
            parse_value(value)
        except RecipeError as error:
            raise _refused(key, f"{error.problems[0].message}, in {value!r}") from error
    twice = [value for value, n in Counter(values).items() if n > 1]
    if twice:
        raise _refused(key, f"{twice[0]} is named twice")
    return Axis(key=key.strip(), values=values)


def _split(text: str) -> Iterator[str]:
    """Parts between the commas that stand outside brackets and quotes."""
    depth, quote, part = 0, "", ""
    for character in text:
        # a comma counts only outside quotes and brackets
        if quote:
            quote = "" if character == quote else quote
        elif character in "\"'":
            quote = character
        elif character in "[{":
            depth += 1
        elif character in "]}":
            depth -= 1
        if character == "," and depth == 0 and not quote:
            yield part
            part = ""
        else:
            part += character
    yield part


def _refused(key: str, message: str) -> RecipeError:
    return RecipeError([Problem(path="--over", line=0, column=0, key=key, message=message)])


def make_points(axes: Sequence[Axis]) -> list[Point]:
    """The grid of all values of all axes, the last axis fastest.

    Raises:
        RecipeError: An axis comes twice, or the grid is very large.

    Example:
        >>> [p.name for p in make_points([parse_axis("debias.weight=0,1"), parse_axis("seed=0,1")])]
        ['debias.weight=0,seed=0', 'debias.weight=0,seed=1', 'debias.weight=1,seed=0', 'debias.weight=1,seed=1']
    """
    keys = [axis.key for axis in axes]
    for key in keys:
        if keys.count(key) > 1:
            raise _refused(key, "is swept twice; give all its values at once")
    # counted before it is made: a grid of a few axes can be too large to hold
    n_points = math.prod(len(axis.values) for axis in axes)
    if n_points > MAX_POINTS:
        raise _refused(", ".join(keys), f"{n_points} runs; at most {MAX_POINTS} make a sweep")
    grid = itertools.product(*(axis.values for axis in axes))
    return [_point([f"{key}={value}" for key, value in zip(keys, values, strict=True)]) for values in grid]


def _point(overrides: list[str]) -> Point:
    """A point with a name that is a folder's: made plain and short, then told apart by a hash."""
    written = ",".join(overrides)
    name = ",".join(_SAFE.sub("_", text).strip("_.") for text in overrides)
    if name != written or len(name) > _LONGEST:
        name = f"{name[:_LONGEST]}-{hashlib.sha256(written.encode()).hexdigest()[:8]}"
    return Point(name=name, overrides=tuple(overrides))


def run_sweep(
    recipe: Path,
    points: Sequence[Point],
    *,
    out: Path,
    overrides: Sequence[str] = (),
    options: Sequence[str] = (),
    jobs: int = 1,
    progress: Progress,
    on_finished: Callable[[Mapping[str, Path]], None] = lambda _: None,
) -> SweepResult:
    """Train every point that is neither finished nor another process's at this time, `jobs` at a time.

    Runs are folders of `out`, their output is in `logs/` there. `overrides` hold for every point, `options` are further
    ones of `mibias train`. Sweeps of several machines may share a folder, each point is then one's. After each run
    `on_finished` gets the folders of all that are finished, by name.

    Raises:
        RecipeError: A point's recipe has problems; said before anything runs.
        RunError: A folder is in the way, or was made by another recipe.
    """
    # every fault is found before the first of perhaps many hours of training
    todo = points_to_run(recipe, points, out, overrides, offline="--offline" in options)
    n_skipped, failed = len(points) - len(todo), dict[str, str]()
    if n_skipped:
        progress.note(f"{n_skipped} of {len(points)} runs are finished already")
    with writing(out / "logs"):
        (out / "logs").mkdir(parents=True, exist_ok=True)
    if not has_locks(out / "logs"):
        progress.warn(f"{out}: this file system has no locks; let no other sweep or training use this folder")
    # what there is is shared by as many runs as there can be at a time
    n_jobs = max(1, min(jobs, len(todo)))
    slots = gpu_slots(n_jobs, _most_devices(recipe, todo, overrides) if n_jobs > 1 else 1)
    progress.begin("runs", len(todo))
    for n_done, (point, problem) in enumerate(run_all(recipe, todo, out, overrides, options, slots), start=1):
        if problem:
            failed[point.name] = problem
            progress.warn(f"{point.name}: {problem}")
        else:
            progress.note(f"finished {point.name}")
            on_finished(_finished(points, out))
        progress.advance(n_done)
    progress.end()
    finished = _finished(points, out)
    elsewhere = tuple(point.name for point in points if point.name not in finished and point.name not in failed)
    return SweepResult(finished=finished, n_skipped=n_skipped, failed=failed, elsewhere=elsewhere)


def _most_devices(recipe: Path, points: Sequence[Point], overrides: Sequence[str]) -> int:
    """GPUs that each job needs: of the points, for the recipe by itself may lack what each of them sets."""
    return max(load_recipe(recipe, [*overrides, *point.overrides]).training.devices for point in points)


def _finished(points: Sequence[Point], out: Path) -> dict[str, Path]:
    """Folders of all points that are finished by now, another sweep's too, in order."""
    return {point.name: out / point.name for point in points if is_finished(out / point.name)}


def points_to_run(
    recipe: Path, points: Sequence[Point], out: Path, overrides: Sequence[str], *, offline: bool = False
) -> list[Point]:
    """The points that are still to be run, after every recipe has been read and every folder looked at.

    Raises:
        RecipeError: A point's recipe has problems.
        RunError: A folder is in the way, or was made by another recipe, or of other data than there are now.
    """
    if out.exists() and not out.is_dir():
        raise RunError(f"{out}: is a file; choose another folder with --out")
    todo = []
    begun: dict[str, Recipe] = {}
    for point in points:
        # the recipe as `train` would write it, so that a run made by another one is told from a half-finished one
        settings = [*overrides, *point.overrides]
        own = load_recipe(recipe, settings, checks=[gate_name_faults, debiased_target])
        folder = out / point.name
        if is_run(folder):
            _refuse_other_recipe(folder, own)
            begun[point.name] = own
        # a training that has just begun has no recipe there yet, nor one that another sweep begins anew
        elif not holds_nothing(folder) and not is_locked(folder) and not is_locked(claim_of(point, out)):
            raise RunError(f"{folder}: is in the way and is not a run; choose another folder with --out")
        if not is_finished(folder):
            todo.append(point)
    faults = [*_other_data(out, begun, offline)]
    if faults:
        said = f"{out}: of this sweep, runs are of other data than there are now:"
        raise RunError("\n  ".join([said, *faults]) + "\nundo that, or sweep anew with another --out; `mibias compare` "
                       "shows runs as they are")  # fmt: skip
    return todo


def _refuse_other_recipe(folder: Path, wanted: Recipe) -> None:
    """Settings are compared, not texts: those of an older version lack keys, or have them under older names."""
    try:
        found = load_recipe(RunFolder(folder).recipe, begun=True)
    except RecipeError:
        if is_run(folder):
            raise
        return  # another sweep has just cleared it, to begin it anew
    if faults := [text for _, text, _ in differing_settings(found, wanted)]:
        raise RunError(f"{folder}: was made by another recipe ({first_rows(faults)}); choose another folder with --out")


def _other_data(out: Path, begun: Mapping[str, Recipe], offline: bool) -> Iterator[str]:
    """Runs that were begun with other data than their recipes name now, each with what differs, in words."""
    parts: dict[str, Mapping[str, str]] = {}
    for name, recipe in begun.items():
        beginning = read_beginning(RunFolder(out / name))
        if beginning is None:
            continue
        from mibias_cli.run.build import build_data
        from mibias_cli.run.resume.data_parts import data_parts
        from mibias_cli.run.resume.same_run import data_faults

        # of most sweeps all runs are of the same data, which are read once
        key = recipe.model_dump_json(include={"data", "seed", "backbone", "evaluation"})
        try:
            if key not in parts:
                parts[key] = data_parts(build_data(recipe, offline=offline))
        except (DataError, BackboneError):
            continue  # finished runs are compared without their data; others will say what is wrong
        if faults := data_faults(beginning, parts[key]):
            yield f"{name}: {first_rows(faults)}"


def plain_points(points: Sequence[Point]) -> list[dict[str, object]]:
    """The points as plain data, for `--dry-run`."""
    return [asdict(point) for point in points]
