from __future__ import annotations

import pytest

from mibias_cli.evaluation.findings import (
    AttributeFindings,
    AuditResult,
    AuditSettings,
    Change,
    GroupRow,
    Interval,
    LeakageFindings,
    ProbeFindings,
    Similarity,
    TaskFindings,
)
from mibias_cli.report.document import LeakageReport


def leakage(estimate: float, channel: str, channels: dict[str, LeakageFindings] | None = None) -> LeakageFindings:
    def probes(top: float) -> dict[str, ProbeFindings]:
        return {
            "logistic": ProbeFindings(accuracy=0.5, leakage_bits=top - 0.01, selection_bits=0.1, setting="C = 1"),
            "gradient_boosting": ProbeFindings(
                accuracy=0.6, leakage_bits=top, selection_bits=0.2, setting="10 iterations"
            ),
        }

    return LeakageFindings(
        leakage_bits=Interval(estimate=estimate, lower=estimate - 0.02, upper=estimate + 0.02),
        conditional_leakage_bits=Interval(estimate=estimate / 2, lower=estimate / 2 - 0.02, upper=estimate / 2 + 0.02),
        probes=probes(estimate),
        conditional_probes=probes(estimate / 2),
        headline_probe="gradient_boosting",
        conditional_headline_probe="logistic",
        headline_channel=channel,
        conditional_headline_channel=channel,
        chance_accuracy=0.25,
        channels=channels or {},
    )


def task(accuracy: float, name: str, channels: tuple[str, ...]) -> TaskFindings:
    rows = [
        GroupRow(
            attribute=name, channel=channel, y=y, c=c, n=n, accuracy=None if n == 0 else accuracy,
            lower=None if n == 0 else accuracy - 0.1, upper=None if n == 0 else accuracy + 0.05, counted=n >= 10,
        )
        for channel in channels
        for y in ("cat", "dog")
        for c, n in (("low", 40), ("high", 4), ("never", 0))
    ]  # fmt: skip
    return TaskFindings(
        accuracy=Interval(estimate=accuracy, lower=accuracy - 0.03, upper=accuracy + 0.03),
        balanced_accuracy=accuracy,
        worst_group_accuracy=accuracy,
        groups=tuple(rows),
        head_accuracy=None,
    )


def make_report(
    *,
    name: str = "colour",
    channels: tuple[str, ...] = ("red", "green"),
    before: float | None = 0.8,
    after: float = 0.05,
    accuracies: tuple[float, float] = (0.7, 0.9),
    ranks: tuple[float, float] = (9.0, 8.0),
    cka: float | None = 0.5,
) -> LeakageReport:
    """A report made by hand: two channels unless `channels` is one name, where the attribute has no others."""

    def side(estimate: float) -> LeakageFindings:
        if len(channels) == 1:
            return leakage(estimate, channels[0])
        per_channel = {c: leakage(estimate - 0.1 * k, c) for k, c in enumerate(channels)}
        return leakage(estimate, channels[0], per_channel)

    change = None
    if before is not None:
        d = after - before
        interval = Interval(estimate=d, lower=d - 0.03, upper=d + 0.03)
        change = Change(leakage_bits=interval, conditional_leakage_bits=interval)
    found = AttributeFindings(
        entropy_bits=2.0,
        target_attribute_bits=0.123,
        channel_entropy_bits=dict.fromkeys(channels, 2.0),
        channel_target_attribute_bits=dict.fromkeys(channels, 0.123),
        n_known=88,
        before=None if before is None else side(before),
        after=side(after),
        change=change,
        others={"blocks.2": (None, leakage(0.4, channels[0]))},
    )
    result = AuditResult(
        n_train=100,
        n_audit=88,
        n_fit=44,
        n_score=44,
        attributes={name: found},
        task_before=None if before is None else task(accuracies[0], name, channels),
        task_after=task(accuracies[1], name, channels),
        similarity=Similarity(
            n_features_before=None if before is None else 16,
            n_features_after=16,
            effective_rank_before=None if before is None else ranks[0],
            effective_rank_after=ranks[1],
            cka=None if before is None else cka,
        ),
        settings=AuditSettings(probes=("logistic", "gradient_boosting")),
        seed=0,
    )
    return LeakageReport(result=result, provenance={"backbone": "test_resnet", "weights_before_sha256": None})


@pytest.fixture
def make() -> object:
    """`make_report`, for tests that cannot import from a conftest."""
    return make_report
