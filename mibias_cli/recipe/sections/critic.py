"""The recipe's `debias.critic`: the network that an estimator trains, and how it is trained."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from mibias_cli.recipe.values import Decay, Fraction, NonNegative, Positive, Rate, Section

__all__ = ["CriticSection"]


class CriticSection(Section):
    """The network that estimates MI (a critic of pairs (z, c), or attribute heads), or the fit that replaces it."""

    hidden: list[Positive] = Field(default_factory=lambda: [128, 128, 128], description="Widths of the hidden layers.")
    learning_rate: Rate = Field(2e-3, description="Learning rate of the critic.")
    optimizer: Literal["adam", "sgd"] = Field("adam", description="Optimizer of the critic.")
    beta1: Decay = Field(0.9, description="Decay of adam's mean gradient; 0.5 follows moving features faster.")
    steps: Positive = Field(15, description="K: critic steps per training step.")
    batch_size: Positive | None = Field(
        None, description="Queue schedule: samples per critic step; null: training.batch_size."
    )
    # MINE's correction of the biased gradient (arXiv:1801.04062, section 3.2)
    moving_average: Fraction | None = Field(
        0.99, description="mine: decay of the moving average that corrects the gradient's denominator; null: plain DV."
    )
    architecture: Literal["auto", "concatenated", "separable"] = Field(
        "auto",
        description="Neural bounds: one MLP of z beside c (auto: for one channel of few classes), or an inner product.",
    )
    # SMILE (arXiv:1910.06222)
    tau: Rate = Field(5.0, description="smile: where exp(T) is clipped, e^±tau.")
    # Learning Not to Learn (arXiv:1812.10352)
    entropy_weight: NonNegative = Field(
        0.1, description="lntl: weight of the entropy term; the reversed gradient has 1."
    )
    smoothing: Decay = Field(
        0.0,
        description="classifier: share of the class frequencies mixed into the head's probabilities in the penalty, "
        "so that a confidently wrong head has a bounded gradient.",
    )
    n_random_features: Positive = Field(
        512, description="closed_form: number of random ReLU features (hgr_basis: at most 128 of them)."
    )
    ridge: Rate = Field(
        1e-2, description="closed_form, hgr_basis: ridge strength, a share of the features' mean variance."
    )
