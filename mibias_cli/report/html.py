"""The report as one self-contained HTML page: no network, no script, light and dark, phone and print."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from mibias_cli.report import numbers
from mibias_cli.report.illustrations import Illustrations
from mibias_cli.report.plots import group_cells, group_plot, leakage_plot

__all__ = ["render_html"]


def render_html(report: Mapping[str, Any], illustrations: Illustrations | None = None) -> str:
    """The page.

    Everything that a user names is escaped by the template; only the plots, escaped where they are made, are not.

    Args:
        report: In the form of leakage.json.
        illustrations: What is shown beside its figures.
    """
    environment = Environment(
        loader=PackageLoader("mibias_cli.report"), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    environment.filters |= {
        "bits": numbers.format_bits,
        "interval": numbers.format_interval,
        "percent": numbers.format_percent,
        "plain": numbers.format_plain,
    }
    environment.globals |= {"percent_interval": numbers.format_percent_interval, "points": numbers.format_points}
    page = environment.get_template("leakage.html.j2")
    return page.render(
        r=report,
        backbone=report["provenance"].get("backbone"),
        created=report["provenance"].get("created"),
        has_before=report["task"]["before"] is not None,
        confidence=f"{100 * report['settings']['confidence']:g} %",
        plots={
            key: Markup(leakage_plot(report, key, plot_id=key.replace("_", "-")))
            for key in ("leakage_bits", "conditional_leakage_bits")
        },
        rows=list(_channel_rows(report)),
        groups=list(_groups(report)),
        others=list(_other_rows(report)),
    )


def _channel_rows(report: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """One row per attribute and channel for the tables of channels and probes."""
    for name, found in report["attributes"].items():
        for channel, c in (found["channels"] or {"": found}).items():
            yield {"name": f"{name}: {channel}" if channel else name, "found": c}


def _other_rows(report: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for name, found in report["attributes"].items():
        for representation, other in found["others"].items():
            yield {"name": f"{name} in {representation}", "found": other}


def _groups(report: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Per attribute: the plot of the headline channel's cells, and a table of every cell that is not empty."""
    after = report["task"]["after"]["groups"]
    before = {_cell(row): row for row in (report["task"]["before"] or {"groups": []})["groups"]}
    for k, (name, found) in enumerate(report["attributes"].items()):
        channel = found["after"]["headline_channel"]
        rows = [row for row in after if row["attribute"] == name and row["n"]]
        n_counted = sum(row["counted"] for row in rows if row["channel"] == channel)
        yield {
            "name": name,
            "channel": channel if found["channels"] else "",
            "plot": Markup(group_plot(report, name, channel, plot_id=f"groups-{k}")),
            "n_shown": len(group_cells(report, name, channel)),
            "n_counted": n_counted,
            "rows": [{"after": row, "before": before.get(_cell(row))} for row in rows],
        }


def _cell(row: Mapping[str, Any]) -> tuple[str, str, str, str]:
    return row["attribute"], row["channel"], row["y"], row["c"]
