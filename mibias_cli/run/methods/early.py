"""Models that are trained for a few epochs and not kept: what they learn first shows the bias."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from mibias_cli.backbone.trainable import parameter_groups
from mibias_cli.methods.method import Method
from mibias_cli.progress import Progress
from mibias_cli.run.assemble import Parts
from mibias_cli.run.build import optim_settings
from mibias_cli.training.loop import StageTrainer
from mibias_cli.training.model import TaskModel
from mibias_cli.training.run_log import NoLog, RunLog

__all__ = ["early_trainer", "train_early"]


def train_early(
    parts: Parts, model: TaskModel, *, epochs: int, progress: Progress, method: Method | None = None
) -> None:
    """Train a model, and a method's second one alike, for a few epochs; log and checkpoints are thrown away."""
    with early_trainer(parts, model, epochs=epochs, progress=progress, method=method) as trainer:
        trainer.fit()


@contextmanager
def early_trainer(
    parts: Parts, model: TaskModel, *, epochs: int, progress: Progress, method: Method | None = None
) -> Iterator[StageTrainer]:
    """What `train_early` trains with."""
    recipe, settings = parts.recipe, optim_settings(parts.recipe.training, epochs=epochs)
    groups = []
    for one in (model, None if method is None else method.network):
        if one is not None:
            one.to(parts.fabric.device)
            rate = settings.learning_rate
            groups += parameter_groups(one.extractor, train=recipe.backbone.train, learning_rate=rate)
            groups.append({"params": list(one.head.parameters()), "lr": rate, "weight_decay": 0.0})
    with TemporaryDirectory() as folder, RunLog(Path(folder)) if parts.ranks.is_first else NoLog() as log:
        yield StageTrainer(
            stage="discover",
            fabric=parts.fabric,
            model=model,
            groups=groups,
            debiaser=None,
            data=parts.data,
            weights={"train": {}, "validation": {}},
            settings=settings,
            run=Path(folder),
            out_path=Path(folder) / "early.safetensors",
            run_log=log,
            progress=progress,
            seed=recipe.seed,
            ranks=parts.ranks,
            method=method,
        )
