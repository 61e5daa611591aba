"""A sweep over methods: what a reviewer reads of it, from reports made by hand."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from html_pages import check_page

from mibias_cli.compare.comparison import compare_reports
from mibias_cli.compare.methods import gain_table, protocol
from mibias_cli.compare.page import render_comparison
from mibias_cli.compare.records import ComparedRun, Comparison
from mibias_cli.compare.tables import group_table
from mibias_cli.report.document import Report

Make = Callable[..., Report]
ACCURACIES = {("plain", 0): 0.5, ("plain", 1): 0.7, ("jtt", 0): 0.6, ("jtt", 1): 0.6, ("mi", 0): 0.8, ("mi", 1): 0.9}


@pytest.fixture
def found(make: Make) -> Comparison:
    return compare_reports([
        ComparedRun(
            name=f"{method}{seed}", report=make(accuracies=(0.4, accuracy), after=accuracy / 2),
            settings={"method": method, "seed": seed, "training.epochs": 3},
        )
        for (method, seed), accuracy in ACCURACIES.items()
    ])  # fmt: skip


def test_gains_are_seed_by_seed(found: Comparison) -> None:
    table = gain_table(found)
    assert table.header[:3] == ("method", "Accuracy, points", "Worst group, points")
    rows = {line.cells[0].text: [(cell.text, cell.small) for cell in line.cells[1:]] for line in table.lines}
    # 10 and -10 points: their mean and standard deviation, not those of two spreads
    assert rows["2: jtt"][0] == ("+0.0 ± 14.1", "better in 1 of 2")
    assert rows["3: mi"][0] == ("+25.0 ± 7.1", "better in 2 of 2")
    # leakage is half of the accuracy here; more of it is no gain
    leakage = table.header.index("Leakage of colour, bits") - 1
    assert rows["3: mi"][leakage] == ("+0.125 ± 0.035", "better in 0 of 2")
    assert len(rows) == 2  # plain training is what the others are compared with


def test_nothing_is_gained_over_plain_training_of_another_setting_or_other_data(make: Make) -> None:
    def run(method: str, epochs: int, data: str = "same") -> ComparedRun:
        report = make().model_copy(update={"provenance": {"data_sha256": data}})
        return ComparedRun(name=f"{method}{epochs}", report=report, settings={"method": method, "epochs": epochs})

    assert not gain_table(compare_reports([run("plain", 1), run("mi", 2)]))
    assert not gain_table(compare_reports([run("plain", 1), run("mi", 1, "other")]))
    assert gain_table(compare_reports([run("plain", 1), run("mi", 1)]))


def test_the_rule_of_the_comparison_is_said(found: Comparison) -> None:
    said = " ".join(protocol(found))
    assert "3 methods, 2 runs for each line" in said
    assert "nothing was tuned here" in said
    assert "by one rule, on 88 samples: probes (logistic, gradient_boosting) are fitted on one part" in said
    page = render_comparison(found)
    check_page(page)
    assert "How they were compared" in page
    assert "Against plain training" in page
    assert "training.epochs" in page  # what all runs share
    table = group_table(found)
    column = table.header.index("Reads the bias")
    assert [line.cells[column].text for line in table.lines] == ["no", "no", "yes"]
