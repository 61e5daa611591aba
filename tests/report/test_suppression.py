"""Small cells are left out everywhere, and nothing else is."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from reports_by_hand import make_report as by_hand

from mibias_cli.evaluation.leakage_findings import Bounds, ColumnFindings, ColumnSides, Interval, Sides
from mibias_cli.evaluation.task_findings import (
    CellAccuracy,
    Confusion,
    CrossingRow,
    FairnessFindings,
    FairnessSides,
    ForgettingFigures,
    ForgettingSides,
    ImpactFindings,
    ImpactGroup,
    Intersection,
    TaskFindings,
    WorstGroup,
)
from mibias_cli.report.document import Report, make_report
from mibias_cli.report.html import render_html
from mibias_cli.report.markdown import render_markdown
from mibias_cli.report.suppression import UNNAMED, without_small_cells


def test_cells_below_the_limit_are_left_out_and_said() -> None:
    findings = by_hand(name="colour")
    settings = findings.settings.model_copy(update={"suppress_below": 5})
    report = make_report(findings.model_copy(update={"settings": settings}), {})
    task = report.task.after
    assert isinstance(task, TaskFindings)
    # by hand cells hold 40, 4 and 0 samples: one that is empty tells that the group's samples are in the one left out
    assert {row.n for row in task.groups} == {40}
    assert {row.n for row in findings.task.after.groups} == {40, 4, 0}  # type: ignore[union-attr]
    assert report.attributes == findings.attributes
    assert task.accuracy == findings.task.after.accuracy  # type: ignore[union-attr]
    text = render_markdown(report)
    assert "Cells and groups of fewer than 5 samples are left out." in text
    assert "left out" not in render_markdown(make_report(findings, {}))


def test_figures_of_few_forgotten_rows_are_left_out() -> None:
    figures = ForgettingFigures(
        forgotten_accuracy=0.5, retained_accuracy=1.0, audit_accuracy=0.9, alike_accuracy=None, membership_auroc=None
    )
    forgetting = ForgettingSides(before=None, after=figures, n_forgotten=4, n_retained=90, n_compared=0)
    findings = by_hand(name="colour").model_copy(update={"forgetting": forgetting})
    for least, kept in ((0, True), (4, True), (5, False)):
        settings = findings.settings.model_copy(update={"suppress_below": least})
        report = make_report(findings.model_copy(update={"settings": settings}), {})
        texts = [" ".join(report.verdict.summary), render_markdown(report), render_html(report)]
        assert (report.forgetting is not None) == kept
        assert [("forgotten" in text) for text in texts] == [kept] * 3
    alike = forgetting.model_copy(update={"after": figures.model_copy(update={"alike_accuracy": 0.75})})
    few = make_report(findings.model_copy(update={"forgetting": alike}), {}).verdict.summary
    assert any("of audited rows of their groups on 75.0" in one and "they are too few to say" in one for one in few)
    # nor are those that few of many are compared by, or few that are left
    settings = findings.settings.model_copy(update={"suppress_below": 5})
    for counts in ({"n_forgotten": 40, "n_compared": 3}, {"n_forgotten": 40, "n_retained": 3}):
        record = findings.model_copy(update={"settings": settings, "forgetting": forgetting.model_copy(update=counts)})
        assert make_report(record, {}).forgetting is None
    said = make_report(findings, {}).verdict.summary
    assert any("Of 4 training rows that were to be forgotten the trained head is right on 50.0" in one for one in said)
    assert any("no audited row is of a group of theirs" in one for one in said)


def test_crossings_and_confusions_too() -> None:
    cell = CellAccuracy(accuracy=0.5, lower=0, upper=1)
    rows = tuple(
        CrossingRow(before=None, after=cell, y="a", c=("x", "y"), n=n, counted=n > 9) for n in (0, 1, 4, 5, 50)
    )
    crossing = Intersection(
        attributes=("p", "q"), channels=("p", "q"), worst_group_accuracy=WorstGroup(before=None, after=0.5), cells=rows
    )
    assert [row.n for row in without_small_cells(crossing, 5).cells] == [5, 50]
    assert without_small_cells(crossing, 0) is crossing
    tables = {name: Confusion(attribute="p", channel="p", c=name, n=20, counts=counts)
              for name, counts in {"large": ((10, 0), (0, 10)), "tells": ((10, 1), (0, 9))}.items()}  # fmt: skip
    task = TaskFindings(accuracy=Interval(estimate=1, lower=1, upper=1), confusions=tuple(tables.values()))
    assert without_small_cells(task, 5).confusions == (tables["large"],)


RARE = "zyzzyva"
"""The name of a group so small that nobody is to read of it."""


def with_rare_names(least: int, channels: Sequence[str]) -> Report:
    """A report in which a small group is named wherever groups are."""
    findings = by_hand(name="colour", channels=tuple(channels))
    found, task = findings.attributes["colour"], findings.task.after
    assert isinstance(task, TaskFindings)
    fairness = FairnessFindings(
        positive_class="dog", groups_left_out=(RARE,), bias_amplification=None,
        demographic_parity_difference=0.1, demographic_parity_ratio=0.5, equal_opportunity_difference=0.1,
        equal_opportunity_ratio=0.5, equalized_odds_difference=0.1, equalized_odds_ratio=0.5,
    )  # fmt: skip
    groups = {
        name: ImpactGroup(
            n=n, counted=n > 9, selection_rate=0.5, selection_rate_interval=Bounds(lower=0, upper=1),
            impact_ratio=None, impact_ratio_interval=None, below_four_fifths=False,
        )
        for name, n in {"low": 40, RARE: 2}.items()
    }  # fmt: skip
    impact = ImpactFindings(
        positive_class="dog", attributes=("colour",), channels=("colour",), n_unknown=3, lowest_impact_ratio=None,
        lowest_impact_ratio_interval=None, groups=groups,
    )  # fmt: skip
    column = ColumnFindings(
        information_bits=Interval(estimate=1, lower=1, upper=1), headline_probe="logistic", probes={},
        accuracy=1, r2=None, chance_accuracy=0.5, entropy_bits=1, pooled=(RARE, "a"),
    )  # fmt: skip
    pooled = {"pooled": (RARE, "low")}
    each = {k: c.model_copy(update=pooled) for k, c in found.channels.items()}
    small = task.groups[0].model_copy(update={"c": RARE, "n": 2})
    empty = small.model_copy(update={"y": "other", "n": 0})
    return make_report(
        findings.model_copy(
            update={
                "settings": findings.settings.model_copy(update={"suppress_below": least}),
                "attributes": {"colour": found.model_copy(update={**pooled, "channels": each})},
                "task": findings.task.model_copy(
                    update={"after": task.model_copy(update={"groups": (*task.groups, small, empty)})}
                ),
                "fairness": {"colour": FairnessSides(before=None, after=fairness)},
                "impact": {"colour": Sides[ImpactFindings](before=None, after=impact)},
                "fidelity": findings.fidelity.model_copy(
                    update={"columns": {"lens": ColumnSides(before=None, after=column)}}
                ),
            }
        ),
        {},
    )


@pytest.mark.parametrize("channels", [("colour",), ("red", "green")])
def test_no_name_and_no_count_of_a_small_group_is_left_anywhere(channels: Sequence[str]) -> None:
    report = with_rare_names(5, channels)
    for text in (report.to_json(), render_markdown(report), render_html(report), *report.verdict.summary):
        assert RARE not in text
    assert report.fairness["colour"].after.groups_left_out == UNNAMED
    # that there are some is said
    assert any("counted together" in line and UNNAMED[0] in line for line in report.verdict.summary)
    assert Report.model_validate_json(report.to_json()).impact == report.impact
    # and where nothing is to be left out, all of it is there: the test would notice
    shown = with_rare_names(0, channels)
    for text in (shown.to_json(), render_markdown(shown), render_html(shown), " ".join(shown.verdict.summary)):
        assert RARE in text


def test_counts_that_are_not_small_stay() -> None:
    impact = with_rare_names(3, ("colour",)).impact["colour"].after
    assert list(impact.groups) == ["low"]


def test_whether_features_collapsed_is_of_all_samples() -> None:
    """Three classes of which one is rare: .45 is above chance, and would not be of two classes."""
    findings = by_hand(name="colour")
    task = findings.task.after
    assert isinstance(task, TaskFindings)
    row = task.groups[0]
    groups = tuple(
        row.model_copy(update={"y": y, "c": c, "n": n})
        for y, n in (("cat", 100), ("dog", 100), ("rare", 4))
        for c in ("red", "green")
    )
    after = task.model_copy(update={"groups": groups, "balanced_accuracy": 0.45, "auroc_interval": None})
    verdicts = []
    for least in (0, 5):
        settings = findings.settings.model_copy(update={"suppress_below": least})
        told = {"settings": settings, "task": findings.task.model_copy(update={"after": after})}
        verdicts.append(make_report(findings.model_copy(update=told), {}).verdict)
    everything, some = verdicts
    assert not everything.collapsed
    assert (some.collapsed, some.reasons, some.caution) == (
        everything.collapsed,
        everything.reasons,
        everything.caution,
    )
