"""Further figures of the audit, in every form of the report, and reports that lack them."""

from __future__ import annotations

import copy
import xml.etree.ElementTree as ET
from collections.abc import Callable
from typing import Any

import jsonschema
import pytest

from mibias_cli.report.document import Report
from mibias_cli.report.html import MAX_BYTES, render_html
from mibias_cli.report.illustrations import ExampleCell, Illustrations
from mibias_cli.report.markdown import render_markdown
from mibias_cli.report.plots.confusion import confusion_plot
from mibias_cli.report.plots.layers import layer_plot
from mibias_cli.report.plots.sizes import size_plot
from mibias_cli.report.schema_file import load_schema
from mibias_cli.report.tables import control_table, size_table
from mibias_cli.report.task.tables import cell_table, task_table

Make = Callable[..., Report]
INTERVAL = {"estimate": 0.1234, "lower": 0.1111, "upper": 0.1399}
FAIRNESS = (
    "demographic_parity_difference", "demographic_parity_ratio", "equal_opportunity_difference",
    "equal_opportunity_ratio", "equalized_odds_difference", "equalized_odds_ratio", "bias_amplification",
)  # fmt: skip


def filled_data(made: Report) -> dict[str, Any]:
    """The report with every figure that an audit may measure, as plain data."""
    report = made.to_dict()
    null = {"mean": -0.0531, "lower": -0.0987, "upper": 0.0123}
    found = report["attributes"]["colour"]
    sides = [found, *found["channels"].values()]
    for at in sides:
        at["random"] = copy.deepcopy(at["after"])
        for side in (at["before"], at["after"], at["random"]):
            side |= {"null": null, "p_value": 0.0123, "p_value_holm": 0.0456, "detectable_bits": 0.0789}
    fairness = dict.fromkeys(FAIRNESS, 0.2468) | {"positive_class": "dog", "groups_left_out": ["never"]}
    report["fairness"] = {"colour": {"before": None, "after": fairness}}
    cell = {"accuracy": 0.4321, "lower": 0.4, "upper": 0.5}
    report["intersections"] = [
        {
            "attributes": ["colour", "size"], "channels": ["red", "size"],
            "worst_group_accuracy": {"before": 0.3, "after": 0.4321},
            "cells": [
                {"y": "cat", "c": ["low", "big"], "n": 50, "counted": True, "before": cell, "after": cell},
                {"y": "cat", "c": ["low", "small"], "n": 2, "counted": False, "before": None, "after": cell},
            ],
        }
    ]  # fmt: skip
    layer = {
        "leakage_bits": INTERVAL, "headline_probe": "mlp", "headline_channel": "red", "n_features": 8,
        "null": null, "p_value": 0.001,
    }  # fmt: skip
    report["layers"] = {name: {"colour": {"before": layer, "after": layer}} for name in ("layer1", "layer2")}
    column = {
        "information_bits": INTERVAL, "headline_probe": "mlp", "probes": {}, "accuracy": None, "r2": 0.7531,
        "chance_accuracy": 0.5, "entropy_bits": 1.0,
    }  # fmt: skip
    report["fidelity"] = {
        "collapsed": False,
        "columns": {"age": {"kind": "continuous", "before": None, "after": column}},
    }
    report["task"]["after"] |= {
        "gap": 0.1357, "adjusted_accuracy": 0.8642, "adjusted_accuracies": {"colour": 0.8642}, "auroc": 0.9753,
        "calibration_error": 0.0314, "class_names": ["cat", "dog"],
        "confusions": [
            {"attribute": "colour", "channel": "red", "c": "low", "n": 40, "counts": [[18, 2], [5, 15]]},
            {"attribute": "colour", "channel": "red", "c": "high", "n": 4, "counts": [[2, 0], [0, 2]]},
        ],
    }  # fmt: skip
    return report


def filled(made: Report) -> Report:
    return Report.model_validate(filled_data(made))


SHOWN = ("0.046", "0.079", "−0.053", "0.247", "43.2", "0.123", "0.75", "13.6", "86.4", "0.975", "3.1")


def test_every_figure_is_on_the_page_and_in_the_markdown(make: Make) -> None:
    report = filled(make())
    jsonschema.validate(report.to_dict(), load_schema())
    for text in (render_html(report), render_markdown(report)):
        for shown in SHOWN:
            assert shown in text, shown
        for word in ("layer1", "equalized odds", "age", "never"):
            assert word in text, word


@pytest.mark.parametrize(
    "part", ["fairness", "intersections", "layers", "fidelity", "random", "null", "p_value", "detectable_bits", "auroc"]
)
def test_any_of_them_may_be_missing(make: Make, part: str) -> None:
    def without(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: without(item) for key, item in value.items() if key != part}
        return [without(item) for item in value] if isinstance(value, list) else value

    report = Report.model_validate(without(filled_data(make())))
    assert "None" not in render_html(report).replace("NoneType", "")
    render_markdown(report)


def test_controls_stand_beside_every_side(make: Make) -> None:
    lines = control_table(filled(make(channels=("colour",)))).lines
    assert [line.cells[0].text for line in lines] == [
        "colour, before", "colour, after", "colour, random extractor", "colour, random extractor, given the target",
    ]  # fmt: skip
    assert [cell.text for cell in lines[1].cells] == [
        "colour, after", "0.050", "−0.053", "0.012", "0.046", "0.079",
    ]  # fmt: skip


def test_figures_that_nobody_measured_leave_no_line(make: Make) -> None:
    names = [line.cells[0].text for line in task_table(make()).lines]
    assert names == ["Accuracy (plain average)", "Balanced accuracy (average over classes)", "Worst group"]
    assert not control_table(make())


def test_small_cells_are_marked(make: Make) -> None:
    table = cell_table(make(channels=("colour",)), "colour")
    assert [(line.cells[0].text, line.quiet) for line in table.lines] == [
        ("cat / low", False), ("cat / high", True), ("dog / low", False), ("dog / high", True),
    ]  # fmt: skip


def test_plots_of_layers_and_confusion_say_their_figures(make: Make) -> None:
    report = filled(make())
    layers = ET.fromstring(layer_plot(report, "colour", plot_id="l"))
    assert layers[1].text == "layer1: before 0.123, after 0.123; layer2: before 0.123, after 0.123"
    confusion = ET.fromstring(confusion_plot(report.task.after, "colour", "red", plot_id="c"))
    assert confusion[1].text == ("low: 82 per cent right, most often dog taken for cat; high: 100 per cent right")
    assert layer_plot(make(), "colour", plot_id="l") == ""
    assert confusion_plot(make().task.after, "colour", "red", plot_id="c") == ""


def test_a_large_page_leaves_its_examples_out(make: Make) -> None:
    def cells(size: int) -> Illustrations:
        cell = ExampleCell(
            attribute="colour",
            channel="red",
            y="<cat>",
            c="low",
            images=(b"x" * size,),
            media_type="image/jpeg",
            side=64,
        )
        return Illustrations(examples=(cell,))

    report = make()
    small = render_html(report, cells(1000))
    assert 'alt="Example 1: target &lt;cat&gt;, colour low"' in small
    large = render_html(report, cells(MAX_BYTES))
    assert "<img" not in large
    assert "Example images were left out" in large
    assert len(large.encode()) < MAX_BYTES


def test_a_page_of_many_attributes_and_cells_stays_small(make: Make) -> None:
    report = make(channels=("colour",)).to_dict()
    found, groups = report["attributes"]["colour"], report["task"]["after"]["groups"]
    report["attributes"] = {f"attribute {k}": found for k in range(12)}
    for side in ("before", "after"):
        report["task"][side]["groups"] = [
            {**row, "attribute": f"attribute {k}", "c": f"{row['c']} {n}", "n": 50, "accuracy": 0.5, "lower": 0.4,
             "upper": 0.6, "counted": True}
            for k in range(12) for n in range(50) for row in groups
        ]  # fmt: skip
    page = render_html(Report.model_validate(report))
    assert len(page.encode()) < MAX_BYTES
    assert "some plots and cells of groups were left out" in page


def test_leakage_by_sample_size_is_a_curve_and_a_table(make: Make) -> None:
    def curve(*bits: float, grows: bool) -> dict[str, Any]:
        points = [
            {"n_fit": 50 * 2**k, "leakage_bits": {"estimate": b, "lower": b - 0.01, "upper": b + 0.01}}
            for k, b in enumerate(bits)
        ]
        return {
            "question": "conditional", "probe": "gradient_boosting", "channel": "red", "points": points,
            "last_step_bits": INTERVAL, "tolerance_bits": 0.02, "grows_with_n": grows,
        }  # fmt: skip

    data = make().to_dict()
    assert size_table(Report.model_validate(data)).lines == ()
    assert "Would more samples find more?" not in render_html(Report.model_validate(data))
    # of the smaller sample the least share has no point
    data["attributes"]["colour"]["sizes"] = {
        "before": curve(0.51, 0.62, 0.63, grows=False), "after": curve(0.11, 0.22, 0.33, 0.44, grows=True),
        "loaded": None,
    }  # fmt: skip
    jsonschema.validate(data, load_schema())
    report = Report.model_validate(data)
    before, after = (line.cells for line in size_table(report).lines)
    assert [cell.text for cell in before] == [
        "colour, before, given the target", "–", "0.510", "0.620", "0.630", "0.123",
    ]  # fmt: skip
    assert before[0].small == "gradient boosting; settled"
    assert after[4].small == "0.430 to 0.450; n = 400"
    assert after[0].small == "gradient boosting; unreliable: still grows with n"
    page = render_html(report)
    drawing = size_plot(report, "colour", plot_id="s")
    ET.fromstring(drawing)
    assert "before: 0.510 bits of 50 samples, 0.620 bits of 100 samples" in drawing
    assert "after: 0.110 bits of 50 samples" in drawing
    for text in ("Would more samples find more?", "still grows with n", "after: 0.110 bits of 50 samples"):
        assert text in page
    assert "unreliable: still grows with n" in render_markdown(report)
