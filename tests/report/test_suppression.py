"""Small cells are left out everywhere, and nothing else is."""

from __future__ import annotations

from reports_by_hand import make_report as by_hand

from mibias_cli.evaluation.leakage_findings import Interval
from mibias_cli.evaluation.task_findings import (
    CellAccuracy,
    Confusion,
    CrossingRow,
    Intersection,
    TaskFindings,
    WorstGroup,
)
from mibias_cli.report.document import make_report
from mibias_cli.report.markdown import render_markdown
from mibias_cli.report.suppression import without_small_cells


def test_cells_below_the_limit_are_left_out_and_said() -> None:
    findings = by_hand(name="colour")
    settings = findings.settings.model_copy(update={"suppress_below": 5})
    report = make_report(findings.model_copy(update={"settings": settings}), {})
    task = report.task.after
    assert isinstance(task, TaskFindings)
    # by hand cells hold 40, 4 and 0 samples: none that is empty tells of anybody
    assert {row.n for row in task.groups} == {40, 0}
    assert {row.n for row in findings.task.after.groups} == {40, 4, 0}  # type: ignore[union-attr]
    assert report.attributes == findings.attributes
    assert task.accuracy == findings.task.after.accuracy  # type: ignore[union-attr]
    text = render_markdown(report)
    assert "Cells and groups of fewer than 5 samples are left out." in text
    assert "left out" not in render_markdown(make_report(findings, {}))


def test_crossings_and_confusions_too() -> None:
    cell = CellAccuracy(accuracy=0.5, lower=0, upper=1)
    rows = tuple(
        CrossingRow(before=None, after=cell, y="a", c=("x", "y"), n=n, counted=n > 9) for n in (0, 1, 4, 5, 50)
    )
    crossing = Intersection(
        attributes=("p", "q"), channels=("p", "q"), worst_group_accuracy=WorstGroup(before=None, after=0.5), cells=rows
    )
    assert [row.n for row in without_small_cells(crossing, 5).cells] == [0, 5, 50]
    assert without_small_cells(crossing, 0) is crossing
    tables = {name: Confusion(attribute="p", channel="p", c=name, n=20, counts=counts)
              for name, counts in {"large": ((10, 0), (0, 10)), "tells": ((10, 1), (0, 9))}.items()}  # fmt: skip
    task = TaskFindings(accuracy=Interval(estimate=1, lower=1, upper=1), confusions=tuple(tables.values()))
    assert without_small_cells(task, 5).confusions == (tables["large"],)
