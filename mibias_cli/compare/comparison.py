"""Several reports side by side: what each run reached, the spread over seeds, and who is on the frontier."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from pydantic import JsonValue

from mibias_cli.evaluation.findings import Accuracies, AttributeFindings, Interval, Leakage, Sides
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
    "Row",
    "ScoreOfRun",
    "Spread",
    "compare_reports",
    "frontier_members",
]

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


class ScoreOfRun(Record):
    """The headline task metric of one side: accuracy, R², or without a target how much of the original is left."""

    name: str
    estimate: Real
    lower: Real | None
    upper: Real | None


class ScoreSides(Record):
    """The headline task metric before and after."""

    before: ScoreOfRun | None
    after: ScoreOfRun | None


class TaskOfRun(Record):
    """Accuracies of one side; null for a target of numbers."""

    accuracy: Interval | None
    worst_group_accuracy: float | None


class TaskPair(Record):
    """Accuracies before and after."""

    before: TaskOfRun | None
    after: TaskOfRun | None


class LeakageOfRun(Record):
    """Both answers of one side, in bits."""

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
    score: ScoreSides
    task: TaskPair
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
    varied = _varied(runs)
    rows = [_row(run, varied) for run in runs]
    groups = _with_frontier(_groups(rows, [key for key in varied if key not in SEEDS]))
    chosen = _chosen(groups)
    return Comparison(
        varied=tuple(varied),
        runs=tuple(rows),
        groups=tuple(groups),
        chosen=None if chosen is None else chosen.number,
        notes=(*_notes(runs, rows), *_choice_note(chosen, groups)),
    )


def _with_frontier(groups: Sequence[Group]) -> list[Group]:
    """The groups, told for each attribute whether no other leaks less at no less accuracy."""
    on: dict[int, dict[str, AttributeOfGroup]] = {group.number: dict(group.attributes) for group in groups}
    for name in dict.fromkeys(name for group in groups for name in group.attributes):
        members = frontier_members([None if group.collapsed else group.point(name) for group in groups])
        for group, member in zip(groups, members, strict=True):
            if name in group.attributes:
                on[group.number][name] = group.attributes[name].model_copy(update={"on_frontier": member})
    return [group.model_copy(update={"attributes": on[group.number]}) for group in groups]


def _chosen(groups: Sequence[Group]) -> Group | None:
    """The group of the highest net gain: information on the target beyond the bias, less leakage beyond the target.

    Collapsed runs and failed gates are out. Both figures come from validation data, which are as biased as the training
    data; nobody needs unbiased ones to choose. None where fewer than two groups have the figure.
    """
    told = [group for group in groups if group.net_gain_bits is not None]
    fit = [group for group in told if not group.collapsed and not group.gates_failed]
    return max(fit, key=_net_gain) if len(told) > 1 and fit else None


def _net_gain(group: Group) -> float:
    return -math.inf if group.net_gain_bits is None else group.net_gain_bits.mean


def _choice_note(chosen: Group | None, groups: Sequence[Group]) -> Iterator[str]:
    if chosen is None or chosen.gain_over_bias_bits is None or chosen.leakage_given_target_bits is None:
        return
    out = sum(group.gates_failed > 0 for group in groups)
    beside = f" {out} with failed gates left out." if out else ""
    yield (
        f"Chosen without unbiased data: {chosen.number}: {chosen.name}, which tells "
        f"{chosen.gain_over_bias_bits.mean:.3f} bits of the target beyond the attributes and "
        f"{chosen.leakage_given_target_bits.mean:.3f} bits of the attributes beyond the target: the highest "
        f"difference.{beside}"
    )


def _varied(runs: Sequence[ComparedRun]) -> list[str]:
    known = [run.settings for run in runs if run.settings]
    keys = dict.fromkeys(key for settings in known for key in settings)
    return [key for key in keys if any(s.get(key) != known[0].get(key) for s in known)]


def _row(run: ComparedRun, varied: Sequence[str]) -> Row:
    report = run.report
    return Row(
        name=run.name,
        settings={key: run.settings.get(key) for key in varied},
        collapsed=report.verdict.collapsed,
        gates=outcome(report.gates) if report.gates else None,
        score=ScoreSides(before=_score(task_score(report, "before")), after=_score(task_score(report, "after"))),
        task=TaskPair(before=_task(report.task.before), after=_task(report.task.after)),
        attributes={name: _attribute(found) for name, found in report.attributes.items()},
        gain_over_bias_bits=run.gain_over_bias_bits,
        leakage_given_target_bits=run.leakage_given_target_bits,
        net_gain_bits=run.net_gain_bits,
        effective_rank=report.similarity.effective_rank_after,
        cka=report.similarity.cka,
    )


def _score(score: Score | None) -> ScoreOfRun | None:
    if score is None:
        return None
    return ScoreOfRun(name=score.name, estimate=score.estimate, lower=score.lower, upper=score.upper)


def _task(task: Record | None) -> TaskOfRun | None:
    if task is None:
        return None
    if not isinstance(task, Accuracies):
        return TaskOfRun(accuracy=None, worst_group_accuracy=None)
    return TaskOfRun(accuracy=task.accuracy, worst_group_accuracy=task.worst_group_accuracy)


def _attribute(found: AttributeFindings) -> AttributeOfRun:
    def side(leakage: Leakage) -> LeakageOfRun:
        return LeakageOfRun(
            leakage_bits=leakage.leakage_bits, conditional_leakage_bits=leakage.conditional_leakage_bits
        )

    before = None if found.before is None else side(found.before)
    return AttributeOfRun(entropy_bits=found.entropy_bits, before=before, after=side(found.after))


def _groups(rows: Sequence[Row], keys: Sequence[str]) -> list[Group]:
    """Rows of the same settings but for seeds; a run without settings of its own is a group of its own."""
    members: dict[str, list[Row]] = {}
    for row in rows:
        own = sorted((key, repr(row.settings.get(key))) for key in keys)
        key = repr(own) if any(value is not None for value in row.settings.values()) else row.name
        members.setdefault(key, []).append(row)
    return [_group(number, rows, keys) for number, rows in enumerate(members.values(), start=1)]


def _group(number: int, rows: Sequence[Row], keys: Sequence[str]) -> Group:
    names = dict.fromkeys(name for row in rows for name in row.attributes)
    settings = {key: rows[0].settings.get(key) for key in keys}
    label = ", ".join(f"{key}={value}" for key, value in settings.items() if value is not None)
    tasks = [row.task.after for row in rows]
    return Group(
        number=number,
        name=label or rows[0].name,
        settings=settings,
        runs=tuple(row.name for row in rows),
        collapsed=sum(row.collapsed for row in rows),
        gates_failed=sum(row.gates == "fail" for row in rows),
        gain_over_bias_bits=_spread([row.gain_over_bias_bits for row in rows]),
        leakage_given_target_bits=_spread([row.leakage_given_target_bits for row in rows]),
        net_gain_bits=_spread([row.net_gain_bits for row in rows]),
        score=_spread([_estimate(row.score.after) for row in rows]),
        accuracy=_spread([None if task is None else _estimate(task.accuracy) for task in tasks]),
        worst_group_accuracy=_spread([None if task is None else task.worst_group_accuracy for task in tasks]),
        attributes={
            name: AttributeOfGroup(
                leakage_bits=_spread([row.attributes[name].after.leakage_bits.estimate for row in rows]),
                conditional_leakage_bits=_spread(
                    [_estimate(row.attributes[name].after.conditional_leakage_bits) for row in rows]
                ),
            )
            for name in names
            if all(name in row.attributes for row in rows)
        },
    )


def _estimate(figure: Interval | ScoreOfRun | None) -> float | None:
    return None if figure is None else figure.estimate


def _spread(values: Sequence[float | None]) -> Spread | None:
    """Over the runs of a group; None where a value is missing."""
    known = [value for value in values if value is not None and math.isfinite(value)]
    if not known or len(known) < len(values):
        return None
    mean = math.fsum(known) / len(known)
    square = math.fsum((value - mean) ** 2 for value in known)
    deviation = math.sqrt(square / (len(known) - 1)) if len(known) > 1 else None
    return Spread(mean=mean, sd=deviation, min=min(known), max=max(known), n=len(known))


def frontier_members(points: Sequence[tuple[float, float] | None]) -> list[bool]:
    """Which points no other beats: none leaks less at no less accuracy, or as little at more.

    Args:
        points: (leakage, accuracy) each; None is on no frontier.

    Example:
        >>> frontier_members([(0.1, 0.8), (0.2, 0.7), (0.3, 0.9), None])
        [True, False, True, False]
    """

    def beaten(point: tuple[float, float]) -> bool:
        return any(p is not None and p != point and p[0] <= point[0] and p[1] >= point[1] for p in points)

    return [point is not None and not beaten(point) for point in points]


def _notes(runs: Sequence[ComparedRun], rows: Sequence[Row]) -> Iterator[str]:
    by_seed: dict[str, set[str]] = {}
    for run in runs:
        seeds = repr([run.settings.get(key) for key in SEEDS])
        by_seed.setdefault(seeds, set()).add(str(run.report.provenance.get("data_sha256")))
    if any(len(data) > 1 for data in by_seed.values()):
        yield "The runs were not audited on the same data: their figures differ for that reason, too."
    elif len(set().union(*by_seed.values())) > 1:
        yield "Each seed draws the audited samples anew: the spread over seeds holds that, too."
    collapsed = [row.name for row in rows if row.collapsed]
    if collapsed:
        yield f"Collapsed, so their low leakage is no success: {', '.join(collapsed)}."
    if len({tuple(row.attributes) for row in rows}) > 1:
        yield "The runs do not have the same attributes."
