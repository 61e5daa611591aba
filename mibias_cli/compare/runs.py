"""Compare finished runs: their reports, and in which settings of their recipes they differ."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mibias_cli.compare.comparison import ComparedRun, Comparison, compare_reports
from mibias_cli.errors import RecipeError
from mibias_cli.recipe.yaml_source import parse_yaml
from mibias_cli.report.illustrations import read_metrics
from mibias_cli.report.read import find_report, read_report
from mibias_cli.run_folder import CHOICE, LEAKAGE_GIVEN_TARGET, RECIPE_FILE, is_run

__all__ = ["compare", "flat_settings", "load_compared_run"]

GAIN = "validation/gain_over_bias_bits"
"""What a run's scores add to what the attributes tell of the target, as training writes it."""
_SAYS_NOTHING = ("name", "version")


def compare(places: Sequence[Path], *, names: Sequence[str] | None = None) -> Comparison:
    """Compare runs, exports or reports; see :func:`mibias_cli.compare.comparison.compare_reports` for what comes out.

    Args:
        places: Folders or leakage.json files.
        names: What to call them; default: the shortest ends of their paths that tell them apart.

    Raises:
        RunError: One of them holds no report.
    """
    called = names or _short_names(places)
    return compare_reports([load_compared_run(place, name) for place, name in zip(places, called, strict=True)])


def load_compared_run(place: Path, name: str) -> ComparedRun:
    """The report of a place, and the settings of the run that it belongs to, if it belongs to one."""
    path = find_report(place)
    run = _run_of(place, path)
    settings = {} if run is None else _settings(run)
    records = [] if run is None else read_metrics(run / "metrics.jsonl")
    return ComparedRun(
        name=name,
        report=read_report(path),
        settings=settings,
        gain_over_bias_bits=_gain(records, settings),
        leakage_given_target_bits=_last([r for r in records if r.get("kind") == CHOICE], LEAKAGE_GIVEN_TARGET),
    )


def _run_of(place: Path, report: Path) -> Path | None:
    """The folder of the run to which a report belongs."""
    folder = place if place.is_dir() else report.parent
    return next((candidate for candidate in (folder, folder.parent) if is_run(candidate)), None)


def _settings(run: Path) -> dict[str, Any]:
    recipe = run / RECIPE_FILE
    try:
        return flat_settings(parse_yaml(recipe.read_text(encoding="utf-8"), path=str(recipe)).data)
    except RecipeError:
        return {}


def _gain(records: Sequence[Mapping[str, Any]], settings: Mapping[str, Any]) -> float | None:
    """The figure of the weights that a run kept: its last epoch's, or those of the best by a metric."""
    checked = [r for r in records if r.get("kind") == "validation" and r.get("stage") == "debias"]
    metric = settings.get("training.select.metric")
    if metric is not None:
        checked = [r for r in checked if isinstance(r.get(metric), float)]
        best = min if settings.get("training.select.mode") == "min" else max
        checked = [best(checked, key=lambda r: r[metric])] if checked else []
    return _last(checked, GAIN)


def _last(records: Sequence[Mapping[str, Any]], name: str) -> float | None:
    value = records[-1].get(name) if records else None
    return value if isinstance(value, float) else None


def flat_settings(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """A parsed recipe with dotted keys; lists are values.

    Example:
        >>> flat_settings({"seed": 0, "debias": {"critic": {"steps": 5}}})
        {'seed': 0, 'debias.critic.steps': 5}
    """
    flat: dict[str, Any] = {}
    for key, value in recipe.items():
        if key in _SAYS_NOTHING:
            continue
        if isinstance(value, Mapping):
            flat |= {f"{key}.{inner}": item for inner, item in flat_settings(value).items()}
        else:
            flat[key] = value
    return flat


def _short_names(places: Sequence[Path]) -> list[str]:
    """The last parts of the paths, as many as it takes for no two to be the same."""
    whole = [place.absolute().parts for place in places]
    for n in range(1, max(map(len, whole)) + 1):
        names = ["/".join(parts[-n:]) for parts in whole]
        if len(set(names)) == len(names):
            return names
    return [f"{'/'.join(parts[-1:])} ({k})" for k, parts in enumerate(whole, start=1)]
