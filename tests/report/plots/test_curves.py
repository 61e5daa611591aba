from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path

from mibias_cli.report.illustrations import MetricsRecord, read_metrics
from mibias_cli.report.plots.curves import curves_plot


def record(kind: str, step: int, **others: str | float | None) -> MetricsRecord:
    return MetricsRecord.model_validate({"kind": kind, "step": step, **others})


def records(n: int) -> list[MetricsRecord]:
    stages = [("original", 0), ("debias", n)]
    return [
        record(
            "train", start + k, stage=stage, task_loss=2.0 - k / n,
            **({"place/mi_bits": 0.1 * k, "mi_weight": 1.0} if stage == "debias" else {}),
        )
        for stage, start in stages
        for k in range(n)
    ]  # fmt: skip


def test_every_kind_of_curve_has_a_panel_and_is_said_in_words() -> None:
    validation = [record("validation", 9, stage="debias", **{"validation/accuracy": 0.5})]
    root = ET.fromstring(curves_plot([*records(5), *validation], plot_id="c"))
    said = str(root[1].text)
    assert "task loss: training from 2 to 1.2" in said
    assert "validation accuracy: accuracy from 0.5 to 0.5" in said
    assert "critic's bits of place: critic, training from 0 to 0.4" in said


def test_a_dotted_line_stands_where_debiasing_begins_and_nowhere_else() -> None:
    choice = record("choice", 10, **{"validation/leakage_given_target_bits": 0.1})
    svg = curves_plot(records(5), plot_id="c")
    # one line in each of the three panels
    assert svg.count("stroke-dasharray") == 3
    assert curves_plot([*records(5), choice], plot_id="c") == svg


def test_many_points_are_thinned() -> None:
    short, long = (len(curves_plot(records(n), plot_id="c")) for n in (500, 20_000))
    assert long < 1.5 * short


def test_nothing_recorded_is_no_plot() -> None:
    assert curves_plot([], plot_id="c") == ""
    assert curves_plot([record("train", 1, task_loss=None)], plot_id="c") == ""


def test_records_are_read_up_to_a_line_that_was_cut_short(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    assert read_metrics(path) == ()
    path.write_text("\n".join([r.model_dump_json() for r in records(3)]) + '\n{"kind": "tra')
    assert list(read_metrics(path)) == records(3)
