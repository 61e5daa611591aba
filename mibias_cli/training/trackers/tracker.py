"""What every tracker of runs does, which of them there are, and what they need; it loads none of them."""

from __future__ import annotations

import importlib.util
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from mibias_cli.errors import TrainingError
from mibias_cli.output.whole_files import write_atomically

__all__ = ["EXTRAS", "TRACKER_FILE", "Tracked", "Tracker", "lacking_trackers", "plain_name", "require_trackers"]

EXTRAS = ("wandb", "mlflow")
"""Trackers whose package, of the same name, is an extra of that name."""
TRACKER_FILE = "trackers.json"
"""In a run's folder: by which id each tracker knows the run, so that a resumed one goes on under it."""


class Tracker(Protocol):
    """Where the figures of a run go beside metrics.jsonl."""

    def write(self, step: int, numbers: Mapping[str, float]) -> None:
        """The figures of one step, by their names."""

    def attach(self, name: str, folder: Path) -> None:
        """A folder of the finished run, `report` or `export`, as an artefact of that name."""

    def close(self, *, failed: bool) -> None:
        """The run has ended, well or not."""


@dataclass(frozen=True, kw_only=True)
class Tracked:
    """A run as trackers are told of it.

    Args:
        folder: Of the run; what a tracker stores offline lies below it.
        name: The recipe's.
        settings: The whole recipe as plain values.
    """

    folder: Path
    name: str
    settings: Mapping[str, object]

    @property
    def title(self) -> str:
        """Its name among the runs of one recipe: that of its folder."""
        return self.folder.resolve().name

    def known_id(self, tracker: str) -> str | None:
        """By which id a tracker knows the run already, or None."""
        found = self._ids().get(tracker)
        return found if isinstance(found, str) else None

    def keep_id(self, tracker: str, run_id: str) -> None:
        """Write down by which id a tracker knows the run from now on."""
        text = json.dumps({**self._ids(), tracker: run_id}, indent=2) + "\n"
        write_atomically(self.folder / TRACKER_FILE, text)

    def _ids(self) -> dict[str, object]:
        try:
            found = json.loads((self.folder / TRACKER_FILE).read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError):
            return {}
        return found if isinstance(found, dict) else {}


def lacking_trackers(names: Sequence[object]) -> Iterator[tuple[int, str]]:
    """The trackers of a list whose package is not installed: the place of each, and what to do."""
    for i, name in enumerate(names):
        if name in EXTRAS and not _is_installed(str(name)):
            yield i, f"{name} is not installed; pip install 'mibias[{name}]', or leave {name} out"


def _is_installed(package: str) -> bool:
    """Whether a package is there; a folder of its name is none, and W&B keeps its runs in one, `wandb/`."""
    spec = importlib.util.find_spec(package)
    return spec is not None and spec.origin is not None


def require_trackers(names: Sequence[str]) -> None:
    """Raise a TrainingError where a tracker's package is not installed."""
    for _, text in lacking_trackers(names):
        raise TrainingError(f"logging: {text}")


def plain_name(name: str) -> str:
    """A figure's name with what MLflow refuses in one (`: ` and other signs of attributes) replaced.

    Example:
        >>> plain_name("validation/skin type (I–VI)/leakage_bits")
        'validation/skin type _I_VI_/leakage_bits'
        >>> plain_name("train/a//../b/mi_bits")
        'train/a/_/_/b/mi_bits'
    """
    # as a path it must lead nowhere else
    parts = re.sub(r"[^A-Za-z0-9_\-. /]", "_", name).split("/")
    return "/".join("_" if part in ("", ".", "..") else part for part in parts)
