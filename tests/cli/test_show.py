"""The report on the terminal: before → after, in words and in a table."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from mibias_cli.cli.output import plain_table, report_rows, show_report
from mibias_cli.report.document import Report
from mibias_cli.report.task.tables import DEVIATIONS


def interval(estimate: float) -> dict[str, float]:
    return {"estimate": estimate, "lower": estimate - 0.1, "upper": estimate + 0.1}


DATA: dict[str, Any] = {
    "attributes": {
        "colour": {
            "before": {"leakage_bits": interval(2), "conditional_leakage_bits": interval(1)},
            "after": {"leakage_bits": interval(0.05), "conditional_leakage_bits": interval(-0.02)},
            "entropy_bits": 2.9,
            "target_attribute_bits": 0.01,
        }
    },
    "task": {
        "before": {"accuracy": 0.41, "balanced_accuracy": 0.4, "worst_group_accuracy": None},
        "after": {"accuracy": 0.83, "balanced_accuracy": 0.82, "worst_group_accuracy": 0.7},
    },
}


def report(**others: Any) -> Report:
    return Report.model_validate(DATA | others)


GOLDEN = """\
                                                         before                     after
task accuracy                                            41.0 %                  →  83.0 %
task balanced accuracy                                   40.0 %                  →  82.0 %
task accuracy in the worst group                         –                       →  70.0 %
colour: leakage (bits)                                   2.000 [1.900, 2.100]    →  0.050 [-0.050, 0.150]
colour: leakage given the target (bits)                  1.000 [0.900, 1.100]    →  -0.020 [-0.120, 0.080]
colour: most it could leak, H(c) (bits)                  2.900                   →  2.900
colour: what the target alone gives away, I(y;c) (bits)  0.010                   →  0.010
features: effective rank                                 –                       →  –"""


def squeezed(text: str) -> list[list[str]]:
    return [line.split() for line in text.splitlines()]


def test_the_plain_table() -> None:
    assert squeezed("\n".join(plain_table(report_rows(report())))) == squeezed(GOLDEN)
    columns = {line.index("→") for line in plain_table(report_rows(report()))[1:]}
    assert len(columns) == 1


def test_fidelity_is_shown() -> None:
    similarity = {
        "n_features_before": 16, "n_features_after": 8, "effective_rank_before": 9.0, "effective_rank_after": 1.2,
        "cka": 0.5,
    }  # fmt: skip
    shown = plain_table(report_rows(report(similarity=similarity)))
    assert shown[-2].split("  ")[0] == "features: effective rank"
    assert "9.00 of 16" in shown[-2]
    assert "1.20 of 8" in shown[-2]
    assert shown[-1].split()[-3:] == ["1.000", "→", "0.500"]
    alone = report_rows(report(similarity=similarity | {"effective_rank_before": None, "cka": None}))
    assert alone[-1][1] == "–"


def test_without_before() -> None:
    alone = report(
        attributes={"colour": {**DATA["attributes"]["colour"], "before": None}},
        task={"before": None, "after": DATA["task"]["after"]},
    )
    rows = {row[0]: row for row in report_rows(alone)}
    assert rows["task accuracy"][1:] == ("–", "83.0 %")
    assert rows["colour: leakage (bits)"][1] == "–"


def test_text_goes_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    show_report(report())
    captured = capsys.readouterr()
    assert captured.out == ""
    assert squeezed(captured.err) == squeezed(GOLDEN)


def test_a_terminal_gets_a_table(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "140")
    show_report(report())
    captured = capsys.readouterr()
    assert captured.out == ""
    for text in ("before", "after", "task accuracy", "83.0 %", "-0.020 [-0.120, 0.080]"):
        assert text in captured.err


def test_the_verdict_in_words_stands_above_the_figures(capsys: pytest.CaptureFixture[str]) -> None:
    said = "Leakage of colour fell " + "and fell " * 20 + "to nothing."
    show_report(report(verdict={"summary": ["What was asked for: less of \x1b[31mcolour.", said]}))
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "What was asked for: less of \\u001b[31mcolour."
    top = lines.index(next(line for line in lines if line.startswith("task accuracy")))
    # broken between words, the rest of a sentence set in
    assert " ".join(line.strip() for line in lines[1 : top - 1]) == said
    assert all(len(line) <= 100 for line in lines[: top - 1])
    assert lines[2].startswith("  ")


@pytest.mark.parametrize("is_in_report", [True, False])
def test_what_training_warned_of_and_the_audit_refutes_is_taken_back(
    capsys: pytest.CaptureFixture[str], is_in_report: bool
) -> None:
    text = "the penalty had no signal: on held-out rows the critic of 'colour' finds nothing (epochs 1 and 2). Wait"
    warning = {"what": "no_signal", "stage": "debias", "epoch": 1, "attribute": "colour", "text": text}
    told = report(training_warnings=[warning] if is_in_report else [])
    show_report(told, [f"debias: {text}", "debias: another"])
    err = " ".join(capsys.readouterr().err.split())
    taken_back = (
        f"note: less is left than before, so the penalty worked, though training warned of this: debias: {text}"
    )
    assert (taken_back in err) == (not is_in_report)
    assert "another" not in err


def test_errors_over_several_columns_have_the_pages_words() -> None:
    column = {"r2": 0.5, "mae": 2.0, "rmse": 2.0, "worst_group_mae": None, "unit": 4.0}
    errors = {"kind": "regression", "r2": 0.5, "mae": 0.5, "rmse": 0.5, "columns": {"age": column, "height": column}}
    rows = [row[0] for row in report_rows(report(task={"before": None, "after": errors}))]
    assert f"task mean absolute error{DEVIATIONS}" in rows
    assert DEVIATIONS == ", in standard deviations"
    one = report_rows(report(task={"before": None, "after": errors | {"columns": {"age": column}}}))
    assert "task mean absolute error" in [row[0] for row in one]
