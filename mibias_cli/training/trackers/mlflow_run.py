"""A run in MLflow: in a file store in the run's folder, or where MLFLOW_TRACKING_URI says."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from mibias_cli.backbone.weights.network import require_network
from mibias_cli.training.trackers.tracker import Tracked, plain_name

__all__ = ["MLFLOW_FOLDER", "MlflowRun"]

MLFLOW_FOLDER = "mlruns"
_LONGEST_VALUE, _MOST_PARAMS = 500, 100
"""Characters of a parameter that every version and store takes, and parameters that one call may have."""


class MlflowRun:
    """A run of the experiment that MLFLOW_EXPERIMENT_NAME names, else of the recipe's name."""

    def __init__(self, tracked: Tracked) -> None:
        uri = os.environ.get("MLFLOW_TRACKING_URI")
        if not uri:
            # newer versions refuse a store of files that nobody asked for
            os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")
            uri = (tracked.folder.resolve() / MLFLOW_FOLDER).as_uri()
        elif uri.startswith("http"):
            # its client would try again for minutes
            require_network(uri, what="MLFLOW_TRACKING_URI")
        # who sets nothing goes online for nothing
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        from mlflow.tracking import MlflowClient

        self._client = MlflowClient(tracking_uri=uri)
        known = tracked.known_id("mlflow")
        self._id = known if known is not None and self._goes_on(known) else self._begin(tracked)

    def write(self, step: int, numbers: Mapping[str, float]) -> None:
        """The figures of one step, in one call."""
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        metrics = [Metric(plain_name(name), value, now, step) for name, value in numbers.items()]
        self._client.log_batch(self._id, metrics=metrics)

    def attach(self, name: str, folder: Path) -> None:
        """A folder's files as artefacts below its name."""
        self._client.log_artifacts(self._id, str(folder), artifact_path=name)

    def close(self, *, failed: bool) -> None:
        """The run's state: finished or failed."""
        self._client.set_terminated(self._id, status="FAILED" if failed else "FINISHED")

    def _goes_on(self, run_id: str) -> bool:
        """Whether the run is there to be continued; of another store it may not be."""
        from mlflow.exceptions import MlflowException

        try:
            self._client.update_run(run_id, status="RUNNING")
        except MlflowException:
            return False
        return True

    def _begin(self, tracked: Tracked) -> str:
        from mlflow.entities import Param

        name = os.environ.get("MLFLOW_EXPERIMENT_NAME") or tracked.name
        found = self._client.get_experiment_by_name(name)
        experiment = self._client.create_experiment(name) if found is None else found.experiment_id
        run_id: str = self._client.create_run(experiment, run_name=tracked.title).info.run_id
        tracked.keep_id("mlflow", run_id)
        params = [Param(key, value[:_LONGEST_VALUE]) for key, value in _flat(tracked.settings)]
        for start in range(0, len(params), _MOST_PARAMS):
            self._client.log_batch(run_id, params=params[start : start + _MOST_PARAMS])
        return run_id


def _flat(values: Mapping[str, object], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Nested settings as dotted keys and texts."""
    for key, value in values.items():
        # keys that users chose (columns, cells) stay text: MLflow refuses some, and takes others for folders
        if isinstance(value, Mapping) and all(re.fullmatch(r"[A-Za-z_]\w*", str(each), re.ASCII) for each in value):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", str(value)
