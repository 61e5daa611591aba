"""What an audit finds: frozen records with the names that leakage.json has. The report adds where it all comes from."""

from __future__ import annotations

from typing import Annotated, Generic, Literal, TypeAlias, TypeVar

from pydantic import Discriminator, Field, Tag

from mibias_cli.evaluation.record import Beside, FlatRecord, Flattened, Real, Record

__all__ = [
    "AnyTask",
    "AttributeFindings",
    "AuditFindings",
    "AuditSettings",
    "CellAccuracy",
    "Change",
    "ChannelFindings",
    "ColumnFindings",
    "ColumnSides",
    "Confusion",
    "CrossingRow",
    "ErrorRow",
    "FairnessFindings",
    "Fidelity",
    "Finding",
    "GroupRow",
    "Intersection",
    "Interval",
    "LabelFigures",
    "LabelFindings",
    "LayerFindings",
    "Leakage",
    "NullBand",
    "NumberFigures",
    "ProbeFindings",
    "RegressionFindings",
    "Samples",
    "Sides",
    "Similarity",
    "TaskFindings",
    "TaskSides",
    "WorstGroup",
]

Kind: TypeAlias = Literal["categorical", "continuous"]
Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=0)]
T = TypeVar("T", bound=Record)


class Sides(Record, Generic[T]):
    """The same figures of the original extractor and of the one under audit."""

    before: T | None
    """Of the original extractor; null where there is none."""
    after: T


class Interval(Record):
    """An estimate with its bootstrap interval, never clamped."""

    estimate: Real
    lower: Real
    upper: Real


class NullBand(Record):
    """What the same probe shows where the scored labels are shuffled, in bits: mean and central band.

    For conditional leakage labels are shuffled within each target class.
    """

    mean: Real
    lower: Real
    upper: Real


class ProbeFindings(Record):
    """One probe family on the scored part."""

    accuracy: Share | None
    """Null for a regressor of a continuous attribute."""
    leakage_bits: Real
    selection_bits: Real
    """Its score inside the fitting part: that alone chooses the headline probe."""
    setting: str = ""
    """What tuning inside the fitting part chose, in words."""
    r2: Real | None = None
    """Of a regressor, in place of an accuracy."""
    p_value: Share | None = None
    """Of the permutation test."""
    p_value_holm: Share | None = None
    """The same, corrected over attributes, channels and probes."""


class Finding(Record):
    """The answer to one question, I(z; c) or I(z; c | y): a lower bound in bits, the probes behind it, and controls.

    The headline probe (and, of several channels, the headline channel) was chosen inside the fitting part.
    """

    leakage_bits: Interval
    probes: dict[str, ProbeFindings] = Field(default_factory=dict)
    headline_probe: str = ""
    headline_channel: str = ""
    null: NullBand | None = None
    p_value: Share | None = None
    p_value_holm: Share | None = None
    detectable_bits: Real | None = None
    """The smallest leakage that a sample of this size detects with 80 % power."""

    @property
    def selection_bits(self) -> float:
        """The headline probe's score inside the fitting part."""
        return self.probes[self.headline_probe].selection_bits


class Leakage(FlatRecord):
    """Leakage of one channel, or of an attribute's headline channel, from one representation.

    Lower bounds in bits with their controls: null and p_value by shuffled labels, detectable_bits the smallest leakage
    that this sample detects with 80 % power. Names with `conditional_` are of I(z; c | y), null without a target.
    """

    marginal: Annotated[Finding, Flattened()]
    conditional: Annotated[Finding | None, Flattened("conditional_")]
    chance_accuracy: float = 0.0

    @property
    def leakage_bits(self) -> Interval:
        """I(z; c) in bits."""
        return self.marginal.leakage_bits

    @property
    def conditional_leakage_bits(self) -> Interval | None:
        """I(z; c | y) in bits; None without a target."""
        return None if self.conditional is None else self.conditional.leakage_bits

    @property
    def questions(self) -> tuple[tuple[Literal["marginal", "conditional"], Finding], ...]:
        """The questions that were asked, with their answers."""
        marginal: tuple[Literal["marginal", "conditional"], Finding] = ("marginal", self.marginal)
        return (marginal,) if self.conditional is None else (marginal, ("conditional", self.conditional))


class Change(Record):
    """After less before, with intervals of the paired difference (the same resamples on both sides)."""

    leakage_bits: Interval
    conditional_leakage_bits: Interval | None


class ChannelFindings(Record):
    """One channel: H(c) and I(y; c) on the audited split, and its leakage by side."""

    entropy_bits: Real
    target_attribute_bits: Real
    before: Leakage | None
    after: Leakage
    random: Leakage | None = None
    """From a randomly initialised extractor; null where it was not computed."""


class AttributeFindings(ChannelFindings):
    """One attribute; H(c) and I(y; c) are of after's headline channel."""

    kind: Kind = "categorical"
    n_known: Count = 0
    """Audited samples on which the attribute is known."""
    change: Change | None = None
    """After less before, paired."""
    channels: dict[str, ChannelFindings] = Field(default_factory=dict)
    """Each channel of an attribute of several; empty where there is one."""
    others: dict[str, Sides[Leakage]] = Field(default_factory=dict)
    """Leakage of further representations by name."""


class LayerFindings(Record):
    """Leakage of one attribute's leakiest channel from one inner layer, pooled to `n_features` columns."""

    leakage_bits: Interval
    headline_probe: str
    headline_channel: str
    n_features: Count
    null: NullBand | None = None
    p_value: Share | None = None


class ColumnFindings(Record):
    """What the features still tell of a column that they should keep; accuracy or r2 is the headline probe's."""

    information_bits: Interval
    headline_probe: str
    probes: dict[str, ProbeFindings]
    accuracy: Share | None
    r2: Real | None
    chance_accuracy: Share
    entropy_bits: Real


class ColumnSides(Sides[ColumnFindings]):
    """A column that features should keep, before and after."""

    kind: Kind = "categorical"


class GroupRow(Record):
    """One (y, c) cell of one attribute's channel: n, accuracy and its interval; counted: large enough to count."""

    attribute: str
    channel: str
    y: str
    c: str
    n: Count
    accuracy: Share | None
    lower: Real | None
    upper: Real | None
    counted: bool
    calibration_error: Real | None = None


class CellAccuracy(Record):
    """Accuracy in one cell with its interval; null where the cell is empty."""

    accuracy: Share | None
    lower: Real | None
    upper: Real | None


class CrossingRow(Sides[CellAccuracy]):
    """One cell of target and several attributes; counted: large enough for the worst group."""

    y: str
    c: tuple[str, ...]
    n: Count
    counted: bool


class WorstGroup(Record):
    """The least accuracy of any cell that counts; null where none does."""

    before: Share | None
    after: Share | None


class Intersection(Record):
    """The cells in which several attributes and the target cross; the worst group is among those that count."""

    attributes: tuple[str, ...]
    channels: tuple[str, ...]
    worst_group_accuracy: WorstGroup
    cells: tuple[CrossingRow, ...]


class Confusion(Record):
    """What the task predicts for one group of an attribute: counts of target (rows) by prediction (columns)."""

    attribute: str
    channel: str
    c: str
    n: Count
    counts: tuple[tuple[Count, ...], ...]


class _Accuracies(FlatRecord):
    """Task figures by one rule: logistic heads fitted on training features, scored on the audited samples."""

    accuracy: Annotated[Interval, Beside()]
    """The plain average over the audited samples."""
    balanced_accuracy: Real
    worst_group_accuracy: Share | None
    groups: tuple[GroupRow, ...] = ()
    head_accuracy: Share | None = None
    """The trained head's own accuracy."""
    gap: Real | None = None
    """Accuracy less the worst group's accuracy."""
    adjusted_accuracy: Share | None = None
    """The least of adjusted_accuracies."""
    adjusted_accuracies: dict[str, Share] = Field(default_factory=dict)
    """By attribute: accuracy under p(y)p(c) in place of p(y, c), every (y, c) cell reweighted as if y and c were
    independent (of several channels, the least)."""
    auroc: Share | None = None
    """Area under the ROC curve; with more than two classes the mean over each class against the rest."""
    calibration_error: Real | None = None
    """Expected calibration error of the largest class probability, 15 bins."""
    class_names: tuple[str, ...] = ()
    """Classes of the target, in the order of the rows and columns of confusions."""
    confusions: tuple[Confusion, ...] = ()
    """By group of each attribute; empty where the target has many classes."""


class TaskFindings(_Accuracies):
    """Task figures of a target of classes, by a logistic head fitted on training features."""

    kind: Literal["classes"] = "classes"


class LabelFigures(Record):
    """One label of several: accuracy, the mean of both classes' recalls, AUROC (null where one class is absent)."""

    accuracy: Share
    balanced_accuracy: Share
    auroc: Share | None
    prevalence: Share
    """Share of the audited samples with this label."""


class LabelFindings(_Accuracies):
    """Task figures of a target of several labels: means over labels; a cell is one label in one group."""

    kind: Literal["multilabel"] = "multilabel"
    exact_match: Annotated[Interval, Beside()]
    """The share of samples with all labels right."""
    labels: dict[str, LabelFigures]
    """Each label by itself."""


class NumberFigures(Record):
    """One column of numbers: R² on the audited samples (null where they do not vary), errors in the user's units."""

    r2: Real | None
    mae: Real
    rmse: Real
    worst_group_mae: Real | None


class ErrorRow(Record):
    """Errors of one column in one group of an attribute; lower and upper bound mae; counted: large enough to count.

    An interval needs two samples.
    """

    attribute: str
    channel: str
    column: str
    c: str
    n: Count
    mae: Real | None
    lower: Real | None
    upper: Real | None
    rmse: Real | None
    mean_error: Real | None
    """Of prediction less truth."""
    counted: bool


class RegressionFindings(FlatRecord):
    """Figures of a target of numbers, by ridge regression on training features, scored on the audited samples."""

    kind: Literal["regression"] = "regression"
    r2: Annotated[Interval, Beside()]
    """R² on the audited samples, the mean over columns."""
    mae: Annotated[Interval, Beside()]
    """Mean absolute error in the user's units, the mean over columns."""
    rmse: Annotated[Interval, Beside()]
    """Root of the mean squared error in the user's units, the mean over columns."""
    worst_group_mae: Real | None
    """The greatest mean absolute error of a group that counts."""
    gap_mae: Real | None
    """worst_group_mae less mae."""
    head_r2: Real | None
    """The trained head's own R²."""
    columns: dict[str, NumberFigures] = Field(default_factory=dict)
    """Each column by itself."""
    group_errors: tuple[ErrorRow, ...] = ()
    """Errors by column and group."""
    groups: tuple[GroupRow, ...] = ()
    """Empty: numbers have errors by group in place of accuracies."""


def _task_kind(value: object) -> str:
    """Reports of before other kinds of target were known say no kind: classes."""
    kind = value.get("kind", "classes") if isinstance(value, dict) else getattr(value, "kind", "classes")
    return str(kind)


AnyTask = Annotated[
    Annotated[TaskFindings, Tag("classes")]
    | Annotated[LabelFindings, Tag("multilabel")]
    | Annotated[RegressionFindings, Tag("regression")],
    Discriminator(_task_kind),
]


class TaskSides(Record):
    """A linear head fitted on training features, the same rule before and after; null without target or original."""

    before: AnyTask | None
    after: AnyTask | None


class FairnessFindings(Record):
    """How one attribute's groups are treated by the task's predictions; figures as Fairlearn defines them.

    A target of two classes has a `positive_class`; with more, every class against the rest is a question of its own
    and each figure is the worst of them. An attribute of several channels has the worst channel's. `groups_left_out`
    are too small to count. A figure that no group of the split defines is null.
    """

    positive_class: str | None
    groups_left_out: tuple[str, ...]
    demographic_parity_difference: Real | None
    demographic_parity_ratio: Real | None
    equal_opportunity_difference: Real | None
    equal_opportunity_ratio: Real | None
    equalized_odds_difference: Real | None
    equalized_odds_ratio: Real | None
    bias_amplification: Real | None


class Similarity(Record):
    """Fidelity: dimensions, effective ranks, and likeness of before and after (null without before)."""

    n_features_before: Count | None
    n_features_after: Count
    effective_rank_before: Real | None
    effective_rank_after: Real
    cka: Real | None
    """Linear CKA to the original."""
    original_r2: Real | None = None
    """Share of the original features' variance that a linear map gives back from the audited features, fitted on
    training samples and scored on the audited ones; null where there is no original."""


class Fidelity(Record):
    """What good features must keep."""

    collapsed: bool = False
    """Features that are constant, or have lost nearly all their directions."""
    columns: dict[str, ColumnSides] = Field(default_factory=dict)


class Samples(Record):
    """Samples behind the figures: of task heads, audited, and the parts on which probes were fitted and scored."""

    train: Count = 0
    audit: Count = 0
    fit: Count = 0
    score: Count = 0


class AuditSettings(Record):
    """How the audit is done; defaults as in the recipe's `evaluation` section."""

    probes: tuple[str, ...] = ("logistic", "quadratic", "mlp", "knn", "gradient_boosting")
    fit_fraction: float = 0.5
    n_bootstrap: Count = 1000
    confidence: float = 0.95
    min_cell: Count = 10
    n_permutations: Count = 999
    crossings: tuple[tuple[str, ...], ...] | None = None


class AuditFindings(Record):
    """Everything that an audit found."""

    attributes: dict[str, AttributeFindings]
    """Bias attributes by name."""
    task: TaskSides
    similarity: Similarity
    fairness: dict[str, Sides[FairnessFindings]] = Field(default_factory=dict)
    """Group fairness by attribute."""
    intersections: tuple[Intersection, ...] = ()
    """Crossings of attributes: accuracy by cell."""
    fidelity: Fidelity = Fidelity()
    layers: dict[str, dict[str, Sides[LayerFindings]]] = Field(default_factory=dict)
    """Leakage by inner layer, then by attribute."""
    samples: Samples = Samples()
    settings: AuditSettings = AuditSettings()
    seed: Count = 0
