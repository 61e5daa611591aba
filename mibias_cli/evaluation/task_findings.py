"""What an audit finds of the task: accuracies, errors and fairness, with the names that leakage.json has."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Literal, Self

from pydantic import Discriminator, Field, Tag

from mibias_cli.evaluation.leakage_findings import Bounds, Count, Interval, Share, Side, Sides
from mibias_cli.evaluation.record import Beside, FlatRecord, Real, Record

__all__ = [
    "Accuracies", "AnyTask", "CellAccuracy", "Confusion", "CrossingRow", "ErrorRow", "FairnessChange",
    "FairnessFindings", "FairnessSides", "ForgettingFigures", "ForgettingSides", "GroupRow", "HeadFindings",
    "ImpactFindings", "ImpactGroup", "Intersection",
    "LabelFigures", "LabelFindings", "NumberFigures", "RegressionFindings", "TaskChange", "TaskFindings", "TaskSides",
    "WorstGroup",
]  # fmt: skip


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
    loaded: Share | None = None

    def at(self, side: Side) -> float | None:
        """Of one side."""
        return {"loaded": self.loaded, "before": self.before, "after": self.after}[side]


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


class Accuracies(FlatRecord):
    """Task figures by one rule: logistic heads fitted on training features, scored on the audited samples."""

    accuracy: Annotated[Interval, Beside()]
    """The plain average over the audited samples."""
    balanced_accuracy: Real = math.nan
    worst_group_accuracy: Share | None = None
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
    auroc_interval: Bounds | None = None
    calibration_error: Real | None = None
    """Expected calibration error of the largest class probability, 15 bins."""
    calibration_error_interval: Bounds | None = None
    class_names: tuple[str, ...] = ()
    """Classes of the target, in the order of the rows and columns of confusions."""
    confusions: tuple[Confusion, ...] = ()
    """By group of each attribute; empty where the target has many classes."""


class TaskFindings(Accuracies):
    """Task figures of a target of classes, by a logistic head fitted on training features."""

    kind: Literal["classes"] = "classes"


class LabelFigures(Record):
    """One label of several: accuracy, the mean of both classes' recalls, AUROC (null where one class is absent)."""

    accuracy: Share
    balanced_accuracy: Share
    auroc: Share | None
    prevalence: Share
    """Share of the audited samples with this label."""


class LabelFindings(Accuracies):
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
    unit: Real | None = None
    """What its errors are divided by in figures over all columns: its deviation in training rows, or 1 if it is alone.

    Null in reports of older versions, whose figures over all columns are means over different units.
    """


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
    """Mean absolute error in the user's units; of several columns the mean over them, in their standard deviations."""
    rmse: Annotated[Interval, Beside()]
    """Root of the mean squared error, in units as `mae`."""
    worst_group_mae: Real | None = None
    """The greatest mean absolute error of a group that counts, in units as `mae`."""
    gap_mae: Real | None = None
    """worst_group_mae less mae."""
    head_r2: Real | None = None
    """The trained head's own R²."""
    columns: dict[str, NumberFigures] = Field(default_factory=dict)
    """Each column by itself."""
    group_errors: tuple[ErrorRow, ...] = ()
    """Errors by column and group."""
    groups: tuple[GroupRow, ...] = ()
    """Empty: numbers have errors by group in place of accuracies."""

    @property
    def in_deviations(self) -> bool:
        """Whether figures over all columns are in standard deviations: there are several, of units of their own."""
        return len(self.columns) > 1 and all(column.unit is not None for column in self.columns.values())


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


class TaskChange(Record):
    """After less before on the same audited rows, with intervals of the paired difference.

    Null where the target has no such figure.
    """

    accuracy: Interval | None = None
    balanced_accuracy: Interval | None = None
    r2: Interval | None = None
    mae: Interval | None = None


class TaskSides(Record):
    """Task figures by one rule on every side; null without a target, or where there is no such side."""

    before: AnyTask | None = None
    after: AnyTask | None = None
    loaded: AnyTask | None = None
    change: TaskChange | None = None
    """After less before; null where there is no side before."""

    @classmethod
    def of(cls, found: Mapping[Side, AnyTask], change: TaskChange | None = None) -> Self:
        """From what was found by side."""
        return cls(before=found.get("before"), after=found.get("after"), loaded=found.get("loaded"), change=change)

    def at(self, side: Side) -> TaskFindings | LabelFindings | RegressionFindings | None:
        """Figures of one side."""
        return {"loaded": self.loaded, "before": self.before, "after": self.after}[side]


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
    demographic_parity_difference_interval: Bounds | None = None
    demographic_parity_ratio_interval: Bounds | None = None
    equal_opportunity_difference_interval: Bounds | None = None
    equal_opportunity_ratio_interval: Bounds | None = None
    equalized_odds_difference_interval: Bounds | None = None
    equalized_odds_ratio_interval: Bounds | None = None
    bias_amplification_interval: Bounds | None = None

    def bounds(self, figure: str) -> Bounds | None:
        """The interval of a figure by its name; None where it has none."""
        found = getattr(self, f"{figure}_interval")
        assert found is None or isinstance(found, Bounds)
        return found


class FairnessChange(Record):
    """After less before, with intervals that allow for what both sides share; null where a side has no figure."""

    demographic_parity_difference: Interval | None = None
    demographic_parity_ratio: Interval | None = None
    equal_opportunity_difference: Interval | None = None
    equal_opportunity_ratio: Interval | None = None
    equalized_odds_difference: Interval | None = None
    equalized_odds_ratio: Interval | None = None
    bias_amplification: Interval | None = None


class FairnessSides(Sides[FairnessFindings]):
    """Group fairness on every side, and what became of it."""

    change: FairnessChange | None = None
    """After less before; null where there is no side before."""


class ImpactGroup(Record):
    """One group of a two-class decision: its selection rate, and that over the highest group's; null if not counted.

    A group is counted where it holds 2 % of the rows and as many as every counted cell.
    """

    n: Count
    counted: bool
    selection_rate: Share
    selection_rate_interval: Bounds
    impact_ratio: Real | None
    impact_ratio_interval: Bounds | None
    below_four_fifths: bool
    """Whether the ratio is below 0.8: a mark for readers, not a finding of law."""


class ImpactFindings(Record):
    """Selection rates and impact ratios by group of one attribute, or where several cross."""

    positive_class: str
    """The class whose prediction counts as selection."""
    attributes: tuple[str, ...]
    channels: tuple[str, ...]
    n_unknown: Count
    """Audited samples of no group, because an attribute is unknown."""
    lowest_impact_ratio: Real | None
    lowest_impact_ratio_interval: Bounds | None
    groups: dict[str, ImpactGroup]
    """By name of the group; of crossed attributes names are joined by ` / `."""


class HeadFindings(Record):
    """What the trained heads themselves predict, beside heads that were fitted anew by one rule.

    A trained head tells of its training too (weights of samples, a product of experts), so that it says what a user of
    the exported model gets. Weights as they were loaded have none.
    """

    task: TaskSides
    fairness: dict[str, FairnessSides] = Field(default_factory=dict)
    """By attribute."""
    impact: dict[str, Sides[ImpactFindings]] = Field(default_factory=dict)
    """By attribute, and by crossed attributes joined by a comma."""


class ForgettingFigures(Record):
    """What a trained head makes of the training rows that were to be forgotten, and of others."""

    forgotten_accuracy: Share
    retained_accuracy: Share
    audit_accuracy: Share
    alike_accuracy: Share | None
    """On audited rows of the forgotten rows' groups, (y, c) of all debiased attributes, each group as often as there:
    what a head that never saw the forgotten rows should come to on them. Null where none is audited."""
    membership_auroc: Interval | None
    """How often the loss of a forgotten row is less than that of an audited row of its group: 0.5 where losses do not
    tell which rows were trained on. Null where fewer than `min_cell` forgotten rows (or groups) are compared."""


class ForgettingSides(Sides[ForgettingFigures]):
    """How well rows were forgotten: the original's head, which was trained on them, and the audited one."""

    n_forgotten: Count
    n_retained: Count
    n_compared: Count
    """Forgotten rows with an audited row of their group."""
