"""What commands check of a recipe beside its schema: names in gates, and trackers that are not installed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mibias_cli.recipe.checks import Check
    from mibias_cli.recipe.messages import Fault
    from mibias_cli.recipe.yaml_source import YamlMapping

__all__ = ["recipe_checks"]


def recipe_checks(*, trains: bool = False) -> list[Check]:
    """For `load_recipe`; what does the checking is imported now, and not with the command line.

    Args:
        trains: Whether the recipe is to be trained, not only to name data for an audit.
    """
    from mibias_cli.gates.recipe_names import gate_name_faults
    from mibias_cli.recipe.unbelievable import debiased_target

    return [gate_name_faults, _tracker_faults, *([debiased_target] if trains else [])]


def _tracker_faults(data: YamlMapping) -> Iterator[Fault]:
    """Trackers in `logging` whose package is an extra that is not installed."""
    from mibias_cli.training.trackers.tracker import lacking_trackers

    names = data.get("logging")
    for i, text in lacking_trackers(names if isinstance(names, list) else []):
        yield ("logging", i), text
