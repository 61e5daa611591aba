"""The one figure by which a report's task is told: accuracy, R², or what is left of the original features."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mibias_cli.report.numbers import ABSENT, format_percent, format_share

__all__ = ["format_score", "has_before", "kind_of", "task_score"]

_NAMES = {
    "classes": "task accuracy",
    "multilabel": "mean accuracy of the labels",
    "regression": "R² of the task",
    "none": "R² of the original features",
}
_KEYS = {"classes": "accuracy", "multilabel": "accuracy", "regression": "r2"}


def kind_of(report: Mapping[str, Any]) -> str:
    """The target's kind: classes, multilabel, regression or none.

    Example:
        >>> kind_of({"task": {"before": None, "after": {"accuracy": 0.9}}})
        'classes'
    """
    after = report["task"]["after"]
    return "none" if after is None else str(after.get("kind") or "classes")


def has_before(report: Mapping[str, Any]) -> bool:
    """Whether there is an original that the audited extractor is compared with."""
    attributes = report.get("attributes", {}).values()
    return report["task"]["before"] is not None or any(found.get("before") is not None for found in attributes)


def task_score(report: Mapping[str, Any], side: str) -> dict[str, Any] | None:
    """The figure's name, estimate and interval (None where it has none); without a target the original's recovery.

    Args:
        report: In the form of leakage.json.
        side: before or after.
    """
    kind, task = kind_of(report), report["task"].get(side)
    if kind == "none":
        share = (report.get("similarity") or {}).get("original_r2")
        if share is None:
            return None
        return {"name": _NAMES[kind], "estimate": 1.0 if side == "before" else share, "lower": None, "upper": None}
    if task is None:
        return None
    key = _KEYS[kind]
    interval = task.get(f"{key}_interval") or {}
    bounds = {bound: interval.get(bound) for bound in ("lower", "upper")}
    return {"name": _NAMES[kind], "estimate": task.get(key), **bounds}


def format_score(report: Mapping[str, Any], side: str) -> str:
    """The figure as text: accuracies in per cent, R² as a share."""
    score = task_score(report, side)
    if score is None or score["estimate"] is None:
        return ABSENT
    written = format_percent if kind_of(report) in ("classes", "multilabel") else format_share
    return written(score["estimate"])
