"""Three sides (as loaded, before, after) and trained heads, in every form of the report; and reports without them."""

from __future__ import annotations

import html
from collections.abc import Callable
from typing import Any

import jsonschema
import pytest

from mibias_cli.cli.output import plain_table, report_rows
from mibias_cli.evaluation.task_findings import HeadFindings, TaskSides
from mibias_cli.report.document import Report
from mibias_cli.report.html import render_html
from mibias_cli.report.markdown import leakage_table, markdown_table, render_markdown
from mibias_cli.report.schema_file import load_schema
from mibias_cli.report.tables import headline_table
from mibias_cli.report.task.tables import cell_table, head_table, task_table

Make = Callable[..., Report]


@pytest.fixture
def three(make: Make) -> Report:
    """A report whose loaded weights leak .6 bits at 60 %, with heads of both trained sides."""
    report, loaded = make(channels=("colour",)), make(channels=("colour",), before=0.6, accuracies=(0.6, 0.6))
    found = report.attributes["colour"]
    first = loaded.attributes["colour"].before
    task = report.task
    return report.model_copy(
        update={
            "attributes": {"colour": found.model_copy(update={"loaded": first})},
            "task": task.model_copy(update={"loaded": loaded.task.before}),
            "similarity": report.similarity.model_copy(update={"effective_rank_loaded": 12.5, "n_features_loaded": 16}),
            "head": HeadFindings(task=TaskSides(before=loaded.task.before, after=task.before)),
        }
    )


def test_every_form_has_the_third_column(three: Report) -> None:
    jsonschema.validate(three.to_dict(), load_schema())
    assert headline_table(three).header == ("Leakage, bits", "As loaded", "Before", "After", "Change")
    assert [cell.text for cell in headline_table(three).lines[0].cells[1:]] == ["0.600", "0.800", "0.050", "−0.750"]
    assert [cell.text for cell in task_table(three).lines[0].cells[1:]] == [
        "60.0\u00a0%", "70.0\u00a0%", "90.0\u00a0%", "+20.0\u00a0points",
    ]  # fmt: skip
    assert "| As loaded (95 % interval) | Before (95 %" in markdown_table(leakage_table(three))
    for text in (render_html(three), render_markdown(three)):
        assert "0.580 to 0.620" in text
        assert "12.50" in text
    shown = plain_table(report_rows(three))
    assert shown[0].split() == ["as", "loaded", "before", "after"]
    assert shown[1].split() == ["refitted", "head:", "accuracy", "60.0", "%", "70.0", "%", "→", "90.0", "%"]


def test_trained_heads_stand_beside_the_refitted_ones(three: Report) -> None:
    assert task_table(three).header == ("Refitted heads", "As loaded", "Before", "After", "Change")
    told = {side: task.model_copy(update={"head_accuracy": 0.5}) for side, task in three.task if task is not None}
    alone = three.model_copy(update={"task": three.task.model_copy(update=told), "head": None})
    beside = alone.model_copy(update={"head": three.head})
    titles = [[line.cells[0].text for line in task_table(report).lines] for report in (alone, beside)]
    assert set(titles[0]) - set(titles[1]) == {"Trained head's accuracy"}
    which = (
        "Refitted heads (above): logistic regression on the features, fitted by one rule on every side. Trained heads:"
    )
    assert html.unescape(render_html(three)).count(which) == render_markdown(three).count(which) == 1
    assert head_table(three).header == ("Trained heads", "Before", "After", "Change")
    assert [cell.text for cell in head_table(three).lines[0].cells[1:]] == [
        "60.0\u00a0%", "70.0\u00a0%", "+10.0\u00a0points",
    ]  # fmt: skip
    assert cell_table(three, "colour").header[-2:] == ("Before, trained head", "After, trained head")
    assert [cell.text for cell in cell_table(three, "colour").lines[0].cells[2:]] == [
        "60.0\u00a0%", "70.0\u00a0%", "90.0\u00a0%", "60.0\u00a0%", "70.0\u00a0%",
    ]  # fmt: skip
    rows = {title: cells for title, *cells in report_rows(three)}
    assert rows["trained head: accuracy"] == ["–", "60.0 %", "70.0 %"]


def test_a_report_that_was_written_without_them_reads_as_it_did(make: Make) -> None:
    report = make()

    def older(value: Any) -> Any:
        if isinstance(value, dict):
            new = ("loaded", "head", "effective_rank_loaded", "n_features_loaded", "question")
            return {key: older(item) for key, item in value.items() if key not in new}
        return [older(item) for item in value] if isinstance(value, list) else value

    assert Report.model_validate(older(report.to_dict())) == Report.model_validate(report.to_dict())
    assert "loaded" not in render_html(report)
    assert not head_table(report)
