"""What commands check of a recipe beside its schema: names in gates, trackers that are not installed, unread keys."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mibias_cli.recipe.checks import Check
    from mibias_cli.recipe.messages import Fault
    from mibias_cli.recipe.yaml_source import YamlMapping

__all__ = ["recipe_checks", "unread_keys"]

# by section, the keys that an audit reads; of sections that are not named it reads all
_READ: Mapping[str, tuple[str, ...]] = {
    "name": (), "logging": (), "export": (), "method_settings": (), "original": (),
    "training": ("device", "deterministic", "channels_last", "batch_size", "num_workers"),
    "discover": ("by", "clusters"),
    "debias": ("attributes", "objective", "budget_bits", "erase"),
}  # fmt: skip
_TRAINED = ("backbone.train", "backbone.layer_decay", "backbone.freeze_batchnorm", "backbone.cache_views")


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


def unread_keys(overrides: Sequence[str]) -> list[str]:
    """The keys among `KEY=VALUE` texts that training or export reads, and no audit.

    Example:
        >>> unread_keys(["training.epochs=3", "evaluation.confidence=0.9", "training.device=cpu"])
        ['training.epochs']
    """
    found = []
    for key in (text.partition("=")[0].strip() for text in overrides):
        section, _, name = key.partition(".")
        # a section that is set as a whole may be there or not, which an audit does read
        whole = not name and section not in ("name", "logging")
        if key in _TRAINED or (section in _READ and not whole and name.split(".")[0] not in _READ[section]):
            found.append(key)
    return list(dict.fromkeys(found))
