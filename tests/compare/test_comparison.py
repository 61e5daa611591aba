from __future__ import annotations

import json
import re
import statistics
import xml.etree.ElementTree as ET
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
import pytest
from html_pages import check_page

from mibias_cli.compare.choice import frontier_members
from mibias_cli.compare.comparison import compare_reports
from mibias_cli.compare.frontier import frontier_plot
from mibias_cli.compare.page import frontier_plots, render_comparison, write_comparison
from mibias_cli.compare.records import ComparedRun
from mibias_cli.compare.tables import group_table, head_table, run_table
from mibias_cli.errors import RunError
from mibias_cli.evaluation.leakage_findings import Bounds
from mibias_cli.evaluation.task_findings import FairnessFindings, FairnessSides, HeadFindings
from mibias_cli.report.document import GateResult, Report

Make = Callable[..., Report]


def runs(make: Make) -> list[ComparedRun]:
    figures = {(0, 0): (0.8, 0.9), (0, 1): (0.6, 0.8), (1, 0): (0.1, 0.86), (1, 1): (0.2, 0.82), (2, 0): (0.3, 0.7)}
    return [
        ComparedRun(
            name=f"w{weight}s{seed}",
            report=make(after=leakage, accuracies=(0.7, accuracy)),
            settings={"debias.weight": weight, "seed": seed, "training.epochs": 3},
        )
        for (weight, seed), (leakage, accuracy) in figures.items()
    ]


def test_runs_that_differ_in_seeds_alone_are_one_group_with_its_spread(make: Make) -> None:
    found = compare_reports(runs(make))
    assert found.varied == ("debias.weight", "seed")
    assert [group.runs for group in found.groups] == [("w0s0", "w0s1"), ("w1s0", "w1s1"), ("w2s0",)]
    first = found.groups[0]
    assert first.name == "debias.weight=0"
    spread = first.attributes["colour"].leakage_bits
    assert spread is not None
    assert spread.model_dump() == pytest.approx(
        {"mean": 0.7, "sd": statistics.stdev([0.8, 0.6]), "min": 0.6, "max": 0.8, "n": 2, "interval": None}
    )
    assert spread.bounds == (0.6, 0.8)
    single = found.groups[2].attributes["colour"].leakage_bits
    assert single is not None
    assert single.bounds == pytest.approx((0.28, 0.32))  # the interval of its audit
    assert found.groups[2].accuracy.sd is None
    # of means: 0.7 bits at 85 %, 0.15 at 84 %, 0.3 at 70 %
    assert [group.attributes["colour"].on_frontier for group in found.groups] == [True, True, False]
    json.loads(found.to_json())


def test_the_frontier_is_what_no_point_beats() -> None:
    rng = np.random.default_rng(0)
    points: list[tuple[float, float] | None] = [
        tuple(p) for p in rng.integers(0, 6, (60, 2)).astype(float)
    ]  # ties, too
    points[7] = None
    members = frontier_members(points)
    for k, point in enumerate(points):
        beaten = point is None or any(
            other is not None and (
                (other[0] < point[0] and other[1] >= point[1]) or (other[0] <= point[0] and other[1] > point[1])
            )
            for other in points
        )  # fmt: skip
        assert members[k] is not beaten


def test_a_collapsed_run_is_on_no_frontier_and_is_named(make: Make) -> None:
    dead = ComparedRun(name="dead", report=make(after=0.0, ranks=(9.0, 0.0)))
    live = ComparedRun(name="live", report=make(after=0.5))
    found = compare_reports([dead, live])
    assert [g.attributes["colour"].on_frontier for g in found.groups] == [False, True]
    assert any("Collapsed" in note and "dead" in note for note in found.notes)


def test_runs_without_settings_of_their_own_are_not_thrown_together(make: Make) -> None:
    found = compare_reports([ComparedRun(name=name, report=make()) for name in ("a", "b")])
    assert [group.name for group in found.groups] == ["a", "b"]
    assert found.varied == ()


def gaining(make: Make, name: str, gain: float | None, weight: float, leaks: float = 0.0, **others: Any) -> ComparedRun:
    report = make(**others)
    return ComparedRun(
        name=name, report=report, settings={"debias.weight": weight, "seed": 0}, gain_over_bias_bits=gain,
        leakage_given_target_bits=leaks,
    )  # fmt: skip


def test_validation_data_choose_the_highest_net_gain_that_is_no_collapse_and_passes_its_gates(make: Make) -> None:
    runs = [gaining(make, "a", 0.2, 0), gaining(make, "b", 0.31, 1), gaining(make, "c", 0.4, 2, ranks=(9.0, 0.0))]
    barred = gaining(make, "d", 0.5, 3)
    failed = GateResult(
        status="fail", inconclusive="fail", expression="x", source="recipe", figure=None, threshold=0, message=""
    )
    barred = replace(barred, report=barred.report.model_copy(update={"gates": (failed,)}))
    found = compare_reports([*runs, barred])
    assert [group.gain_over_bias_bits.mean for group in found.groups if group.gain_over_bias_bits] == [
        0.2,
        0.31,
        0.4,
        0.5,
    ]
    assert found.chosen == 2
    note = "Chosen without unbiased data: 2: debias.weight=1, which tells 0.310 bits of the target beyond the"
    assert any(text.startswith(note) and "1 with failed gates left out" in text for text in found.notes)
    table = group_table(found)
    assert table.header[-1] == "Net gain, bits"
    assert [line.cells[-1].text for line in table.lines] == ["0.200", "0.310 ◆", "0.400", "0.500"]
    assert "◆: chosen by it, without unbiased data" in table.caption
    assert "Gain over bias" in run_table(found).header
    assert "Leakage given target 0.000" in run_table(found).caption


def test_what_is_told_of_the_bias_counts_against_what_is_told_of_the_target(make: Make) -> None:
    """The first gains most and leaks most; the last leaks nothing, for it tells nothing. On the audit all are alike."""
    figures = [(0.31, 0.40), (0.30, 0.05), (0.28, 0.06), (0.01, 0.0)]
    runs = [gaining(make, f"r{k}", gain, k, leaks) for k, (gain, leaks) in enumerate(figures)]
    found = compare_reports(runs)
    assert found.chosen == 2
    assert [group.net_gain_bits.mean for group in found.groups if group.net_gain_bits] == pytest.approx(
        [-0.09, 0.25, 0.22, 0.01]
    )
    assert any("0.300 bits of the target" in note and "0.050 bits of the attributes" in note for note in found.notes)


def test_what_is_within_a_standard_error_of_the_choice_is_said_to_be_as_good(make: Make) -> None:
    """Over seeds by their spread, over validation rows by the gain's own error, whichever is larger."""

    def pair(weight: float, gains: tuple[float, float], error: float) -> list[ComparedRun]:
        found = [gaining(make, f"{weight}-{k}", gain, weight) for k, gain in enumerate(gains)]
        return [
            replace(run, gain_error_bits=error, settings={**run.settings, "seed": k}) for k, run in enumerate(found)
        ]

    close, far = pair(1, (0.27, 0.28), 0.0), pair(2, (0.1, 0.12), 0.0)
    # seeds: standard deviation 0.0566 of two, standard error 0.04
    found = compare_reports([*pair(0, (0.26, 0.34), 0.01), *close, *far])
    assert (found.chosen, found.as_good) == (1, (2,))
    assert found.groups[0].net_gain_error_bits == pytest.approx(0.04)
    assert any("cannot tell it from 2: debias.weight=1: " in note and "(0.040 bits)" in note for note in found.notes)
    assert [line.cells[-1].text for line in group_table(found).lines] == ["0.300 ◆", "0.275 ◇", "0.110"]
    rows = compare_reports([*pair(0, (0.3, 0.3), 0.01), *close, *far])
    assert rows.as_good == ()
    assert not any("cannot tell" in note for note in rows.notes)
    rows = compare_reports([*pair(0, (0.3, 0.3), 0.5), *close, *far])
    assert rows.as_good == (2, 3)


def test_nothing_is_chosen_where_there_is_nothing_to_choose_by(make: Make) -> None:
    for runs in ([gaining(make, "a", 0.2, 0)], [gaining(make, "a", 0.2, 0), gaining(make, "b", None, 1)]):
        found = compare_reports(runs)
        assert found.chosen is None
        assert not any("Chosen" in note for note in found.notes)
    without = compare_reports([gaining(make, "a", None, 0), gaining(make, "b", None, 1)])
    assert not any("gain" in heading.lower() for heading in (*group_table(without).header, *run_table(without).header))


def with_data(make: Make, name: str, data: str, seed: int) -> ComparedRun:
    report = make().model_copy(update={"provenance": {"data_sha256": data}})
    return ComparedRun(name=name, report=report, settings={"seed": seed})


def test_other_data_are_noted(make: Make) -> None:
    other = compare_reports([with_data(make, "a", "1", 0), with_data(make, "b", "2", 0)]).notes
    assert len(other) == 1
    assert other[0].startswith("The runs were not audited on the same data: their figures differ for that reason, too")
    drawn = compare_reports([with_data(make, "a", "1", 0), with_data(make, "b", "2", 1)]).notes
    assert drawn == ("Each seed draws the audited samples anew: the spread over seeds holds that, too.",)
    assert compare_reports([with_data(make, "a", "1", 0), with_data(make, "b", "1", 1)]).notes == ()


def test_nothing_is_chosen_and_nobody_is_on_a_frontier_across_different_data(make: Make) -> None:
    runs = [gaining(make, "a", 0.2, 0), gaining(make, "b", 0.3, 1)]
    assert compare_reports(runs).chosen == 2
    other = [
        replace(run, report=run.report.model_copy(update={"provenance": {"data_sha256": run.name}})) for run in runs
    ]
    found = compare_reports(other)
    assert (found.same_data, found.chosen) == (False, None)
    assert not any(group.attributes["colour"].on_frontier for group in found.groups)
    page = render_comparison(found)
    assert not any(mark in page for mark in ("★", "◆", "on the frontier", "Chosen"))


def fairness(parity: float, odds: float) -> FairnessSides:
    def side(shift: float) -> FairnessFindings:
        return FairnessFindings(
            positive_class="dog", groups_left_out=(), demographic_parity_difference=parity + shift,
            demographic_parity_ratio=None, equal_opportunity_difference=None, equal_opportunity_ratio=None,
            equalized_odds_difference=odds + shift, equalized_odds_ratio=None, bias_amplification=None,
            demographic_parity_difference_interval=Bounds(lower=parity + shift - 0.05, upper=parity + shift + 0.05),
        )  # fmt: skip

    return FairnessSides(before=side(0.3), after=side(0.0))


def with_parity(report: Report, parity: float, odds: float) -> Report:
    return report.model_copy(update={"fairness": {"colour": fairness(parity, odds)}})


def test_parity_and_the_worst_group_are_columns_and_axes(make: Make) -> None:
    parities = [0.1, 0.3, 0.2]
    runs = [
        ComparedRun(
            name=f"r{k}", settings={"debias.weight": k // 2, "seed": k},
            report=with_parity(make(after=0.5 - k / 10), parity, parity / 2),
        )
        for k, parity in enumerate(parities)
    ]  # fmt: skip
    found = compare_reports(runs)
    of_group = found.groups[0].attributes["colour"]
    assert of_group.demographic_parity_difference is not None
    assert of_group.equalized_odds_difference is not None
    assert of_group.demographic_parity_difference.mean == pytest.approx(0.2)
    assert of_group.equalized_odds_difference.mean == pytest.approx(0.1)
    table = group_table(found)
    column = table.header.index("Parity difference by colour")
    assert [line.cells[column].text for line in table.lines] == ["0.200", "0.200"]
    assert [line.cells[column].small for line in table.lines] == ["± 0.141", "0.150 to 0.250"]
    assert "Worst group" in table.header
    planes = {plane.key: svg for _, plane, svg in frontier_plots(found)}
    assert list(planes) == ["frontier", "worst-group", "parity"]
    assert "1: 0: 0.200 at 90.0\u00a0%, on the frontier" in planes["parity"]


def test_columns_are_for_what_differs(make: Make) -> None:
    reports = [make(before=0.8, after=after, cka=cka) for after, cka in ((0.4, 0.5), (0.2, 0.7))]
    table = run_table(compare_reports([ComparedRun(name=f"r{k}", report=report) for k, report in enumerate(reports)]))
    assert "CKA" in table.header
    assert "colour, after" in table.header
    # both have one original, and no gates were given
    assert not {"colour, before", "Rank", "Gates", "Gain over bias"} & set(table.header)
    assert "The same in all: Accuracy, before 70.0\u00a0%" in table.caption
    assert "Rank 8.00" in table.caption


def test_whose_accuracy_it_is_is_said_where_trained_heads_have_one_of_their_own(make: Make) -> None:
    given = runs(make)
    assert "Accuracy" in group_table(compare_reports(given)).header
    own = [
        replace(run, report=run.report.model_copy(update={"head": HeadFindings(task=run.report.task)})) for run in given
    ]
    found = compare_reports(own)
    assert "Accuracy (refitted head)" in group_table(found).header
    assert "Accuracy (refitted head), after" in run_table(found).header
    assert head_table(found).title == "Trained heads"


def test_the_page_leads_to_the_runs_own_reports_by_relative_addresses(make: Make, tmp_path: Path) -> None:
    place = tmp_path / "sweep" / "method=mi,seed=0 #1" / "report" / "leakage.html"
    runs = [ComparedRun(name="a", report=make(), page=place), ComparedRun(name="b", report=make())]
    page = write_comparison(tmp_path / "out", compare_reports(runs)).read_text(encoding="utf-8")
    links = re.findall(r'<a href="([^"]*)">', page)
    assert links == ["../sweep/method%3Dmi%2Cseed%3D0%20%231/report/leakage.html"]
    assert ((tmp_path / "out") / unquote(links[0])).resolve() == place
    assert str(tmp_path) not in page


@pytest.mark.parametrize("options", [{}, {"before": None}, {"cka": None}])
def test_page_and_files(make: Make, options: dict[str, Any], tmp_path: Path) -> None:
    name = "skin <b>tone</b>/x"
    reports = [make(name=name, after=leakage, **options) for leakage in (0.5, 0.1)]
    found = compare_reports([ComparedRun(name=f"<r{k}>", report=r) for k, r in enumerate(reports)])
    page = render_comparison(found)
    assert "<b>tone" not in page
    assert "<r0>" not in page
    assert "script" not in page
    check_page(page)
    write_comparison(tmp_path, found)
    write_comparison(tmp_path, found)
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "compare.html", "compare.json", "frontier-skin_b_tone_b_x.svg", "worst-group-skin_b_tone_b_x.svg",
    ]  # fmt: skip
    # what a kill leaves is written over, too
    (tmp_path / "compare.html").unlink()
    write_comparison(tmp_path, found)
    svg = ET.parse(tmp_path / "frontier-skin_b_tone_b_x.svg").getroot()
    assert svg.tag.endswith("svg")
    assert (tmp_path / "compare.json").read_text() == found.to_json()
    for table in (group_table(found), run_table(found)):
        assert all(len(line.cells) == len(table.header) for line in table.lines)


@pytest.mark.parametrize("name", ["compare.html", "compare.json", "frontier-sex.svg", "parity-my plot.svg"])
def test_what_is_no_comparison_is_not_written_over(make: Make, name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text('{"notes": "mine"}')
    with pytest.raises(RunError, match=f"{name} would be written over, and may be your own; choose another"):
        write_comparison(tmp_path, compare_reports([ComparedRun(name="a", report=make())]))
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [(name, '{"notes": "mine"}')]


def test_the_plot_says_its_figures_in_words(make: Make) -> None:
    svg = frontier_plot(compare_reports(runs(make)), "colour", plot_id="p")
    assert "1: 0: 0.700 at 85.0\u00a0%, on the frontier" in str(ET.fromstring(svg)[1].text)
    assert svg == frontier_plot(compare_reports(runs(make)), "colour", plot_id="p")
