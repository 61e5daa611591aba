"""The report as one self-contained HTML page: no network, no script, light and dark, phone and print."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from mibias_cli.report import numbers, tables, task_tables
from mibias_cli.report.illustrations import ExampleCell, Illustrations
from mibias_cli.report.plots.confusion import confusion_plot
from mibias_cli.report.plots.curves import curves_plot
from mibias_cli.report.plots.layers import layer_plot
from mibias_cli.report.plots.leakage import change_plot, group_cells, group_plot, leakage_plot
from mibias_cli.report.score import has_before, kind_of

__all__ = ["MAX_BYTES", "page_environment", "render_html"]

MAX_BYTES = 1_000_000
"""A page that people open on phones and attach to mails; what makes it larger is left out, leakage.json has it all."""
_LEVELS: tuple[dict[str, Any], ...] = (
    {"examples": True, "n_plotted": 1000, "n_lines": task_tables.MAX_LINES},
    {"examples": False, "n_plotted": 1000, "n_lines": task_tables.MAX_LINES},
    {"examples": False, "n_plotted": 8, "n_lines": 40},
    {"examples": False, "n_plotted": 2, "n_lines": 0},
)
"""Examples or not, attributes whose groups are plotted, lines in a table of cells: from all to what always fits."""


def page_environment() -> Environment:
    """Jinja as our pages need it: everything is escaped but what is marked as markup."""
    return Environment(
        loader=PackageLoader("mibias_cli.report"), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip


def render_html(report: Mapping[str, Any], illustrations: Illustrations | None = None) -> str:
    """The page.

    Everything that a user names is escaped by the template; only the plots, escaped where they are made, are not.

    Args:
        report: In the form of leakage.json.
        illustrations: What is shown beside its figures.
    """
    shown = illustrations or Illustrations()
    environment = page_environment()
    environment.filters["percent"] = numbers.format_percent
    page = environment.get_template("leakage.html.j2")
    parts = {
        "r": report,
        "backbone": report["provenance"].get("backbone"),
        "created": report["provenance"].get("created"),
        "has_before": has_before(report),
        "kind": kind_of(report),
        "has_null": any(found["after"].get("null") for found in report["attributes"].values()),
        "has_random": any(found.get("random") for found in report["attributes"].values()),
        "confidence": f"{100 * report['settings']['confidence']:g} %",
        "gates": report.get("gates") or [],
        "headline": tables.headline_table(report),
        "task": task_tables.task_table(report),
        "fidelity": tables.fidelity_table(report),
        "leakage": [_plotted(report, key, title) for key, title in _LEAKAGE if _has(report, key)],
        "leakage_tables": _whole(
            [tables.control_table, tables.channel_table, tables.probe_table, tables.other_table], report
        ),
        "change": Markup(change_plot(report, plot_id="change")),
        "layers": [p for p in _layer_plots(report) if p["plot"]],
        "layer_table": tables.layer_table(report),
        "fairness": task_tables.fairness_table(report),
        "crossings": task_tables.crossing_tables(report),
        "columns": tables.column_table(report),
        "curves": Markup(curves_plot(shown.metrics, plot_id="curves")),
    }
    groups = list(_groups(report))
    for level in _LEVELS:
        examples = list(_examples(shown.examples)) if level["examples"] else []
        cut = [_cut(group, k, report, **level) for k, group in enumerate(groups)]
        text = page.render(
            **parts, groups=cut, examples=examples,
            examples_left_out=bool(shown.examples) and not examples,
            groups_left_out=cut != groups,
        )  # fmt: skip
        if len(text.encode()) <= MAX_BYTES:
            break
    return text


def _cut(
    group: dict[str, Any], k: int, report: Mapping[str, Any], *, n_plotted: int, n_lines: int, **_: Any
) -> dict[str, Any]:
    """A group without its plots where others come first, and with a shorter table."""
    if n_lines < task_tables.MAX_LINES and group["n_cells"] > n_lines:
        group = {**group, "table": task_tables.cell_table(report, group["name"], limit=n_lines)}
    return group if k < n_plotted else {**group, "plot": "", "confusion": ""}


_LEAKAGE = (("leakage_bits", "Leakage, I(z; c)"), ("conditional_leakage_bits", "Leakage given the target, I(z; c | y)"))


def _has(report: Mapping[str, Any], key: str) -> bool:
    return any(found["after"].get(key) is not None for found in report["attributes"].values())


def _plotted(report: Mapping[str, Any], key: str, title: str) -> dict[str, Any]:
    plot = leakage_plot(report, key, plot_id=key.replace("_", "-"))
    return {"key": key, "title": title, "plot": Markup(plot)}


def _whole(makers: Sequence[Any], report: Mapping[str, Any]) -> list[tables.Table]:
    return [table for table in (make(report) for make in makers) if table]


def _layer_plots(report: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for k, name in enumerate(report["attributes"]):
        yield {"name": name, "plot": Markup(layer_plot(report, name, plot_id=f"layers-{k}"))}


def _groups(report: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Per attribute: the plots of the headline channel's cells, and a table of every cell that is not empty."""
    task = report["task"]["after"] or {"groups": []}
    for k, (name, found) in enumerate(report["attributes"].items()):
        channel = found["after"]["headline_channel"]
        rows = [row for row in task["groups"] if row["attribute"] == name and row["n"]]
        errors = task_tables.error_table(report, name)
        if not rows and not errors:
            continue
        yield {
            "name": name,
            "channel": channel if found["channels"] else "",
            "plot": Markup(group_plot(report, name, channel, plot_id=f"groups-{k}")),
            "confusion": Markup(confusion_plot(task, name, channel, plot_id=f"confusion-{k}")),
            "n_shown": len(group_cells(report, name, channel)),
            "n_counted": sum(row["counted"] for row in rows if row["channel"] == channel),
            "n_cells": len(rows),
            "table": task_tables.cell_table(report, name),
            "errors": errors,
        }


def _examples(cells: Sequence[ExampleCell]) -> Iterator[dict[str, Any]]:
    for cell in cells:
        kind = cell.media_type
        urls = [f"data:{kind};base64,{base64.b64encode(image).decode('ascii')}" for image in cell.images]
        yield {"attribute": cell.attribute, "y": cell.y, "c": cell.c, "side": cell.side, "urls": urls}
