"""The settings of training, as plain frozen data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

__all__ = ["Balance", "DebiasSettings", "Gradients", "OptimSettings", "SelectSettings"]

Gradients = Literal["sum", "rescale", "ratio", "project", "released"]
Balance = Literal["none", "critic", "task", "both"]


@dataclass(frozen=True, kw_only=True)
class SelectSettings:
    """Best-checkpoint choice by a metric of metrics.jsonl, and early stopping by it."""

    metric: str | None = None
    mode: Literal["max", "min"] = "max"
    patience: int | None = None


@dataclass(frozen=True, kw_only=True)
class OptimSettings:
    """How extractor and head are optimised; the fields are those of the recipe's `training` section."""

    epochs: int = 1
    batch_size: int = 128
    optimizer: Literal["adam", "adamw", "sgd"] = "adamw"
    learning_rate: float = 1e-3
    weight_decay: float = 0.0
    head_weight_decay: float | None = None
    backbone_rate: float = 1.0
    momentum: float = 0.9
    beta1: float = 0.9
    schedule: Literal["cosine", "constant"] = "cosine"
    warmup_epochs: float = 0.0
    final_share: float = 0.0
    clip_norm: float | None = None
    max_skipped_steps: int = 10
    average_decay: float | None = None
    interpolation: float | None = None
    num_workers: int = 0
    log_every_steps: int = 50
    checkpoint_every_steps: int | None = None
    select: SelectSettings = SelectSettings()
    # of each sample in a batch, see `loader.batches`
    n_views: int = 1


@dataclass(frozen=True, kw_only=True)
class DebiasSettings:
    """How the MI penalty enters: the recipe's `debias` fields, and the budget's `measure_every_epochs`.

    With `most_nats`, the attributes' entropy, `gradients: ratio` multiplies λ by the share of it that is estimated, to
    the power `share_power`.
    """

    weight: float = 1.0
    warmup_epochs: float = 1.0
    schedule: Literal["queue", "fresh"] = "queue"
    critic_steps: int = 15
    gradients: Gradients = "sum"
    objective: Literal["marginal", "conditional"] = "marginal"
    balance: Balance = "critic"
    balance_by: Literal["weights", "draws"] = "weights"
    draw_share: float = 1.0
    attribute_weights: Mapping[str, float] = field(default_factory=dict)
    class_prior: Literal["training", "uniform"] = "training"
    measure_every_epochs: float = 1.0
    most_nats: float | None = None
    share_power: float = 1.0
