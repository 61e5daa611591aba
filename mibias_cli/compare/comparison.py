"""Several reports side by side: what each run reached, the spread over seeds, and who is on the frontier."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mibias_cli.gates.rules import outcome
from mibias_cli.report.score import task_score

__all__ = ["SEEDS", "ComparedRun", "compare_reports", "frontier_members"]

SCHEMA_VERSION = 1
_LEAKAGE = ("leakage_bits", "conditional_leakage_bits")
_CHOICE = ("gain_over_bias_bits", "leakage_given_target_bits", "net_gain_bits")
SEEDS = ("seed", "data.colour_seed")
"""Settings that only draw again: runs that differ in nothing else are repetitions of one another."""


@dataclass(frozen=True, kw_only=True)
class ComparedRun:
    """A run to compare: its name, its report in the form of leakage.json, and its recipe's settings, flat.

    `gain_over_bias_bits` is what its model's scores tell of validation rows' classes beyond what the attributes tell,
    `leakage_given_target_bits` what its features tell of the attributes beyond what the classes tell; None: unknown.
    """

    name: str
    report: Mapping[str, Any]
    settings: Mapping[str, Any] = field(default_factory=dict)
    gain_over_bias_bits: float | None = None
    leakage_given_target_bits: float | None = None

    @property
    def net_gain_bits(self) -> float | None:
        """The gain less the leakage: an estimate of I(z; y) − I(z; c) to which the bias adds nothing."""
        if self.gain_over_bias_bits is None or self.leakage_given_target_bits is None:
            return None
        return self.gain_over_bias_bits - self.leakage_given_target_bits


def compare_reports(runs: Sequence[ComparedRun]) -> dict[str, Any]:
    """The comparison as plain data, in the form that `mibias compare --format json` prints.

    Returns:
        `varied`: settings in which the runs differ. `runs`: per run its varied settings, leakage and task figures.
        `groups`: runs that differ in seeds alone, with mean, standard deviation, least and greatest of each figure, and
        for each attribute whether the group is on the frontier: no other group leaks less at no less accuracy.
        `score` is the figure that the task is told by: accuracy, of numbers R², without a target that of the original's
        features.
        `chosen`: number of the group that is chosen without unbiased data, see `_chosen`, or None.
        `notes`: what should be known before the figures are believed.
    """
    varied = _varied(runs)
    rows = [_row(run, varied) for run in runs]
    groups = _groups(rows, [key for key in varied if key not in SEEDS])
    for name in _attributes(rows):
        members = frontier_members([_point(group, name) for group in groups])
        for group, member in zip(groups, members, strict=True):
            if name in group["attributes"]:
                group["attributes"][name]["on_frontier"] = member
    chosen = _chosen(groups)
    return {
        "schema_version": SCHEMA_VERSION,
        "varied": varied,
        "runs": rows,
        "groups": groups,
        "chosen": None if chosen is None else chosen["number"],
        "notes": [*_notes(runs, rows), *_choice_note(chosen, groups)],
    }


def _chosen(groups: Sequence[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """The group of the highest net gain: what it tells of the target beyond the bias, less what it tells of the bias.

    Collapsed runs and failed gates are out. Both come from validation data, which are as biased as the training data;
    nobody needs unbiased ones to choose. None where fewer than two groups have the figure.
    """
    told = [group for group in groups if group["net_gain_bits"] is not None]
    fit = [group for group in told if not group["collapsed"] and not group["gates_failed"]]
    return max(fit, key=_net_gain) if len(told) > 1 and fit else None


def _net_gain(group: Mapping[str, Any]) -> float:
    return float(group["net_gain_bits"]["mean"])


def _choice_note(chosen: Mapping[str, Any] | None, groups: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    if chosen is None:
        return
    out = sum(group["gates_failed"] > 0 for group in groups)
    beside = f" {out} with failed gates left out." if out else ""
    yield (
        f"Chosen without unbiased data: {chosen['number']}: {chosen['name']}, which tells "
        f"{chosen['gain_over_bias_bits']['mean']:.3f} bits of the target beyond the attributes and "
        f"{chosen['leakage_given_target_bits']['mean']:.3f} bits of the attributes beyond the target: the highest "
        f"difference.{beside}"
    )


def _varied(runs: Sequence[ComparedRun]) -> list[str]:
    known = [run.settings for run in runs if run.settings]
    keys = dict.fromkeys(key for settings in known for key in settings)
    return [key for key in keys if any(s.get(key) != known[0].get(key) for s in known)]


def _row(run: ComparedRun, varied: Sequence[str]) -> dict[str, Any]:
    report = run.report
    return {
        "name": run.name,
        "settings": {key: run.settings.get(key) for key in varied},
        "collapsed": bool(report.get("verdict", {}).get("collapsed", False)),
        "gates": outcome(report["gates"]) if report.get("gates") else None,
        "score": {side: task_score(report, side) for side in ("before", "after")},
        "task": {side: _task(report["task"].get(side)) for side in ("before", "after")},
        "attributes": {name: _attribute(found) for name, found in report["attributes"].items()},
        "gain_over_bias_bits": run.gain_over_bias_bits,
        "leakage_given_target_bits": run.leakage_given_target_bits,
        "net_gain_bits": run.net_gain_bits,
        "effective_rank": report["similarity"].get("effective_rank_after"),
        "cka": report["similarity"].get("cka"),
    }


def _task(task: Mapping[str, Any] | None) -> dict[str, Any] | None:
    if task is None:
        return None
    interval = task.get("accuracy_interval") or {"lower": None, "upper": None}
    if task.get("accuracy") is None:
        return {"accuracy": None, "worst_group_accuracy": None}
    return {
        "accuracy": {"estimate": task["accuracy"], "lower": interval["lower"], "upper": interval["upper"]},
        "worst_group_accuracy": task.get("worst_group_accuracy"),
    }


def _attribute(found: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "entropy_bits": found["entropy_bits"],
        **{
            side: None
            if found.get(side) is None
            else {key: found[side][key] and dict(found[side][key]) for key in _LEAKAGE}
            for side in ("before", "after")
        },
    }


def _groups(rows: Sequence[Mapping[str, Any]], keys: Sequence[str]) -> list[dict[str, Any]]:
    """Rows of the same settings but for seeds; a run without settings of its own is a group of its own."""
    members: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        own = {key: row["settings"].get(key) for key in keys}
        key = repr(sorted(own.items())) if any(value is not None for value in row["settings"].values()) else row["name"]
        members.setdefault(key, []).append(row)
    return [_group(number, rows, keys) for number, rows in enumerate(members.values(), start=1)]


def _group(number: int, rows: Sequence[Mapping[str, Any]], keys: Sequence[str]) -> dict[str, Any]:
    names = [name for name in _attributes(rows) if all(name in row["attributes"] for row in rows)]
    settings = {key: rows[0]["settings"].get(key) for key in keys}
    label = ", ".join(f"{key}={value}" for key, value in settings.items() if value is not None)
    return {
        "number": number,
        "name": label or rows[0]["name"],
        "settings": settings,
        "runs": [row["name"] for row in rows],
        "collapsed": sum(row["collapsed"] for row in rows),
        "gates_failed": sum(row["gates"] == "fail" for row in rows),
        **{name: _spread([row[name] for row in rows]) for name in _CHOICE},
        "score": _spread([_estimate(row["score"]["after"]) for row in rows]),
        "accuracy": _spread([_estimate((row["task"]["after"] or {}).get("accuracy")) for row in rows]),
        "worst_group_accuracy": _spread([(row["task"]["after"] or {}).get("worst_group_accuracy") for row in rows]),
        "attributes": {
            name: {key: _spread([_estimate(row["attributes"][name]["after"][key]) for row in rows]) for key in _LEAKAGE}
            for name in names
        },
    }


def _estimate(figure: Mapping[str, Any] | None) -> float | None:
    return None if figure is None else figure["estimate"]


def _spread(values: Sequence[float | None]) -> dict[str, Any] | None:
    """Mean, standard deviation (n − 1; None for one value), least and greatest; None where a value is missing."""
    known = [value for value in values if value is not None]
    if not known or len(known) < len(values):
        return None
    mean = math.fsum(known) / len(known)
    square = math.fsum((value - mean) ** 2 for value in known)
    deviation = math.sqrt(square / (len(known) - 1)) if len(known) > 1 else None
    return {"mean": mean, "sd": deviation, "min": min(known), "max": max(known), "n": len(known)}


def _attributes(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    return list(dict.fromkeys(name for row in rows for name in row["attributes"]))


def _point(group: Mapping[str, Any], name: str) -> tuple[float, float] | None:
    """Leakage and the task's score of a group; None where they are unknown or a run of it has collapsed."""
    if name not in group["attributes"] or group["collapsed"] or group["score"] is None:
        return None
    return group["attributes"][name]["leakage_bits"]["mean"], group["score"]["mean"]


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


def _notes(runs: Sequence[ComparedRun], rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    by_seed: dict[str, set[Any]] = {}
    for run in runs:
        seeds = repr([run.settings.get(key) for key in SEEDS])
        by_seed.setdefault(seeds, set()).add(run.report["provenance"].get("data_sha256"))
    if any(len(data) > 1 for data in by_seed.values()):
        yield "The runs were not audited on the same data: their figures differ for that reason, too."
    elif len(set().union(*by_seed.values())) > 1:
        yield "Each seed draws the audited samples anew: the spread over seeds holds that, too."
    collapsed = [row["name"] for row in rows if row["collapsed"]]
    if collapsed:
        yield f"Collapsed, so their low leakage is no success: {', '.join(collapsed)}."
    if len({tuple(row["attributes"]) for row in rows}) > 1:
        yield "The runs do not have the same attributes."
