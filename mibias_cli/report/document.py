"""LeakageReport: what an audit found and where it comes from, as plain data in a versioned form."""

from __future__ import annotations

import math
import numbers
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from mibias_cli.evaluation.findings import (
    AttributeFindings,
    AuditResult,
    Intersection,
    Interval,
    LeakageFindings,
    ProbeFindings,
    TaskFindings,
)
from mibias_cli.evaluation.target_types import RegressionFindings
from mibias_cli.report.verdict import make_verdict

__all__ = ["SCHEMA_VERSION", "LeakageReport"]

SCHEMA_VERSION = 1
"""Raised whenever a reader of the older form would misread the newer one."""


@dataclass(frozen=True, kw_only=True)
class LeakageReport:
    """An audit's result with its provenance; every rendering is made from `to_dict()`.

    Args:
        result: What the audit found.
        provenance: What was audited: hashes of recipe, data and weights, backbone, versions, seed, time, device,
            command. Values are strings, numbers or None.
    """

    result: AuditResult
    provenance: Mapping[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """The report in the form of leakage.json: full precision, NaN and infinities as None."""
        r = self.result
        report: dict[str, Any] = {
            "schema_version": SCHEMA_VERSION,
            "attributes": {name: _attribute(found) for name, found in r.attributes.items()},
            "task": {"before": _task(r.task_before), "after": _task(r.task_after)},
            "similarity": asdict(r.similarity),
            "fairness": {name: _sides(pair) for name, pair in r.fairness.items()},
            "intersections": [_intersection(found) for found in r.intersections],
            "fidelity": {
                "collapsed": r.collapsed,
                "columns": {name: {"kind": r.column_kinds[name], **_sides(pair)} for name, pair in r.columns.items()},
            },
            "layers": {
                layer: {name: _sides(pair) for name, pair in found.items()} for layer, found in r.layers.items()
            },
            "samples": {"train": r.n_train, "audit": r.n_audit, "fit": r.n_fit, "score": r.n_score},
            "settings": asdict(r.settings),
            "seed": r.seed,
            "provenance": dict(self.provenance),
        }
        report = _finite(report)
        return {**report, "verdict": make_verdict(report)}


def _finite(value: Any) -> Any:
    """The same in types that JSON knows; numbers that are not finite become None."""
    if isinstance(value, Mapping):
        return {str(k): _finite(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(v) for v in value]
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, numbers.Integral):
        return int(value)
    if isinstance(value, numbers.Real):
        number = float(value)
        return number if math.isfinite(number) else None
    return str(value)


def _interval(interval: Interval | None) -> dict[str, float] | None:
    return None if interval is None else asdict(interval)


def _beside(name: str, interval: Interval) -> dict[str, Any]:
    """A figure by its name, and its interval by that name with `_interval`."""
    bounds = {"lower": interval.lower, "upper": interval.upper}
    return {name: interval.estimate, f"{name}_interval": bounds}


def _probes(probes: Mapping[str, ProbeFindings]) -> dict[str, dict[str, Any]]:
    return {name: asdict(probe) for name, probe in probes.items()}


def _leakage(found: LeakageFindings) -> dict[str, Any]:
    return {
        "leakage_bits": _interval(found.leakage_bits),
        "conditional_leakage_bits": _interval(found.conditional_leakage_bits),
        "probes": _probes(found.probes),
        "conditional_probes": _probes(found.conditional_probes),
        "headline_probe": found.headline_probe,
        "conditional_headline_probe": found.conditional_headline_probe,
        "headline_channel": found.headline_channel,
        "conditional_headline_channel": found.conditional_headline_channel,
        "chance_accuracy": found.chance_accuracy,
        "null": None if found.null is None else asdict(found.null),
        "p_value": found.p_value,
        "p_value_holm": found.p_value_holm,
        "detectable_bits": found.detectable_bits,
        "conditional_null": None if found.conditional_null is None else asdict(found.conditional_null),
        "conditional_p_value": found.conditional_p_value,
        "conditional_p_value_holm": found.conditional_p_value_holm,
        "conditional_detectable_bits": found.conditional_detectable_bits,
    }


def _sides(pair: tuple[Any, Any]) -> dict[str, Any]:
    """A pair of findings as {"before": … or None, "after": …}."""
    before, after = pair
    return {"before": None if before is None else asdict(before), "after": asdict(after)}


def _intersection(found: Intersection) -> dict[str, Any]:
    return {
        "attributes": found.attributes,
        "channels": found.channels,
        "worst_group_accuracy": {
            "before": found.worst_group_accuracy_before,
            "after": found.worst_group_accuracy_after,
        },
        "cells": [asdict(cell) for cell in found.cells],
    }


def _attribute(found: AttributeFindings) -> dict[str, Any]:
    return {
        "kind": found.kind,
        "entropy_bits": found.entropy_bits,
        "target_attribute_bits": found.target_attribute_bits,
        "n_known": found.n_known,
        "before": None if found.before is None else _leakage(found.before),
        "after": _leakage(found.after),
        "random": None if found.random is None else _leakage(found.random),
        "change": None if found.change is None else asdict(found.change),
        "channels": {
            channel: {
                "entropy_bits": found.channel_entropy_bits[channel],
                "target_attribute_bits": found.channel_target_attribute_bits[channel],
                "before": None if found.before is None else _leakage(found.before.channels[channel]),
                "after": _leakage(after),
                "random": None if found.random is None else _leakage(found.random.channels[channel]),
            }
            for channel, after in found.after.channels.items()
        },
        "others": {
            name: {"before": None if before is None else _leakage(before), "after": _leakage(after)}
            for name, (before, after) in found.others.items()
        },
    }


def _task(found: TaskFindings | RegressionFindings | None) -> dict[str, Any] | None:
    if found is None:
        return None
    if isinstance(found, RegressionFindings):
        return _regression(found)
    several = {}
    if found.kind == "multilabel" and found.exact_match is not None:
        several = _beside("exact_match", found.exact_match)
        several["labels"] = {name: asdict(figures) for name, figures in found.labels.items()}
    return {
        "kind": found.kind,
        **_beside("accuracy", found.accuracy),
        "balanced_accuracy": found.balanced_accuracy,
        "worst_group_accuracy": found.worst_group_accuracy,
        "head_accuracy": found.head_accuracy,
        "gap": found.gap,
        "adjusted_accuracy": found.adjusted_accuracy,
        "adjusted_accuracies": found.adjusted_accuracies,
        "auroc": found.auroc,
        "calibration_error": found.calibration_error,
        "groups": [asdict(row) for row in found.groups],
        "class_names": found.class_names,
        "confusions": [asdict(row) for row in found.confusions],
        **several,
    }


def _regression(found: RegressionFindings) -> dict[str, Any]:
    return {
        "kind": "regression",
        **_beside("r2", found.r2),
        **_beside("mae", found.mae),
        **_beside("rmse", found.rmse),
        "worst_group_mae": found.worst_group_mae,
        "gap_mae": found.gap_mae,
        "head_r2": found.head_r2,
        "columns": {name: asdict(figures) for name, figures in found.columns.items()},
        "group_errors": [asdict(row) for row in found.group_errors],
        "groups": [],
    }
