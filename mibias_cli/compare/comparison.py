"""Several reports side by side: what each run reached, the spread over seeds, and who is on the frontier."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence

from mibias_cli.compare.choice import as_good_as, choice_note, choose, notes, on_same_data, with_frontier
from mibias_cli.compare.records import (
    SEEDS,
    AttributeOfGroup,
    AttributeOfRun,
    ComparedRun,
    Comparison,
    FairnessOfRun,
    Group,
    HeadOfRun,
    Pair,
    Row,
    Spread,
    TaskOfRun,
    fairness_at,
)
from mibias_cli.evaluation.leakage_findings import Bounds, Interval
from mibias_cli.evaluation.task_findings import FairnessFindings, FairnessSides, TaskSides
from mibias_cli.gates.rules import outcome
from mibias_cli.report.task.score import Score, task_score

__all__ = ["compare_reports", "spread"]


def compare_reports(runs: Sequence[ComparedRun]) -> Comparison:
    """Compare runs: rows, groups of rows that differ in seeds alone, who is on the frontier, and what is chosen."""
    # reports without a recipe say nothing of settings, so they do not make every setting a varied one
    keys = dict.fromkeys(key for run in runs for key in run.settings)
    known = [{**keys, **run.settings} for run in runs if run.settings]
    varied = [key for key in keys if any(settings[key] != known[0][key] for settings in known)]
    rows = [_row(run, varied) for run in runs]
    groups = _groups(rows, [key for key in varied if key not in SEEDS])
    # figures of other data would make one setting look better than another
    same_data = on_same_data(runs)
    groups = with_frontier(groups) if same_data else groups
    # by groups, not runs: a lucky seed is no better setting
    chosen = choose(groups) if same_data else None
    return Comparison(
        varied=tuple(varied),
        shared={key: known[0][key] for key in keys if key not in varied} if len(known) == len(runs) else {},
        same_data=same_data,
        runs=tuple(rows),
        groups=tuple(groups),
        chosen=None if chosen is None else chosen.number,
        as_good=tuple(group.number for group in as_good_as(chosen, groups)),
        notes=(*notes(runs, rows), *choice_note(chosen, groups)),
    )


def _row(run: ComparedRun, varied: Sequence[str]) -> Row:
    report = run.report
    return Row(
        name=run.name,
        settings={key: run.settings.get(key) for key in varied},
        collapsed=report.verdict.collapsed,
        gates=outcome(report.gates) if report.gates else None,
        score=Pair(before=task_score(report, "before"), after=task_score(report, "after")),
        task=_task(report.task),
        attributes={
            name: AttributeOfRun.model_validate(found, from_attributes=True)
            for name, found in report.attributes.items()
        },
        fairness=_fairness(report.fairness),
        head=None
        if report.head is None
        else HeadOfRun(task=_task(report.head.task), fairness=_fairness(report.head.fairness)),
        gain_over_bias_bits=run.gain_over_bias_bits,
        gain_error_bits=run.gain_error_bits,
        leakage_given_target_bits=run.leakage_given_target_bits,
        net_gain_bits=run.net_gain_bits,
        effective_rank=report.similarity.effective_rank_after,
        cka=report.similarity.cka,
        samples=report.samples,
        probes=report.settings.probes,
        page=run.page,
    )


def _task(found: TaskSides) -> Pair[TaskOfRun]:
    # the records here keep a part of the report's figures, by the same names
    return Pair[TaskOfRun].model_validate(found, from_attributes=True)


def _fairness(found: Mapping[str, FairnessSides]) -> dict[str, Pair[FairnessOfRun]]:
    return {
        name: Pair(before=_differences(sides.before), after=_differences(sides.after)) for name, sides in found.items()
    }


def _differences(found: FairnessFindings | None) -> FairnessOfRun | None:
    """Differences with their intervals; a report that an earlier mibias wrote has none: NaN then."""
    if found is None:
        return None

    def figure(name: str) -> Interval | None:
        estimate, bounds = getattr(found, name), found.bounds(name) or Bounds(lower=math.nan, upper=math.nan)
        return None if estimate is None else Interval(estimate=estimate, lower=bounds.lower, upper=bounds.upper)

    return FairnessOfRun(**{name: figure(name) for name in FairnessOfRun.model_fields})


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
    heads = [(row.head and row.head.task.after) or TaskOfRun() for row in rows]
    net_gain = spread(row.net_gain_bits for row in rows)
    return Group(
        number=number,
        name=label or rows[0].name,
        settings=settings,
        runs=tuple(row.name for row in rows),
        collapsed=sum(row.collapsed for row in rows),
        gates_failed=sum(row.gates == "fail" for row in rows),
        gain_over_bias_bits=spread(row.gain_over_bias_bits for row in rows),
        leakage_given_target_bits=spread(row.leakage_given_target_bits for row in rows),
        net_gain_bits=net_gain,
        net_gain_error_bits=_net_gain_error(net_gain, spread(row.gain_error_bits for row in rows)),
        score=spread(row.score.after for row in rows),
        accuracy=spread(task.accuracy for task in tasks),
        worst_group_accuracy=spread(task.worst_group_accuracy for task in tasks),
        head_accuracy=spread(head.accuracy for head in heads),
        head_worst_group_accuracy=spread(head.worst_group_accuracy for head in heads),
        # only what every run of the group has: a mean over some of them would not be comparable
        attributes={name: _attribute(rows, name) for name in names if all(name in row.attributes for row in rows)},
    )


def _net_gain_error(net_gain: Spread | None, over_rows: Spread | None) -> float | None:
    """The standard error over seeds, or over validation rows, which all seeds may share: the larger of both."""
    errors = [] if over_rows is None else [over_rows.mean]
    if net_gain is not None and net_gain.sd is not None:
        errors.append(net_gain.sd / math.sqrt(net_gain.n))
    return max(errors, default=None)


def _attribute(rows: Sequence[Row], name: str) -> AttributeOfGroup:
    leakage = [row.attributes[name].after for row in rows]
    fairness = [row.fairness_of(name) for row in rows]
    heads = [FairnessOfRun() if row.head is None else fairness_at(row.head.fairness, name) for row in rows]
    return AttributeOfGroup(
        leakage_bits=spread(side.leakage_bits for side in leakage),
        conditional_leakage_bits=spread(side.conditional_leakage_bits for side in leakage),
        demographic_parity_difference=spread(side.demographic_parity_difference for side in fairness),
        equalized_odds_difference=spread(side.equalized_odds_difference for side in fairness),
        head_demographic_parity_difference=spread(side.demographic_parity_difference for side in heads),
    )


def spread(figures: Iterable[Interval | Score | float | None]) -> Spread | None:
    """Over the runs of a group, of estimates where figures have intervals; None where a value is missing."""
    found = list(figures)
    values = [figure.estimate if isinstance(figure, Interval | Score) else figure for figure in found]
    known = [value for value in values if value is not None and math.isfinite(value)]
    # a mean over the runs that happen to have a figure would flatter the setting
    if not known or len(known) < len(values):
        return None
    sd = statistics.stdev(known) if len(known) > 1 else None
    interval = _bounds(found[0]) if len(found) == 1 else None
    return Spread(mean=statistics.fmean(known), sd=sd, min=min(known), max=max(known), n=len(known), interval=interval)


def _bounds(figure: Interval | Score | float | None) -> Bounds | None:
    if not isinstance(figure, Interval | Score) or figure.lower is None or figure.upper is None:
        return None
    whole = math.isfinite(figure.lower) and math.isfinite(figure.upper)
    return Bounds(lower=figure.lower, upper=figure.upper) if whole else None
