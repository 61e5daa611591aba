"""Which warnings of training a report repeats."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from mibias_cli.cli.output import show_report
from mibias_cli.report.document import Report
from mibias_cli.report.document import make_report as report_on
from mibias_cli.report.illustrations import MetricsRecord
from mibias_cli.report.training import missed_budgets, training_warnings

Make = Callable[..., Report]


def record(what: str, attribute: str | None = None) -> MetricsRecord:
    text = f"{what}: something happened"
    said = {"what": what, "epoch": 1, "attribute": attribute, "text": text}
    return MetricsRecord.model_validate({"kind": "warning", "step": 1, "stage": "debias", **said})


def said(report: Report, *whats: str) -> list[str]:
    others = [MetricsRecord(kind="train", step=1)]
    found = training_warnings([*others, *(record(w, "colour") for w in whats)], report, "marginal")
    return [warning.what for warning in found]


def test_warnings_are_repeated_in_order(make: Make) -> None:
    whats = ["no_signal", "collapse", "chance"]
    assert said(make(before=0.8, after=0.79), *whats, "of a later version") == whats


def test_a_signal_that_was_lost_by_success_is_no_warning(make: Make) -> None:
    assert said(make(before=0.8, after=0.05), "signal_lost") == []
    assert said(make(before=0.8, after=0.79), "signal_lost") == ["signal_lost"]
    assert said(make(before=None, after=0.5), "signal_lost") == ["signal_lost"]
    # there is nothing left that a critic could have found
    assert said(make(before=0.0, after=0.0), "signal_lost") == []


def test_a_critic_that_the_penalty_left_nothing_is_no_warning(make: Make) -> None:
    assert said(make(before=0.8, after=0.05), "no_signal") == []
    for before, after in ((0.8, 0.79), (None, 0.5), (0.0, 0.0)):
        assert said(make(before=before, after=after), "no_signal") == ["no_signal"]


def test_the_terminal_repeats_them(make: Make, capsys: pytest.CaptureFixture[str]) -> None:
    report = report_on(make(), {}, metrics=[record("collapse")])
    show_report(report)
    assert "warning: Collapse: something happened." in capsys.readouterr().err
    assert report.training_warnings[0].attribute is None


@pytest.mark.parametrize(("budget", "missed"), [(0.02, True), (0.04, False), (0.06, False)])
def test_a_budget_that_was_missed_is_said(make: Make, budget: float, missed: bool) -> None:
    # by hand 0.05 bits are left, with an interval of 0.03 to 0.07: it tells only what lies below
    findings = make(after=0.05)
    assert [w.attribute for w in missed_budgets(findings, {"colour": budget, "gone": 0}, "marginal")] == (
        ["colour"] if missed else []
    )
    report = report_on(findings, {}, budget_bits={"colour": budget})
    line = f"The budget of {budget:g} bits of colour was missed: the audit finds 0.050 (0.030 to 0.070)"
    assert any(warning.startswith(line) for warning in report.warnings) == missed
