"""The recipe's `debias`: the MI estimator and its critic, the strength of its penalty, how that meets the task."""

from __future__ import annotations

import math
from typing import Annotated, Literal

from pydantic import Discriminator, Field, Tag, ValidationInfo, field_validator

from mibias_cli.recipe.tables import EstimatorName
from mibias_cli.recipe.values import (
    BEGUN,
    MOST_WEIGHT,
    BatchSize,
    Believable,
    Decay,
    Flag,
    Fraction,
    LearningRate,
    NonNegative,
    Positive,
    PositiveShare,
    Rate,
    Section,
    Share,
    Turns,
    Weight,
    Width,
)

__all__ = ["BudgetSection", "CriticSection", "DebiasSection"]


class CriticSection(Section):
    """The network that estimates MI (a critic of pairs (z, c), or attribute heads), or the fit that replaces it."""

    hidden: list[Width] = Field(default_factory=lambda: [128, 128, 128], description="Widths of the hidden layers.")
    learning_rate: LearningRate = Field(2e-3, description="Learning rate of the critic.")
    optimizer: Literal["adam", "sgd"] = Field("adam", description="Optimizer of the critic.")
    beta1: Decay = Field(0.9, description="Decay of adam's mean gradient; 0.5 follows moving features faster.")
    steps: Turns = Field(15, description="K: critic steps per training step.")
    batch_size: BatchSize | None = Field(
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
    n_random_features: Width = Field(
        512, description="closed_form: number of random ReLU features (hgr_basis: at most 128 of them)."
    )
    ridge: Rate = Field(
        1e-2, description="closed_form, hgr_basis: ridge strength, a share of the features' mean variance."
    )


class BudgetSection(Section):
    """How a leakage budget is kept; it takes effect where `budget_bits` is set."""

    max_weight: Annotated[Rate, Believable(le=MOST_WEIGHT)] = Field(30.0, description="Largest λ.")
    every_epochs: Rate = Field(0.5, description="Epochs between two measurements by fresh attribute heads.")
    max_samples: Positive = Field(8000, description="Most training samples on which fresh heads are fitted.")


class MixSection(Section):
    """Channel statistics moved between samples of other attribute values, in training alone (MixStyle)."""

    layer: str = Field(description="The module of the backbone whose input is mixed; it must train.")
    share: Share = Field(0.5, description="Share of samples that are mixed.")
    copies: Flag = Field(
        False,
        description="Mix wholly, with statistics of samples of any attribute value; in the steps critic and penalty "
        "see these samples alone, with the attribute values that come with the statistics, of which the target then "
        "tells nothing.",
    )


def _budget_form(value: object) -> str:
    """Which form of a budget is meant, so that only what is wrong with that one is said."""
    return "by_attribute" if isinstance(value, dict) else "of_all"


# no attribute holds more
_Bits = Annotated[Rate, Believable(le=100)]
_Budget = Annotated[
    Annotated[_Bits, Tag("of_all")] | Annotated[dict[str, _Bits], Tag("by_attribute")], Discriminator(_budget_form)
]


class DebiasSection(Section):
    """The MI estimator, its schedule, and how its gradient meets the task's."""

    estimator: EstimatorName = Field(
        "classifier", description="How dependence is measured and penalised (docs/estimators.md); none: plain training."
    )
    attributes: list[str] | None = Field(None, description="Attributes to debias; null: all.")
    objective: Literal["marginal", "conditional"] = Field(
        "marginal", description="marginal: I(z; c); conditional: I(z; c | y), which leaves what y itself says of c."
    )
    # how strong the penalty is: a fixed λ, or one that a budget controls
    weight: Weight | Literal["auto"] = Field(
        1.0,
        description="λ: weight of the MI penalty, per nat; with a budget, where λ starts. auto: under "
        "training.head_last the largest of a path that predicts held-out training samples as well; else the "
        "penalty's gradient has half the norm of the task's, or beside a whole bias_product the share of the "
        "attributes' entropy that the estimate says, or with mix.copies the root of that share.",
    )
    attribute_weights: dict[str, Weight] = Field(
        default_factory=dict, description="Factor of λ per attribute; 1 for those that are not named."
    )
    warmup_epochs: NonNegative = Field(1.0, description="Epochs over which λ rises linearly from 0.")
    budget_bits: _Budget | None = Field(
        None,
        description="Allowed leakage of the features in bits, or one such number per attribute: λ is adjusted until "
        "fresh heads find about this much of I(z; c), or of I(z; c | y) as `objective` says; null: λ is `weight`.",
    )
    budget: BudgetSection = BudgetSection()
    # what the critic sees, and how often
    schedule: Literal["queue", "fresh"] = Field(
        "queue", description="queue: critic steps on recent detached features; fresh: on freshly embedded batches."
    )
    queue_batches: Turns = Field(32, description="Length of the queue, in batches.")
    gradients: Literal["sum", "rescale", "ratio", "project", "released"] = Field(
        "sum",
        description="sum: one backward; rescale: the paper's per-parameter cap; ratio: the penalty's gradient has λ "
        "times the norm of the task's; project: without what opposes the other; released: the authors' code "
        "(a second Adam at λ·lr, a critic pass opening each epoch).",
    )
    # weighting out that y and c depend on each other in the training data
    balance: Literal["none", "critic", "task", "both"] = Field(
        "critic", description="Where samples are weighted by p(y)p(c)/p(y,c)."
    )
    balance_by: Literal["weights", "draws"] = Field(
        "weights",
        description="weights: of the batch's samples, in the estimator; draws: the estimator has samples of its own, "
        "drawn in proportion to the weights: a larger step, and far less noise where weights differ a lot.",
    )
    draw_share: PositiveShare = Field(
        1.0,
        description="With draws: samples drawn for each sample of the batch; fewer cost less time. `queue_batches` "
        "counts batches of drawn samples.",
    )
    balance_clip: Rate = Field(50.0, description="Largest sample weight, relative to a mean of 1.")
    balance_strength: Share = Field(
        1.0, description="Share of the balancing weights in what the estimator sees; the rest is equal weights."
    )
    bias_product: NonNegative | Literal["auto"] = Field(
        0.0,
        description="How much of log p(y|c) − log p(y), what the attributes alone say of the target, is added to the "
        "scores of classes or labels in training; with 1 the task has nothing to gain from what c tells it (a product "
        "of experts); auto: 0.8, or the share of the target's entropy that the attributes tell, where that is more.",
    )
    class_prior: Literal["training", "uniform"] = Field(
        "training",
        description="Class frequencies that the scores reckon with under bias_product. training: classes that are rare "
        "in training are rare; uniform: − log p(y) is left out of the product, and all classes are alike, as balanced "
        "and worst-group accuracy want it.",
    )
    mix: MixSection | None = Field(
        None,
        description="Give samples, in training, the channel statistics of samples whose attribute differs: for bias "
        "that is a matter of style, such as a scanner's; null: never.",
    )
    # what is done about units, a critic and features that training alone leaves behind
    recycle_every_steps: Positive | None = Field(
        None,
        description="digit_cnn: steps between two searches for units of the penalised layers that the penalty has "
        "silenced, which are then reinitialised; null: never.",
    )
    watch: Flag = Field(
        False, description="Compare the critic with a fresh linear fit on the queue, and raise K where the critic lags."
    )
    erase: Literal["none", "leace", "splince", "transport"] = Field(
        "none",
        description="leace: after training, a last affine layer removes from the features what a linear probe could "
        "read of the debiased attributes, and the target head is fitted anew (extra `leace`); splince: the same, but "
        "the covariance of the features with the target stays; transport: a last layer that is not linear, after which "
        "other probes read little of the attributes as well; it needs no target.",
    )
    critic: CriticSection = CriticSection()

    @property
    def sees_copies(self) -> bool:
        """Whether critic and penalty see copies alone, among which the target tells nothing of the attribute."""
        return self.mix is not None and self.mix.copies

    # checked by hand: pydantic would report each member of the union, two errors for one mistake
    @field_validator("bias_product", "weight", mode="before")
    @classmethod
    def _is_a_number_or_auto(cls, value: object, info: ValidationInfo) -> object:
        number = value if isinstance(value, int | float) and not isinstance(value, bool) else -1
        if value == "auto" or 0 <= number < math.inf:
            # as `Believable` does of other keys
            if info.field_name == "weight" and number > MOST_WEIGHT and info.context != BEGUN:
                raise ValueError(f"must be at most {MOST_WEIGHT:,.0f}, not {value}")
            return value
        shown = "null" if value is None else repr(value) if isinstance(value, str) else str(value).lower()
        hint = "; take the quotes off" if isinstance(value, str) and value.replace(".", "", 1).isdigit() else ""
        raise ValueError(f"must be auto or a number of at least 0, not {shown[:60]}{hint}")
