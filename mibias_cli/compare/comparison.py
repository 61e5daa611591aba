"""Several reports side by side: what each run reached, the spread over seeds, and who is on the frontier."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic, Literal, TypeVar

from pydantic import JsonValue

from mibias_cli.evaluation.leakage_findings import Interval, Sides
from mibias_cli.evaluation.record import Real, Record
from mibias_cli.gates.rules import outcome
from mibias_cli.report.document import Report
from mibias_cli.report.score import Score, task_score

__all__ = [
    "SEEDS",
    "AttributeOfGroup",
    "AttributeOfRun",
    "ComparedRun",
    "Comparison",
    "Group",
    "Pair",
    "Row",
    "Spread",
    "compare_reports",
    "frontier_members",
]

T = TypeVar("T", bound=Record)
SEEDS = ("seed", "data.colour_seed")
"""Settings that only draw again: runs that differ in nothing else are repetitions of one another."""


@dataclass(frozen=True, kw_only=True)
class ComparedRun:
    """A run to compare: its name, its report, and its recipe's settings, flat.

    `gain_over_bias_bits` is the information of its model's scores on the target beyond the attributes, on validation
    rows; `leakage_given_target_bits` the information of its features on the attributes beyond the target, on the same
    rows; None: unknown.
    """

    name: str
    report: Report
    settings: Mapping[str, JsonValue] = field(default_factory=dict)
    gain_over_bias_bits: float | None = None
    leakage_given_target_bits: float | None = None

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


class Row(Record):
    """One run: its varied settings, leakage and task figures."""

    name: str
    settings: dict[str, JsonValue]
    collapsed: bool
    gates: Literal["pass", "fail", "error"] | None
    score: Pair[Score]
    task: Pair[TaskOfRun]
    attributes: dict[str, AttributeOfRun]
    gain_over_bias_bits: float | None
    leakage_given_target_bits: float | None
    net_gain_bits: float | None
    effective_rank: Real
    cka: Real | None


class Spread(Record):
    """A figure over the runs of a group; the standard deviation (n − 1) is null for a single run."""

    mean: float
    sd: float | None
    min: float
    max: float
    n: int


class AttributeOfGroup(Record):
    """One attribute's leakage over a group of runs; on the frontier: no other group leaks less at no less accuracy."""

    leakage_bits: Spread | None
    conditional_leakage_bits: Spread | None
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
    score: Spread | None
    accuracy: Spread | None
    worst_group_accuracy: Spread | None
    attributes: dict[str, AttributeOfGroup]

    def point(self, attribute: str) -> tuple[float, float] | None:
        """Leakage and score, the means; None where one of them is unknown."""
        found = self.attributes.get(attribute)
        if found is None or found.leakage_bits is None or self.score is None:
            return None
        return found.leakage_bits.mean, self.score.mean


class Comparison(Record):
    """Several runs side by side, in the form that `mibias compare --format json` prints."""

    schema_version: Literal[1] = 1
    varied: tuple[str, ...]
    """Settings in which the runs differ."""
    runs: tuple[Row, ...]
    groups: tuple[Group, ...]
    chosen: int | None
    """Number of the group that is chosen without unbiased data; null where there is nothing to choose by."""
    notes: tuple[str, ...]
    """What should be known before the figures are believed."""

    @property
    def attributes(self) -> list[str]:
        """Every attribute that a run has, in order."""
        return list(dict.fromkeys(name for run in self.runs for name in run.attributes))

    def to_json(self) -> str:
        """As text, NaN as null."""
        plain = json.loads(self.model_dump_json())
        return json.dumps(plain, indent=2, allow_nan=False, ensure_ascii=False) + "\n"


def compare_reports(runs: Sequence[ComparedRun]) -> Comparison:
    """Compare runs: rows, groups of rows that differ in seeds alone, who is on the frontier, and what is chosen."""
    # reports without a recipe say nothing of settings, so they do not make every setting a varied one
    keys = dict.fromkeys(key for run in runs for key in run.settings)
    known = [{**keys, **run.settings} for run in runs if run.settings]
    varied = [key for key in keys if any(settings[key] != known[0][key] for settings in known)]
    rows = [_row(run, varied) for run in runs]
    groups = _with_frontier(_groups(rows, [key for key in varied if key not in SEEDS]))
    # by groups, not runs: a lucky seed is no better setting
    chosen = _chosen(groups)
    return Comparison(
        varied=tuple(varied),
        runs=tuple(rows),
        groups=tuple(groups),
        chosen=None if chosen is None else chosen.number,
        notes=(*_notes(runs, rows), *_choice_note(chosen, groups)),
    )


def _row(run: ComparedRun, varied: Sequence[str]) -> Row:
    report = run.report
    return Row(
        name=run.name,
        settings={key: run.settings.get(key) for key in varied},
        collapsed=report.verdict.collapsed,
        gates=outcome(report.gates) if report.gates else None,
        score=Pair(before=task_score(report, "before"), after=task_score(report, "after")),
        # the records here keep a part of the report's figures, by the same names
        task=Pair[TaskOfRun].model_validate(report.task, from_attributes=True),
        attributes={
            name: AttributeOfRun.model_validate(found, from_attributes=True)
            for name, found in report.attributes.items()
        },
        gain_over_bias_bits=run.gain_over_bias_bits,
        leakage_given_target_bits=run.leakage_given_target_bits,
        net_gain_bits=run.net_gain_bits,
        effective_rank=report.similarity.effective_rank_after,
        cka=report.similarity.cka,
    )


def _groups(rows: Sequence[Row], keys: Sequence[str]) -> list[Group]:
    """Rows of the same settings except for seeds."""
    members: dict[str, list[Row]] = {}
    for row in rows:
        # a report without a recipe has no settings: nothing says that it repeats another, so it stands alone
        known = any(value is not None for value in row.settings.values())
        same = repr(sorted((key, repr(row.settings[key])) for key in keys)) if known else row.name
        members.setdefault(same, []).append(row)
    return [_group(number, rows, keys) for number, rows in enumerate(members.values(), start=1)]


def _group(number: int, rows: Sequence[Row], keys: Sequence[str]) -> Group:
    names = dict.fromkeys(name for row in rows for name in row.attributes)
    settings = {key: rows[0].settings[key] for key in keys}
    label = ", ".join(f"{key}={value}" for key, value in settings.items() if value is not None)
    tasks = [row.task.after or TaskOfRun() for row in rows]
    # only what every run of the group has: a mean over some of them would not be comparable
    leakage = {
        name: [row.attributes[name].after for row in rows]
        for name in names
        if all(name in row.attributes for row in rows)
    }
    return Group(
        number=number,
        name=label or rows[0].name,
        settings=settings,
        runs=tuple(row.name for row in rows),
        collapsed=sum(row.collapsed for row in rows),
        gates_failed=sum(row.gates == "fail" for row in rows),
        gain_over_bias_bits=_spread(row.gain_over_bias_bits for row in rows),
        leakage_given_target_bits=_spread(row.leakage_given_target_bits for row in rows),
        net_gain_bits=_spread(row.net_gain_bits for row in rows),
        score=_spread(row.score.after for row in rows),
        accuracy=_spread(task.accuracy for task in tasks),
        worst_group_accuracy=_spread(task.worst_group_accuracy for task in tasks),
        attributes={
            name: AttributeOfGroup(
                leakage_bits=_spread(side.leakage_bits for side in sides),
                conditional_leakage_bits=_spread(side.conditional_leakage_bits for side in sides),
            )
            for name, sides in leakage.items()
        },
    )


def _spread(figures: Iterable[Interval | Score | float | None]) -> Spread | None:
    """Over the runs of a group, of estimates where figures have intervals; None where a value is missing."""
    values = [figure.estimate if isinstance(figure, Interval | Score) else figure for figure in figures]
    known = [value for value in values if value is not None and math.isfinite(value)]
    # a mean over the runs that happen to have a figure would flatter the setting
    if not known or len(known) < len(values):
        return None
    sd = statistics.stdev(known) if len(known) > 1 else None
    return Spread(mean=statistics.fmean(known), sd=sd, min=min(known), max=max(known), n=len(known))


def _with_frontier(groups: Sequence[Group]) -> list[Group]:
    """The groups, marked for each attribute where no other leaks less at no less accuracy."""
    names = {name for group in groups for name in group.attributes}
    # features that hold nothing leak nothing: a group with a collapsed run must not beat the others
    members = {
        name: frontier_members([None if group.collapsed else group.point(name) for group in groups]) for name in names
    }

    def marked(k: int, group: Group) -> Group:
        found = group.attributes.items()
        own = {name: figures.model_copy(update={"on_frontier": members[name][k]}) for name, figures in found}
        return group.model_copy(update={"attributes": own})

    return [marked(k, group) for k, group in enumerate(groups)]


def frontier_members(points: Sequence[tuple[float, float] | None]) -> list[bool]:
    """Which points (leakage, accuracy) no other beats: none leaks less at no less accuracy, or as little at more.

    Example:
        >>> frontier_members([(0.1, 0.8), (0.2, 0.7), (0.3, 0.9), None])
        [True, False, True, False]
    """

    # two equal points do not beat each other: both are on the frontier
    def beaten(point: tuple[float, float]) -> bool:
        return any(p is not None and p != point and p[0] <= point[0] and p[1] >= point[1] for p in points)

    return [point is not None and not beaten(point) for point in points]


def _chosen(groups: Sequence[Group]) -> Group | None:
    """The group of the highest net gain: information on the target beyond the bias, less leakage beyond the target.

    Collapsed runs and failed gates are out. Both figures come from validation data, which are as biased as the training
    data; nobody needs unbiased ones to choose. None where fewer than two groups have the figure.
    """
    known = [(group.net_gain_bits.mean, group) for group in groups if group.net_gain_bits is not None]
    fit = [pair for pair in known if not pair[1].collapsed and not pair[1].gates_failed]
    return max(fit, key=lambda pair: pair[0])[1] if len(known) > 1 and fit else None


def _choice_note(chosen: Group | None, groups: Sequence[Group]) -> Iterator[str]:
    if chosen is None or chosen.gain_over_bias_bits is None or chosen.leakage_given_target_bits is None:
        return
    # said, because the best figure may be among those that were left out
    out = sum(group.gates_failed > 0 for group in groups)
    beside = f" {out} with failed gates left out." if out else ""
    yield (
        f"Chosen without unbiased data: {chosen.number}: {chosen.name}, which tells "
        f"{chosen.gain_over_bias_bits.mean:.3f} bits of the target beyond the attributes and "
        f"{chosen.leakage_given_target_bits.mean:.3f} bits of the attributes beyond the target: the highest "
        f"difference.{beside}"
    )


def _notes(runs: Sequence[ComparedRun], rows: Sequence[Row]) -> Iterator[str]:
    # other data under the same seed are another data set; under other seeds they are what the seed drew
    by_seed: dict[str, set[str]] = {}
    for run in runs:
        seeds = repr(sorted(item for item in run.settings.items() if item[0] in SEEDS))
        by_seed.setdefault(seeds, set()).add(str(run.report.data_sha256))
    if any(len(data) > 1 for data in by_seed.values()):
        yield "The runs were not audited on the same data: their figures differ for that reason, too."
    elif len(set().union(*by_seed.values())) > 1:
        yield "Each seed draws the audited samples anew: the spread over seeds holds that, too."
    collapsed = [row.name for row in rows if row.collapsed]
    if collapsed:
        yield f"Collapsed, so their low leakage is no success: {', '.join(collapsed)}."
    if len({tuple(row.attributes) for row in rows}) > 1:
        yield "The runs do not have the same attributes."
