from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from mibias_cli.errors import GateError
from mibias_cli.gates.figure_names import Figure, check_name, find_figure, names_of
from mibias_cli.recipe.gate_expression import parse_gate, write_name
from mibias_cli.report.document import Report
from mibias_cli.report.schema_file import load_schema


@pytest.fixture
def report(make: Callable[..., Report]) -> dict[str, Any]:
    return make(name="skin tone").to_dict()


@pytest.mark.parametrize(
    ("name", "figure"),
    [
        ('attributes["skin tone"].after.leakage_bits', Figure(estimate=0.05, lower=0.05 - 0.02, upper=0.05 + 0.02)),
        ('attributes["skin tone"].after.leakage_bits.upper', Figure(estimate=0.05 + 0.02)),
        ('attributes["skin tone"].after.leakage_bits.estimate', Figure(estimate=0.05)),
        ('attributes["skin tone"].entropy_bits', Figure(estimate=2.0)),
        ('attributes["skin tone"].after.probes.logistic.accuracy', Figure(estimate=0.5)),
        ("task.after.accuracy", Figure(estimate=0.9, lower=0.9 - 0.03, upper=0.9 + 0.03)),
        ("task.after.accuracy.lower", Figure(estimate=0.9 - 0.03)),
        ("task.after.accuracy_interval.lower", Figure(estimate=0.9 - 0.03)),
        ("task.after.accuracy.estimate", Figure(estimate=0.9)),
        ("similarity.cka", Figure(estimate=0.5)),
        ("samples.audit", Figure(estimate=88.0)),
        ("verdict.collapsed", Figure(estimate=0.0)),
    ],
)
def test_a_figure_with_its_interval(report: dict[str, Any], name: str, figure: Figure) -> None:
    gate = parse_gate(f"{name} > 0")
    assert find_figure(report, gate) == figure
    check_name(load_schema(), gate)


def test_whether_a_figure_grows_with_n_can_be_gated(report: dict[str, Any]) -> None:
    half = {"estimate": 0.1, "lower": 0.05, "upper": 0.15}
    curve = {
        "question": "marginal", "probe": "mlp", "channel": "red", "points": [{"n_fit": 50, "leakage_bits": half}],
        "last_step_bits": half, "tolerance_bits": 0.01, "grows_with_n": True,
    }  # fmt: skip
    report["attributes"]["skin tone"]["sizes"] = {"before": None, "after": curve, "loaded": None}
    gate = parse_gate('attributes["skin tone"].sizes.after.grows_with_n > 0')
    check_name(load_schema(), gate)
    assert find_figure(report, gate) == Figure(estimate=1.0)


@pytest.mark.parametrize(
    ("name", "message", "by_schema"),
    [
        ("attributes.skin.after.leakage_bits", "did you mean 'skin tone'", False),
        ('attributes["skin tone"].after.leakage_bit', "did you mean 'leakage_bits'", True),
        ('attributes["skin tone"].aftre.leakage_bits', "did you mean 'after'", True),
        ('attributes["skin tone"].after', "is no figure", True),
        ('attributes["skin tone"].after.headline_probe', "is no", True),
        ("tsk.after.accuracy", "did you mean 'task'", True),
        ('["skin tone"].after.leakage_bits', "did you mean 'attributes[\"skin tone\"].after.leakage_bits'", True),
        ("task.after.accuracy.uper", "no name below it", True),
        ("task.after.accuracy.lower.x", "no name below it", True),
        ("task.after.groups.0", "no name below it", True),
        ("task.after.head_accuracy", "was not measured in this report", False),
    ],
)
def test_names_that_lead_nowhere(report: dict[str, Any], name: str, message: str, by_schema: bool) -> None:
    gate = parse_gate(f"{name} > 0")
    with pytest.raises(GateError) as caught:
        find_figure(report, gate)
    assert message in str(caught.value)
    if by_schema:
        with pytest.raises(GateError):
            check_name(load_schema(), gate)
    else:
        check_name(load_schema(), gate)


@pytest.mark.parametrize("name", ["task.after.r2", "task.after.mae.upper", "task.after.exact_match", "provenance.x.y"])
def test_the_schema_knows_every_kind_of_task(name: str) -> None:
    check_name(load_schema(), parse_gate(f"{name} > 0"))


def test_where_there_is_no_before_its_figures_are_said_to_be_missing(make: Callable[..., Report]) -> None:
    report = make(before=None).to_dict()
    with pytest.raises(GateError, match=r"attributes\.colour\.before was not measured in this report"):
        find_figure(report, parse_gate("attributes.colour.before.leakage_bits > 0"))


def test_the_schema_allows_every_name_of_a_report(report: dict[str, Any]) -> None:
    names = list(names_of(report))
    assert len(names) > 50
    for name in names:
        gate = parse_gate(f"{write_name(name)} > 0")
        check_name(load_schema(), gate)
        find_figure(report, gate)


def test_a_long_name_is_shown_in_part(report: dict[str, Any]) -> None:
    with pytest.raises(GateError) as found:
        find_figure(report, parse_gate(f"{'a' * 5000} > 1"))
    assert len(str(found.value)) < 2000


def test_half_an_interval_is_no_interval(report: dict[str, Any]) -> None:
    report["task"]["after"]["accuracy_interval"]["lower"] = None
    with pytest.raises(GateError, match=r"name \.estimate"):
        find_figure(report, parse_gate("task.after.accuracy > 0"))
    assert find_figure(report, parse_gate("task.after.accuracy.estimate > 0")).estimate == 0.9
