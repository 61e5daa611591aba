"""The recipe's `original`, `discover`, `training` and `export`: what is trained, in which order, and exported."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from mibias_cli.recipe.values import (
    BatchSize,
    Believable,
    Count,
    Decay,
    Flag,
    FormatName,
    LearningRate,
    NonNegative,
    Number,
    Positive,
    Rate,
    Repeats,
    Section,
    Share,
    Whole,
    text_of_number,
)

__all__ = ["DISCOVERED", "DiscoverSection", "ExportSection", "OriginalSection", "SelectSection", "TrainingSection"]

DISCOVERED = "discovered"
"""Name of the attribute that is discovered."""

_SAFETENSORS: list[FormatName] = ["safetensors"]


class OriginalSection(Section):
    """A model trained on the task alone, before debiasing: the extractor that `before` speaks of."""

    epochs: Repeats | None = Field(None, description="Epochs of plain training; null: none, see weights.")
    weights: Path | None = Field(
        None, description="In place of training: an earlier run's folder, an exported folder, or a run's .safetensors."
    )
    learning_rate: LearningRate | None = Field(None, description="Learning rate; null: training.learning_rate.")
    start_debiasing_from: Literal["original", "initial"] = Field(
        "original", description="Debiasing starts from the plainly trained weights or from those before it."
    )


class DiscoverSection(Section):
    """What models that learn the easiest first make of the samples of a class, taken for a bias attribute.

    Where the bias is easier than the task, such models go by the bias: features divide the samples of a class by it, or
    samples in which it misleads are never learnt. The attribute that is found has the name `discovered`.
    """

    by: Literal["clusters", "peers"] = Field(
        "clusters",
        description="clusters of an early model's features in each class; peers: what two models never learn or do.",
    )
    clusters: Annotated[int, Field(gt=0, le=1000), Whole, Believable(ge=2)] = Field(
        2, description="by clusters: how many per class."
    )
    epochs: Repeats | None = Field(
        None, description="Epochs of training before that; null: 1 before clusters, so that bias leads, 50 of peers."
    )


class SelectSection(Section):
    """Best-checkpoint choice and early stopping by a validation metric."""

    metric: str | None = Field(
        None, description="Name in metrics.jsonl, for example validation/balanced_accuracy; null: the last epoch."
    )
    mode: Literal["max", "min"] = Field("max", description="Whether larger or smaller is better.")
    patience: Positive | None = Field(None, description="Stop after so many epochs without improvement; null: never.")


class TrainingSection(Section):
    """Optimisation, precision and logging."""

    epochs: Repeats = Field(10, description="Epochs of debiasing.")
    batch_size: BatchSize = Field(128, description="Samples per step, on all ranks together.")
    optimizer: Literal["adam", "adamw", "sgd"] = Field("adamw", description="Optimizer of extractor and target head.")
    learning_rate: LearningRate = Field(1e-3, description="Peak learning rate.")
    weight_decay: NonNegative = Field(0.0, description="Weight decay.")
    head_weight_decay: NonNegative | None = Field(
        None,
        description="Weight decay of bottleneck and task head, biases exempt (adamw); about 10 at a learning rate of "
        "2e-3 suits heads on pretrained features; null: weight_decay.",
    )
    backbone_rate: Annotated[float, Field(gt=0, le=1), Number] = Field(
        1.0,
        description="Learning rate of the backbone as a share of learning_rate; about 0.05 where pretrained weights "
        "meet new heads, which need a larger one.",
    )
    head_first: Rate | None = Field(
        None,
        description="Before the first epoch bottleneck and task head are fitted alone, by L-BFGS with this L2 penalty, "
        "so that no untrained head disturbs pretrained weights; about 0.1; null: they start untrained.",
    )
    head_last: Rate | None = Field(
        None,
        description="After the last epoch bottleneck and task head are fitted anew on all training samples, with this "
        "L2 penalty; the MI penalty then acts there, on all samples at once, and not in the steps before, which have "
        "debias.bias_product and debias.mix alone; about 0.1; null: never.",
    )
    momentum: Annotated[NonNegative, Believable(lt=1)] = Field(0.9, description="Momentum of sgd.")
    beta1: Decay = Field(0.9, description="Decay of adam's mean gradient; 0.5 steadies the game against a critic.")
    schedule: Literal["cosine", "constant"] = Field("cosine", description="Learning-rate schedule.")
    warmup_epochs: NonNegative = Field(0.0, description="Epochs over which the learning rate rises linearly.")
    # None stands for a default that depends on whether there is a budget
    final_share: Share | None = Field(
        None,
        description="Share of the peak learning rate at which cosine ends; null: 0, or 0.2 with `debias.budget_bits`, "
        "because features that no longer move cannot follow λ.",
    )
    clip_norm: Rate | None = Field(None, description="Largest gradient norm; null: no clipping.")
    max_skipped_steps: Count = Field(
        10, description="Steps in a row that may be skipped because a loss or gradient is not finite; more end the run."
    )
    average_decay: Decay | None = Field(
        None,
        description="Decay per step of a moving average of the weights, which is evaluated and exported; null: no "
        "average, or 0.99 with `debias.budget_bits` and no interpolation.",
    )
    interpolation: Share | None = Field(
        None,
        description="How far evaluated and exported weights lie on the way from those at the start, behind head_first, "
        "to the trained ones; below 1 pretrained features keep more of what they know (WiSE-FT); null: all the way. "
        "Not beside average_decay.",
    )
    augment: Flag = Field(False, description="timm's training transforms (crop, flip) in place of the evaluation ones.")
    # `precision: 16` without quotes is a number in YAML
    precision: Annotated[Literal["32", "64", "bf16", "16", "auto"], BeforeValidator(text_of_number)] = Field(
        "32",
        description="Floating-point precision (mixed for bf16 and 16); auto: bf16 where the device computes in it, "
        "else 32.",
    )
    channels_last: Flag = Field(
        False,
        description="Image channels innermost in memory: convolutions take less time, in half precision a third. Left "
        "out on CPUs for networks that torch cannot train so (RepVGG, MobileOne).",
    )
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="Where to train.")
    devices: Annotated[int, Field(gt=0, le=1024), Whole] = Field(
        1, description="Processes on each machine that train together, each on a GPU of its own, or on CPUs."
    )
    num_nodes: Annotated[int, Field(gt=0, le=65_536), Whole] = Field(1, description="Machines that train together.")
    num_workers: Annotated[int, Field(ge=0, le=1024), Whole] = Field(
        0, description="Processes that read data, for each rank."
    )
    deterministic: Flag = Field(False, description="Deterministic kernels on the GPU (the CPU has no others).")
    log_every_steps: Positive = Field(50, description="Steps between two records of metrics.jsonl.")
    checkpoint_every_steps: Positive | None = Field(
        None, description="Steps between two checkpoints; null: one at the end of each epoch."
    )
    select: SelectSection = SelectSection()


class ExportSection(Section):
    """What `train` exports at its end."""

    formats: list[FormatName] = Field(
        default_factory=_SAFETENSORS.copy, min_length=1, description="safetensors always; onnx is an extra."
    )
