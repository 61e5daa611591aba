from __future__ import annotations

from collections.abc import Callable

import jsonschema
import pytest

from mibias_cli.errors import GateError
from mibias_cli.gates.rules import GateRules, check_gates, gate_results, make_gates, outcome, with_gates
from mibias_cli.report.document import Report
from mibias_cli.report.html import render_html
from mibias_cli.report.markdown import render_markdown
from mibias_cli.report.schema_file import load_schema

Make = Callable[..., Report]
CKA = "similarity.cka"


def with_leakage(make: Make, estimate: float, lower: float, upper: float) -> Report:
    report = make(channels=("colour",)).to_dict()
    report["attributes"]["colour"]["after"]["leakage_bits"] = {"estimate": estimate, "lower": lower, "upper": upper}
    return Report.model_validate(report)


LEAKAGE = "attributes.colour.after.leakage_bits"


def status(report: Report, expression: str) -> str:
    (result,) = gate_results(report, GateRules(gates=make_gates([expression])))
    return result.status


@pytest.mark.parametrize(
    ("comparison", "below", "at_lower", "inside", "at_upper", "above"),
    [
        # the interval is 0.25 to 0.75; columns: limits of 0, 0.25, 0.5, 0.75 and 1
        (">", "fail", "inconclusive", "inconclusive", "pass", "pass"),
        (">=", "fail", "fail", "inconclusive", "inconclusive", "pass"),
        ("<", "pass", "pass", "inconclusive", "inconclusive", "fail"),
        ("<=", "pass", "inconclusive", "inconclusive", "fail", "fail"),
    ],
)
def test_an_interval_past_the_limit_as_a_whole_in_part_or_not_at_all(
    make: Make, comparison: str, below: str, at_lower: str, inside: str, at_upper: str, above: str
) -> None:
    report = with_leakage(make, 0.5, 0.25, 0.75)
    limits = (0, 0.25, 0.5, 0.75, 1)
    assert [status(report, f"{LEAKAGE} {comparison} {limit}") for limit in limits] == [
        below, at_lower, inside, at_upper, above,
    ]  # fmt: skip


@pytest.mark.parametrize(("comparison", "statuses"), [(">", "pfp"), (">=", "ffp"), ("<", "ppf"), ("<=", "fpf")])
def test_a_plain_number_is_compared_as_it_is(make: Make, comparison: str, statuses: str) -> None:
    report = make(cka=0.5)
    found = [status(report, f"{CKA} {comparison} {limit}")[0] for limit in (0.5, 0.4, 0.6)]
    assert "".join(found) == statuses


def test_a_bound_may_be_named_itself(make: Make) -> None:
    report = with_leakage(make, 0.5, 0.25, 0.75)
    assert [status(report, f"{LEAKAGE}.{bound} > 0.6") for bound in ("estimate", "lower", "upper")] == [
        "pass",
        "pass",
        "fail",
    ]


def test_a_gate_on_nothing_does_not_pass(make: Callable[..., Report]) -> None:
    report = make(before=None)
    rules = GateRules(gates=make_gates(["attributes.colour.before.leakage_bits > 9", "attributes.color.after.x > 1"]))
    results = gate_results(report, rules)
    assert [result.status for result in results] == ["error", "error"]
    assert "did you mean 'colour'" in results[1].message
    assert outcome(results) == "error"


def test_inconclusive_counts_as_it_was_said(make: Make) -> None:
    report = with_leakage(make, 0.5, 0.25, 0.75)
    for said, failing, came_to in (("warn", False, "pass"), ("fail", True, "fail")):
        results = gate_results(report, GateRules(gates=make_gates([f"{LEAKAGE} > 0.5"], inconclusive=said)))
        assert results[0].is_failure is failing
        assert outcome(results) == came_to
    assert outcome([]) == "pass"


def test_names_are_checked_before_anything_is_computed() -> None:
    check_gates(make_gates(["attributes.anything.after.leakage_bits > 1"]))
    with pytest.raises(GateError, match="did you mean 'leakage_bits'"):
        check_gates(make_gates(["attributes.anything.after.leakage_bit > 1"]))


def test_results_are_part_of_the_report_in_every_form(make: Callable[..., Report]) -> None:
    texts = ["attributes.colour.after.leakage_bits > 0.01", "attributes.colour.after.leakage_bits > 0.05", "task.x > 1"]
    report = with_gates(make(), GateRules(gates=make_gates(texts), baseline=make()))
    jsonschema.validate(report.to_dict(), load_schema())
    assert [gate.status for gate in report.gates][:3] == ["fail", "inconclusive", "error"]
    page, text = render_html(report), render_markdown(report)
    assert page.index("leakage_bits &gt; 0.01") < page.index("<table")
    for shown in (page, text):
        assert "inconclusive" in shown
        assert "did you mean" in shown or "there are" in shown
    assert "Nothing was gated" in render_html(make())


def test_limits_on_errors_over_several_columns_are_said_once_to_be_in_deviations(make: Make) -> None:
    """5 years and 5 kg were 5 once; now a limit of 5 is never reached."""
    column = {"r2": 0.5, "mae": 2.0, "rmse": 2.0, "worst_group_mae": None, "unit": 4.0}
    plain = make().to_dict()
    figures = dict.fromkeys(("r2", "mae", "rmse"), 0.5)
    figures |= {f"{name}_interval": {"lower": 0.4, "upper": 0.6} for name in figures}
    columns = {"age": column, "weight": column}
    plain["task"] = {"before": None, "after": {"kind": "regression", **figures, "columns": columns}}
    given = ["task.after.r2 < 0", "task.after.columns.age.mae > 5", "task.after.mae > 5", "task.after.rmse > 5"]
    rules = GateRules(gates=make_gates(given))
    found = gate_results(Report.model_validate(plain), rules)
    said = ["in standard deviations" in result.message for result in found]
    assert [result.message for result in found if result.status == "error"] == []
    assert (said, {result.status for result in found}) == ([False, False, True, False], {"pass"})
    del plain["task"]["after"]["columns"]["weight"]
    alone = gate_results(Report.model_validate(plain), rules)
    assert not any("deviations" in result.message for result in alone)
