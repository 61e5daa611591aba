"""What an audit finds of leakage: frozen records with the names that leakage.json has."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any, Generic, Literal, Self, TypeAlias, TypeVar

from pydantic import Field, WithJsonSchema

from mibias_cli.evaluation.record import FlatRecord, Flattened, Real, Record

__all__ = [
    "NO_PROBE", "QUESTIONS", "SIDES", "AttributeFindings", "Bounds", "Change", "ChannelFindings", "ColumnFindings",
    "ColumnSides", "Count", "Finding", "Interval", "LayerFindings", "Leakage", "NullBand", "ProbeFindings",
    "QuestionName", "Share", "Side", "Sides", "SizeCurve", "SizePoint",
]  # fmt: skip

Kind: TypeAlias = Literal["categorical", "continuous"]
Share = Annotated[Real, WithJsonSchema({"type": ["number", "null"], "description": "Between 0 and 1, up to rounding."})]
"""A share; no bound is enforced: a mean of ones may come out as 1.0000000000000002, and must not end an audit."""
Count = Annotated[int, Field(ge=0)]
T = TypeVar("T", bound=Record)
Side: TypeAlias = Literal["loaded", "before", "after"]
SIDES: tuple[Side, ...] = ("loaded", "before", "after")
"""Weights as they were loaded, the original (plainly trained where a recipe says so), and what is audited."""
QuestionName: TypeAlias = Literal["marginal", "conditional"]
QUESTIONS: tuple[QuestionName, ...] = ("marginal", "conditional")
"""I(z; c), and I(z; c | y)."""


class Sides(Record, Generic[T]):
    """The same figures of the original extractor and of the one under audit."""

    before: T | None
    """Of the original extractor; null where there is none."""
    after: T
    loaded: T | None = None
    """Of pretrained weights as they were loaded, where `before` was trained on the task; else null."""

    @classmethod
    def of(cls, found: Mapping[Side, T], **further: Any) -> Self:
        """From what was found by side, `after` at least, and the further fields of a subclass."""
        return cls(before=found.get("before"), after=found["after"], loaded=found.get("loaded"), **further)

    def at(self, side: Side) -> T | None:
        """The figures of one side."""
        return {"loaded": self.loaded, "before": self.before, "after": self.after}[side]


class Interval(Record):
    """An estimate, never clamped, with its bootstrap interval, which ends where the figure can be no less or more."""

    estimate: Real
    lower: Real
    upper: Real


class Bounds(Record):
    """The interval of a figure that stands beside it."""

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

    accuracy: Share | None = None
    """Null for a regressor of a continuous attribute."""
    auroc: Share | None = None
    """Area under the ROC curve, of more than two classes the mean over each against the rest; 0.5 is chance.

    Of the marginal question alone, since the target would rank as well; null for a regressor, and beyond 100 classes.
    """
    leakage_bits: Real
    selection_bits: Real = math.nan
    """Its score inside the fitting part: that alone chooses the headline probe."""
    setting: str = ""
    """What tuning inside the fitting part chose, in words."""
    r2: Real | None = None
    """Of a regressor, in place of an accuracy."""
    p_value: Share | None = None
    """Of the permutation test."""
    p_value_holm: Share | None = None
    """The same, corrected over attributes, channels and probes."""


NO_PROBE = "none"
"""In place of a probe's name where the answer is known without one."""


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
    def is_determined(self) -> bool:
        """Whether the target determines the attribute, so that given it nothing can leak and no probe was asked."""
        return self.headline_probe == NO_PROBE

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
    conditional: Annotated[Finding | None, Flattened("conditional_")] = None
    chance_accuracy: float = 0.0

    @property
    def leakage_bits(self) -> Interval:
        """I(z; c) in bits."""
        return self.marginal.leakage_bits

    @property
    def conditional_leakage_bits(self) -> Interval | None:
        """I(z; c | y) in bits; None without a target."""
        return None if self.conditional is None else self.conditional.leakage_bits

    def answer(self, question: QuestionName) -> Finding | None:
        """The answer to one question; None where it was not asked."""
        return self.marginal if question == "marginal" else self.conditional

    @property
    def questions(self) -> tuple[tuple[QuestionName, Finding], ...]:
        """The questions that were asked, with their answers."""
        return tuple((name, found) for name in QUESTIONS if (found := self.answer(name)) is not None)


class Change(Record):
    """After less before, with intervals of the paired difference (the same resamples on both sides)."""

    leakage_bits: Interval
    conditional_leakage_bits: Interval | None

    def answer(self, question: QuestionName) -> Interval | None:
        """The change in the answer to one question."""
        return self.leakage_bits if question == "marginal" else self.conditional_leakage_bits


class SizePoint(Record):
    """Leakage that a probe finds which was fitted on so many rows."""

    n_fit: Count
    leakage_bits: Interval


class SizeCurve(Record):
    """Whether more audited samples find more: the headline probe, fitted on growing shares of the fitting rows.

    Each share holds the smaller ones, the last is all fitting rows, and all are scored on the same rows.
    """

    question: QuestionName
    probe: str
    channel: str
    points: tuple[SizePoint, ...]
    last_step_bits: Interval
    """From half of the fitting rows to all of them, with the interval of the paired difference."""
    tolerance_bits: Real
    """1 % of H(c), or of H(c | y): by less than that an estimate may grow."""
    grows_with_n: bool
    """Whether the interval of the last step lies above the tolerance: more samples would find more."""


class ChannelFindings(Record):
    """One channel: H(c) and I(y; c) on the audited split, of all classes as they are, and its leakage by side."""

    entropy_bits: Real = math.nan
    target_attribute_bits: Real = math.nan
    before: Leakage | None = None
    after: Leakage
    loaded: Leakage | None = None
    """From pretrained weights as they were loaded, where `before` was trained on the task; else null."""
    random: Leakage | None = None
    """From a randomly initialised extractor; null where it was not computed."""
    pooled: tuple[str, ...] = ()
    """Classes that probes do not tell from some other: those of fewer than ten audited samples, and what they join."""

    def at(self, side: Side) -> Leakage | None:
        """Leakage of one side."""
        return {"loaded": self.loaded, "before": self.before, "after": self.after}[side]


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
    sizes: Sides[SizeCurve] | None = None
    """Leakage by number of fitting rows; null where it was not asked for, or rows are too few to halve."""

    def whole_bits(self, question: QuestionName, channel: str | None = None) -> float:
        """H(c) of a channel, or H(c | y): the most it could leak. None: the channel of after's headline."""
        answer = self.after.answer(question)
        if channel is None and answer is not None:
            channel = answer.headline_channel
        found = self.channels.get(channel or "", self)
        return found.entropy_bits - (found.target_attribute_bits if question == "conditional" else 0.0)


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
    """Of the classes as probes see them, rare ones joined."""
    pooled: tuple[str, ...] = ()
    """Classes that probes do not tell from some other, as of an attribute."""


class ColumnSides(Sides[ColumnFindings]):
    """A column that features should keep, before and after."""

    kind: Kind = "categorical"
