"""A run in Weights & Biases: offline in the run's folder, unless WANDB_MODE says otherwise."""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping
from pathlib import Path

from mibias_cli.training.trackers.tracker import Tracked

__all__ = ["WandbRun"]

_TYPES = {"report": "report", "export": "model"}


class WandbRun:
    """A run of the project that WANDB_PROJECT names, else of `mibias`; `wandb sync` uploads what was kept offline."""

    def __init__(self, tracked: Tracked) -> None:
        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
        import wandb

        self._wandb = wandb
        run_id = tracked.known_id("wandb") or secrets.token_hex(4)
        self._run = wandb.init(
            project=os.environ.get("WANDB_PROJECT") or "mibias",
            id=run_id,
            resume="allow",
            name=tracked.title,
            group=tracked.name,
            dir=tracked.folder,
            config=dict(tracked.settings),
            # None: WANDB_MODE decides
            mode=None if os.environ.get("WANDB_MODE") else "offline",
            # what is on the terminal, and the machine, its user and their repository, are nobody else's business
            settings=wandb.Settings(
                silent=True, console="off", disable_git=True, disable_code=True, x_disable_meta=True,
                x_disable_machine_info=True, x_disable_stats=True,
            ),
        )  # fmt: skip
        tracked.keep_id("wandb", run_id)
        # stages count their steps anew, and a resumed run repeats some: W&B's own counter may do neither
        self._run.define_metric("step")
        self._run.define_metric("*", step_metric="step")
        self._name = tracked.name

    def write(self, step: int, numbers: Mapping[str, float]) -> None:
        """The figures of one step."""
        self._run.log({"step": step, **numbers})

    def attach(self, name: str, folder: Path) -> None:
        """A folder as an artefact; its files stay where they are until they are uploaded."""
        artifact = self._wandb.Artifact(f"{self._name}-{name}", type=_TYPES.get(name, name))
        artifact.add_dir(str(folder), policy="immutable")
        self._run.log_artifact(artifact)

    def close(self, *, failed: bool) -> None:
        """The run's end, and whether it went well."""
        self._run.finish(exit_code=int(failed))
