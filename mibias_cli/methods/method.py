"""What the methods of the field have in common: what one is made from, and what it adds to plain training."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from mibias_cli.data.batch import Attribute, Batch, BiasedData, Split
from mibias_cli.data.groups import bias_classes, joint_classes, target_groups
from mibias_cli.progress import Progress, Silent
from mibias_cli.training.model import TaskModel

__all__ = ["Method", "MethodSpec", "early_scores", "sample_losses"]


@dataclass(frozen=True, kw_only=True)
class MethodSpec:
    """What a method is made from.

    Args:
        model: The run's own model, which is exported.
        data: The data; the audited split is not a method's to read.
        attributes: Names of the attributes that are the bias.
        settings: By name, those of the method's row in `recipe/tables.py`.
        seed: Of everything that the method draws.
        batch_size: Rows of a step.
        new_model: Gives another model like the run's own, with weights of its own.
        trained_by: Gives a method, made from such a spec of a fresh model, after it trained that for some epochs.
        embed: Gives the features (n, d) of a split by a model in evaluation mode.
        gather: On several ranks, of each of which a batch's `x` is a share while all else is the whole: makes the whole
            batch's values, of this many rows, of those of the share.
        progress: Told of long work.
    """

    model: TaskModel
    data: BiasedData
    attributes: tuple[str, ...]
    settings: Mapping[str, float]
    seed: int
    batch_size: int
    new_model: Callable[[], TaskModel]
    trained_by: Callable[[Callable[[MethodSpec], Method], int], Method]
    embed: Callable[[TaskModel, Split], np.ndarray]
    gather: Callable[[Tensor, int], Tensor]
    progress: Progress = field(default_factory=Silent)

    @property
    def n_bias_classes(self) -> tuple[int, ...]:
        """Classes of every channel of the bias attributes."""
        return tuple(n for name in self.attributes for n in self.data.attributes[name].n_classes)

    @property
    def bias_attributes(self) -> tuple[Attribute, ...]:
        """The attributes that are the bias."""
        return tuple(self.data.attributes[name] for name in self.attributes)

    def bias(self, split: Split) -> np.ndarray:
        """Classes (n, channels) of the bias attributes of a split's rows; −1 throughout where one is missing."""
        return bias_classes(split, self.bias_attributes)

    def domains(self, *splits: Split) -> list[np.ndarray]:
        """For each split the joint class of all bias channels (n,) of its rows, see `joint_classes`."""
        return joint_classes(self.bias_attributes, *splits)

    def groups(self, *splits: Split) -> list[np.ndarray]:
        """For each split the (y, c) group (n,) of its rows, numbered as domains are."""
        return target_groups(self.bias_attributes, *splits)


class Method(nn.Module):
    """Plain training, and what every other method is a change of: of the loss, before training, or after it.

    A method is made anew in every run, also in one that is resumed. What a checkpoint must keep is a buffer or a
    parameter; parameters are trained beside the model's, as its head is, and `network` as the model itself is.
    """

    def __init__(self, spec: MethodSpec) -> None:
        super().__init__()
        # the spec is no module, so that the run's own model is none of the method's
        self.spec = spec
        # a second model that is trained beside the run's own and thrown away
        self.network: TaskModel | None = None
        # weights (n,) by which an epoch's training rows are drawn, with replacement; None: each of them once
        self.sample_by: np.ndarray | None = None
        # epochs (n,) up to which rows are read once each, in batches of their own before those that are drawn
        self.first_until: np.ndarray | None = None

    def prepare(self) -> str | None:
        """What is done once before the first step; what is to be said of it."""
        return None

    def begin_epoch(self, epoch: int) -> None:
        """What is done before an epoch's first step, but not where a run is resumed within the epoch."""

    def forward(self, batch: Batch, output: Mapping[str, Tensor]) -> Tensor | tuple[Tensor, Tensor]:
        """The loss (scalar) of a step; or it and a penalty, whose gradient is cut to the length of the loss's own.

        Args:
            batch: `index` are positions in the training split.
            output: What the model gives of it: `features` (n, d) and `logits` (n, k).
        """
        return sample_losses(output["logits"], batch.y).mean()

    def finish(self) -> str | None:
        """What is done to the model after training; what is to be said of it, or None where the model stays as it is.

        A run that was killed meanwhile does it again, from its result: both must come to the same.
        """
        return None


def sample_losses(logits: Tensor, y: Tensor) -> Tensor:
    """Cross-entropy in nats (n,) of class scores (n, k)."""
    return functional.cross_entropy(logits, y, reduction="none")


def early_scores(spec: MethodSpec) -> Tensor:
    """Class scores (n, k) of all training rows by a model that was trained plainly for `epochs` epochs, on the CPU."""
    first = spec.trained_by(Method, int(spec.settings["epochs"])).spec.model
    z, head = torch.from_numpy(spec.embed(first, spec.data.train)), first.head.cpu()
    with torch.no_grad():
        scores: Tensor = head(z.to(next(head.parameters()).dtype))
    return scores
