"""What a comparison of runs holds: rows of runs, groups of runs that differ in seeds alone, and notes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, Literal, TypeVar

from pydantic import Field, JsonValue

from mibias_cli.evaluation.findings import Samples
from mibias_cli.evaluation.leakage_findings import Bounds, Interval, Side, Sides
from mibias_cli.evaluation.record import Real, Record
from mibias_cli.report.document import Report
from mibias_cli.report.task.score import Score

__all__ = [
    "SEEDS",
    "AttributeOfGroup",
    "AttributeOfRun",
    "ComparedRun",
    "Comparison",
    "FairnessOfRun",
    "Group",
    "HeadOfRun",
    "LeakageOfRun",
    "Pair",
    "Row",
    "Spread",
    "TaskOfRun",
    "fairness_at",
    "written",
]

T = TypeVar("T", bound=Record)
SEEDS = ("seed", "data.colour_seed")
"""Settings that only draw again: runs that differ in nothing else are repetitions of one another."""


@dataclass(frozen=True, kw_only=True)
class ComparedRun:
    """A run to compare: its name, its report, and its recipe's settings, flat.

    `page` is its report as HTML, where there is one.
    `gain_over_bias_bits` is the information of its model's scores on the target beyond the attributes, on validation
    rows; `leakage_given_target_bits` the information of its features on the attributes beyond the target, on the same
    rows; None: unknown. `gain_error_bits` is the gain's standard error over validation rows.
    """

    name: str
    report: Report
    settings: Mapping[str, JsonValue] = field(default_factory=dict)
    gain_over_bias_bits: float | None = None
    gain_error_bits: float | None = None
    leakage_given_target_bits: float | None = None
    page: Path | None = None

    @property
    def net_gain_bits(self) -> float | None:
        """The gain less the leakage: an estimate of I(z; y) − I(z; c) to which the bias adds nothing."""
        if self.gain_over_bias_bits is None or self.leakage_given_target_bits is None:
            return None
        return self.gain_over_bias_bits - self.leakage_given_target_bits


class Pair(Record, Generic[T]):
    """The same figures before and after; null where that side has none."""

    before: T | None
    after: T | None


class TaskOfRun(Record):
    """Accuracies of one side; null for a target of numbers."""

    accuracy: Interval | None = None
    worst_group_accuracy: float | None = None


class LeakageOfRun(Record):
    """Leakage of one side in bits, marginal and conditional."""

    leakage_bits: Interval
    conditional_leakage_bits: Interval | None


class AttributeOfRun(Sides[LeakageOfRun]):
    """One attribute's leakage in one run."""

    entropy_bits: Real


class FairnessOfRun(Record):
    """Fairness differences of one side's predictions between the groups of one attribute, as Fairlearn defines them."""

    demographic_parity_difference: Interval | None = None
    equalized_odds_difference: Interval | None = None


def fairness_at(
    fairness: Mapping[str, Pair[FairnessOfRun]], attribute: str, side: Literal["before", "after"] = "after"
) -> FairnessOfRun:
    """One attribute's differences on one side; all null where there are none."""
    sides = fairness.get(attribute)
    found = None if sides is None else sides.before if side == "before" else sides.after
    return found or FairnessOfRun()


class HeadOfRun(Record):
    """What the trained head itself predicts, beside heads that are fitted anew by one rule."""

    task: Pair[TaskOfRun]
    fairness: dict[str, Pair[FairnessOfRun]]


class Row(Record):
    """One run: its varied settings, leakage, task and fairness figures."""

    name: str
    settings: dict[str, JsonValue]
    collapsed: bool
    gates: Literal["pass", "fail", "error"] | None
    score: Pair[Score]
    task: Pair[TaskOfRun]
    attributes: dict[str, AttributeOfRun]
    fairness: dict[str, Pair[FairnessOfRun]]
    head: HeadOfRun | None
    gain_over_bias_bits: float | None
    gain_error_bits: float | None
    leakage_given_target_bits: float | None
    net_gain_bits: float | None
    effective_rank: Real
    cka: Real | None
    samples: Samples
    probes: tuple[str, ...]
    page: Path | None = Field(default=None, exclude=True)
    """Its report as HTML, which a page about it links to; not in the JSON, for paths are of one machine."""

    def leakage_of(self, attribute: str, side: Side) -> Interval | None:
        """One attribute's leakage on one side; None where it has none."""
        at = self.attributes[attribute].at(side) if attribute in self.attributes else None
        return None if at is None else at.leakage_bits

    def fairness_of(self, attribute: str, side: Literal["before", "after"] = "after") -> FairnessOfRun:
        """One attribute's differences on one side; all null where it has none."""
        return fairness_at(self.fairness, attribute, side)


class Spread(Record):
    """A figure over the runs of a group; the standard deviation (n − 1) is null for a single run.

    A single run has the interval of its audit instead, where the figure has one.
    """

    mean: float
    sd: float | None
    min: float
    max: float
    n: int
    interval: Bounds | None = None

    @property
    def bounds(self) -> tuple[float, float]:
        """From the least to the greatest; of a single run its interval."""
        return (self.min, self.max) if self.interval is None else (self.interval.lower, self.interval.upper)


class AttributeOfGroup(Record):
    """One attribute's leakage and fairness differences over a group of runs.

    On the frontier: no other group leaks less at no less accuracy.
    """

    leakage_bits: Spread | None = None
    conditional_leakage_bits: Spread | None = None
    demographic_parity_difference: Spread | None = None
    equalized_odds_difference: Spread | None = None
    head_demographic_parity_difference: Spread | None = None
    """Of the trained head's own predictions."""
    on_frontier: bool = False


class Group(Record):
    """Runs that differ in seeds alone."""

    number: int
    name: str
    settings: dict[str, JsonValue]
    runs: tuple[str, ...]
    collapsed: int
    gates_failed: int
    gain_over_bias_bits: Spread | None
    leakage_given_target_bits: Spread | None
    net_gain_bits: Spread | None
    net_gain_error_bits: float | None
    """Its standard error, over seeds or over validation rows, whichever is larger; null where neither is known."""
    score: Spread | None
    accuracy: Spread | None
    worst_group_accuracy: Spread | None
    head_accuracy: Spread | None
    head_worst_group_accuracy: Spread | None
    attributes: dict[str, AttributeOfGroup]

    def of(self, attribute: str) -> AttributeOfGroup:
        """The figures of one attribute; all null where it was not audited in every run."""
        return self.attributes.get(attribute, AttributeOfGroup())

    def point(self, attribute: str) -> tuple[float, float] | None:
        """Leakage and score, the means; None where one of them is unknown."""
        leakage = self.of(attribute).leakage_bits
        return None if leakage is None or self.score is None else (leakage.mean, self.score.mean)


def written(value: JsonValue) -> str:
    """A setting as YAML writes it; a dash for one that is not there.

    Example:
        >>> written(True), written(0.5), written(None)
        ('true', '0.5', '–')
    """
    return "–" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


class Comparison(Record):
    """Several runs side by side, in the form that `mibias compare --format json` prints."""

    schema_version: Literal[1] = 1
    varied: tuple[str, ...]
    """Settings in which the runs differ."""
    shared: dict[str, JsonValue]
    """Settings that all runs have in common; empty where one of them has no recipe."""
    same_data: bool
    """Whether the same rows were audited in all runs, or each seed drew them anew; where not, nothing is chosen."""
    runs: tuple[Row, ...]
    groups: tuple[Group, ...]
    chosen: int | None
    """Number of the group that is chosen without unbiased data; null where there is nothing to choose by."""
    as_good: tuple[int, ...]
    """Numbers of groups whose net gain is less than a standard error below the chosen one's: data cannot tell them."""
    notes: tuple[str, ...]
    """What should be known before the figures are believed."""

    @property
    def settings(self) -> list[str]:
        """Settings other than seeds in which the runs differ."""
        return [key for key in self.varied if key not in SEEDS]

    def label(self, group: Group) -> str:
        """A group's number and name; where one setting alone differs, its value says it."""
        value = group.settings[self.settings[0]] if len(self.settings) == 1 else None
        return f"{group.number}: {group.name if value is None else written(value)}"

    @property
    def attributes(self) -> list[str]:
        """Every attribute that a run has, in order."""
        return list(dict.fromkeys(name for run in self.runs for name in run.attributes))

    def to_json(self) -> str:
        """As text, NaN as null."""
        plain = json.loads(self.model_dump_json())
        return json.dumps(plain, indent=2, allow_nan=False, ensure_ascii=False) + "\n"
