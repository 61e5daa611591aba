from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Callable

import matplotlib

from mibias_cli.report.document import Report
from mibias_cli.report.plots.leakage import MAX_CELLS, group_cells, group_plot, leakage_plot


def test_plots_are_valid_svg_with_a_title_and_the_figures_in_words(make: Callable[..., Report]) -> None:
    svg = leakage_plot(make(), "marginal", plot_id="p")
    root = ET.fromstring(svg)
    assert root.tag.endswith("svg")
    assert root[0].text == "Leakage in bits"
    assert "colour: red: before 0.800, after 0.050 of 2.000" in str(root[1].text)
    assert not re.search(r"<metadata|<dc:date", svg)


def test_colours_are_the_pages(make: Callable[..., Report]) -> None:
    svg = leakage_plot(make(), "conditional", plot_id="p")
    for variable in ("--ink", "--muted", "--before", "--after", "--rule"):
        assert f"var({variable})" in svg
    assert not re.search(r"#(?:[0-9a-f]{6})\b", svg)


def test_plots_are_the_same_each_time_and_leave_matplotlib_as_it_was(make: Callable[..., Report]) -> None:
    settings = dict(matplotlib.rcParams)
    report = make()
    first, again = (group_plot(report, "colour", "red", plot_id="p") for _ in range(2))
    assert first == again
    assert dict(matplotlib.rcParams) == settings


def test_bars_start_at_zero_and_end_at_the_estimate(make: Callable[..., Report]) -> None:
    """The widths of the bars stand in the ratio of the estimates."""
    svg = leakage_plot(make(channels=("colour",), before=0.8, after=0.2), "marginal", plot_id="p")
    widths = {}
    for variable in ("--before", "--after"):
        path = re.search(rf'<path d="([^"]*)"[^>]*style="fill: var\({variable}\)', svg)
        assert path is not None
        xs = [float(x) for x in re.findall(r"[ML] (-?[\d.]+) ", path.group(1))]
        widths[variable] = max(xs) - min(xs)
    assert abs(widths["--before"] / widths["--after"] - 4) < 0.01


def test_of_many_cells_the_lowest_are_drawn(make: Callable[..., Report]) -> None:
    report = make(channels=("colour",))
    row = report.task.after.groups[0]
    many = tuple(row.model_copy(update={"c": f"bin {k}", "accuracy": k / 100}) for k in range(60))
    sides = report.task.model_copy(update={"after": report.task.after.model_copy(update={"groups": many})})
    data = report.model_copy(update={"task": sides})
    cells = group_cells(data, "colour", "colour")
    assert [after.c for after, _ in cells] == [f"bin {k}" for k in range(MAX_CELLS)]
    assert "bin 23" in group_plot(data, "colour", "colour", plot_id="p")
