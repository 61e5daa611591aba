from __future__ import annotations

from collections.abc import Callable

from mibias_cli.report.document import Report
from mibias_cli.report.markdown import leakage_table, markdown_table, render_markdown
from mibias_cli.report.task.tables import task_table


def test_the_leakage_table(make: Callable[..., Report]) -> None:
    assert markdown_table(leakage_table(make())).splitlines() == [
        "| Leakage, bits | Before (95 % interval) | After (95 % interval) | Probe | H(c) | I(y;c) |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
        "| colour | 0.800 (0.780 to 0.820) | 0.050 (0.030 to 0.070) | gradient\\_boosting | 2.000 | 0.123 |",
        "| colour, given the target | 0.400 (0.380 to 0.420) | 0.025 (0.005 to 0.045) | logistic | 2.000 | – |",
    ]


def test_without_before_there_is_a_dash(make: Callable[..., Report]) -> None:
    data = make(before=None)
    assert markdown_table(leakage_table(data)).splitlines()[2].startswith("| colour | – | 0.050")
    assert "| Accuracy (plain average) | 90.0" in markdown_table(task_table(data))
    render_markdown(data)


def test_names_neither_break_the_table_nor_bring_markup(make: Callable[..., Report]) -> None:
    text = render_markdown(make(name="a|b\n<script>*x*", channels=("[c](d)", "e")))
    assert "a\\|b &lt;script&gt;\\*x\\*" in text
    assert "<script>" not in text
    assert "[c](d)" not in text
    tables = [line for line in text.splitlines() if line.startswith("|")]
    assert all(line.endswith("|") for line in tables)
