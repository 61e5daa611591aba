"""Compare finished runs: their reports, and in which settings of their recipes they differ."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from pydantic import JsonValue

from mibias_cli.compare.comparison import compare_reports
from mibias_cli.compare.records import ComparedRun, Comparison
from mibias_cli.errors import RecipeError, RunError
from mibias_cli.recipe.begun import load_run_recipe
from mibias_cli.recipe.load import dump_recipe
from mibias_cli.recipe.yaml_source import parse_yaml
from mibias_cli.report.illustrations import MetricsRecord, read_metrics
from mibias_cli.report.read import FILES, find_report, read_report
from mibias_cli.run_folder import CHOICE, GAIN, GAIN_ERROR, LEAKAGE_GIVEN_TARGET, RECIPE_FILE, is_run

__all__ = ["compare", "flat_settings", "load_compared_run"]

_SAYS_NOTHING = ("name", "version")


def compare(places: Sequence[Path], *, names: Sequence[str] | None = None) -> Comparison:
    """Compare runs, exports or reports; see :func:`mibias_cli.compare.comparison.compare_reports` for what comes out.

    Without names, runs are called by the shortest ends of their paths that tell them apart.

    Raises:
        RunError: One of them holds no report, or is named twice.
    """
    reports = [find_report(place).resolve() for place in places]
    for k, report in enumerate(reports):
        if report in reports[:k]:
            raise RunError(f"{places[k]}: is the same report as {places[reports.index(report)]}; name it once")
    called = names or _short_names(places)
    return compare_reports([load_compared_run(place, name) for place, name in zip(places, called, strict=True)])


def load_compared_run(place: Path, name: str) -> ComparedRun:
    """The report of a place, and the settings of the run that it belongs to, if it belongs to one."""
    path = find_report(place)
    folder = place if place.is_dir() else path.parent
    # a report lies in the run's folder or in its `report`; one that was copied elsewhere has no run
    run = next((candidate for candidate in (folder, folder.parent) if is_run(candidate)), None)
    settings = {} if run is None else _settings(run)
    page = path.with_name(FILES["html"])
    records = () if run is None else read_metrics(run / "metrics.jsonl")
    kept = _kept(records, settings)
    return ComparedRun(
        name=name,
        report=read_report(path),
        settings=settings,
        gain_over_bias_bits=_last(kept, GAIN),
        gain_error_bits=_last(kept, GAIN_ERROR),
        leakage_given_target_bits=_last([r for r in records if r.kind == CHOICE], LEAKAGE_GIVEN_TARGET),
        page=page if page.is_file() else None,
    )


def _settings(run: Path) -> dict[str, JsonValue]:
    recipe = run / RECIPE_FILE
    text = recipe.read_text(encoding="utf-8")
    # an edited one would tell of settings that the run did not have; one of an older version lacks keys, or has them
    # under older names; one that this version cannot read is taken as it is
    with suppress(RecipeError):
        text = dump_recipe(load_run_recipe(run))
    try:
        return flat_settings(parse_yaml(text, path=str(recipe)).data)
    except RecipeError:
        # figures can be compared without settings
        return {}


def _kept(records: Sequence[MetricsRecord], settings: Mapping[str, JsonValue]) -> list[MetricsRecord]:
    """Validation up to the weights that a run kept: those of its last epoch, or the best by a metric."""
    checked = [r for r in records if r.kind == "validation" and r.stage == "debias"]
    metric = settings.get("training.select.metric")
    if metric is not None:
        # the same choice that training made when it kept the best epoch's weights
        sign = -1 if settings.get("training.select.mode") == "min" else 1
        figures = [(sign * figure, r) for r in checked if (figure := _last([r], str(metric))) is not None]
        checked = [max(figures, key=lambda pair: pair[0])[1]] if figures else []
    return checked


def _last(records: Sequence[MetricsRecord], name: str) -> float | None:
    return records[-1].figure(name) if records else None


def flat_settings(recipe: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
    """A parsed recipe with dotted keys; lists are values.

    Example:
        >>> flat_settings({"seed": 0, "debias": {"critic": {"steps": 5}}})
        {'seed': 0, 'debias.critic.steps': 5}
    """
    flat: dict[str, JsonValue] = {}
    for key, value in recipe.items():
        # a name or a version tells no setting from another
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
    # from the end, because runs of one study lie beside each other
    for n in range(1, max(map(len, whole)) + 1):
        names = ["/".join(parts[-n:]) for parts in whole]
        if len(set(names)) == len(names):
            return names
    # the same place was named twice
    return [f"{'/'.join(parts[-1:])} ({k})" for k, parts in enumerate(whole, start=1)]
