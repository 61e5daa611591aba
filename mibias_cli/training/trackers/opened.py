"""The trackers of a run, opened; one that fails later is left out with a warning, and training goes on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from mibias_cli.errors import MibiasError, TrainingError
from mibias_cli.training.trackers.mlflow_run import MlflowRun
from mibias_cli.training.trackers.tensorboard import TensorBoard
from mibias_cli.training.trackers.tracker import Tracked, Tracker, require_trackers
from mibias_cli.training.trackers.wandb_run import WandbRun

__all__ = ["open_trackers"]

_OPENED: dict[str, Callable[[Tracked], Tracker]] = {"wandb": WandbRun, "mlflow": MlflowRun}


def open_trackers(names: Sequence[str], tracked: Tracked, warn: Callable[[str], None]) -> list[Tracker]:
    """The trackers that a recipe names; metrics.jsonl is none, as it is always written.

    Raises:
        TrainingError: A package is not installed, or a tracker cannot be begun: nothing is trained yet.
    """
    require_trackers(names)
    opened: list[Tracker] = []
    for name in dict.fromkeys(names):
        if name == "tensorboard":
            opened.append(TensorBoard(tracked.folder / "tensorboard"))
        elif name in _OPENED:
            try:
                opened.append(_Guarded(name, _OPENED[name](tracked), warn))
            except Exception as error:
                for tracker in opened:
                    tracker.close(failed=True)
                said = str(error) if isinstance(error, MibiasError) else f"{type(error).__name__}: {error}"
                raise TrainingError(f"logging: {name} cannot begin a run: {said}; or leave {name} out") from error
    return opened


class _Guarded:
    """A tracker of others, which may fail at any time: on a server, in a library. It costs no run."""

    def __init__(self, name: str, tracker: Tracker, warn: Callable[[str], None]) -> None:
        self._name = name
        self._tracker: Tracker | None = tracker
        self._warn = warn

    def write(self, step: int, numbers: Mapping[str, float]) -> None:
        """The figures of one step, if the tracker still works."""
        self._try(lambda tracker: tracker.write(step, numbers))

    def attach(self, name: str, folder: Path) -> None:
        """A folder as an artefact, if the tracker still works."""
        self._try(lambda tracker: tracker.attach(name, folder))

    def close(self, *, failed: bool) -> None:
        """The run's end, if the tracker still works."""
        self._try(lambda tracker: tracker.close(failed=failed))

    def _try(self, act: Callable[[Tracker], None]) -> None:
        if self._tracker is None:
            return
        try:
            act(self._tracker)
        except Exception as error:  # whatever a library of others raises
            self._tracker = None
            text = f"{self._name} takes no more of this run ({type(error).__name__}: {error}); metrics.jsonl has it all"
            self._warn(text)
