"""Reports made by hand, for tests of what is made from a report."""

from __future__ import annotations

from mibias_cli.evaluation.findings import AuditFindings, AuditSettings, Samples, Similarity
from mibias_cli.evaluation.leakage_findings import (
    AttributeFindings,
    Change,
    ChannelFindings,
    Finding,
    Interval,
    Leakage,
    ProbeFindings,
    Sides,
)
from mibias_cli.evaluation.task_findings import GroupRow, TaskFindings, TaskSides
from mibias_cli.report.document import Report
from mibias_cli.report.document import make_report as report_on


def leakage(estimate: float, channel: str) -> Leakage:
    def probes(top: float) -> dict[str, ProbeFindings]:
        return {
            "logistic": ProbeFindings(accuracy=0.5, leakage_bits=top - 0.01, selection_bits=0.1, setting="C = 1"),
            "gradient_boosting": ProbeFindings(
                accuracy=0.6, leakage_bits=top, selection_bits=0.2, setting="10 iterations"
            ),
        }

    def finding(top: float, probe: str) -> Finding:
        interval = Interval(estimate=top, lower=top - 0.02, upper=top + 0.02)
        found = probes(top)
        found[probe] = found[probe].model_copy(update={"leakage_bits": top})
        return Finding(leakage_bits=interval, probes=found, headline_probe=probe, headline_channel=channel)

    return Leakage(
        marginal=finding(estimate, "gradient_boosting"),
        conditional=finding(estimate / 2, "logistic"),
        chance_accuracy=0.25,
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
) -> Report:
    """A report made by hand: two channels unless `channels` is one name, where the attribute has no others."""
    change = None
    if before is not None:
        d = after - before
        marginal, conditional = (Interval(estimate=x, lower=x - 0.03, upper=x + 0.03) for x in (d, d / 2))
        change = Change(leakage_bits=marginal, conditional_leakage_bits=conditional)

    def channel(k: int) -> ChannelFindings:
        return ChannelFindings(
            entropy_bits=2.0,
            target_attribute_bits=0.123,
            before=None if before is None else leakage(before - 0.1 * k, channels[k]),
            after=leakage(after - 0.1 * k, channels[k]),
        )

    found = AttributeFindings(
        entropy_bits=2.0,
        target_attribute_bits=0.123,
        n_known=88,
        before=channel(0).before,
        after=channel(0).after,
        change=change,
        channels={name: channel(k) for k, name in enumerate(channels)} if len(channels) > 1 else {},
        others={"blocks.2": Sides[Leakage](before=None, after=leakage(0.4, channels[0]))},
    )
    result = AuditFindings(
        samples=Samples(train=100, audit=88, fit=44, score=44),
        attributes={name: found},
        task=TaskSides(
            before=None if before is None else task(accuracies[0], name, channels),
            after=task(accuracies[1], name, channels),
        ),
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
    return report_on(result, {"backbone": "test_resnet", "weights_before_sha256": None})
