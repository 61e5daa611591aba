"""The accuracy–leakage frontier of several runs: a dot per run, a mark per group of seeds, a line along the best."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from matplotlib.axes import Axes

from mibias_cli.report.plots.svg import AFTER, BEFORE, INK, MUTED, PAPER, RULE, new_figure, to_svg

__all__ = ["frontier_plot", "score_name"]


def frontier_plot(comparison: Mapping[str, Any], attribute: str, *, plot_id: str) -> str:
    """Task accuracy over leakage of one attribute, as inline SVG.

    Runs are small dots; a group of runs that differ in seeds alone is its number, at their mean, with bars from the
    least to the greatest (for one run: its intervals). Originals (before) are hollow squares. Groups that no other
    beats are joined by a line; collapsed ones are crossed and on no frontier.

    Args:
        comparison: As `compare_reports` gives it.
        attribute: Whose leakage.
        plot_id: Prefix of every id in the SVG.
    """
    figure, (axes,) = new_figure(1, 3.4)
    axes.grid(axis="y", color=RULE, linewidth=0.6)
    runs = [run for run in comparison["runs"] if attribute in run["attributes"]]
    for run in runs:
        _run(axes, run, attribute)
    groups = [group for group in comparison["groups"] if attribute in group["attributes"] and group["score"]]
    best = sorted(_point(group, attribute) for group in groups if group["attributes"][attribute].get("on_frontier"))
    axes.plot([x for x, _ in best], [100 * y for _, y in best], color=INK, linewidth=1.2, linestyle="--", zorder=2)
    for group in groups:
        _group(axes, group, attribute, runs)
    axes.set_xlabel(f"leakage of {attribute}, bits")
    axes.set_ylabel(f"{score_name(comparison)}, per cent")
    axes.margins(0.08)
    said = "; ".join(f"{group['number']}, {group['name']}: {_said(group, attribute)}" for group in groups)
    return to_svg(figure, plot_id, f"Accuracy and leakage of {attribute}", said or "no runs")


def score_name(comparison: Mapping[str, Any]) -> str:
    """What the runs' task is told by, all names where runs differ."""
    scores = [run["score"]["after"] for run in comparison["runs"]]
    return " or ".join(dict.fromkeys(score["name"] for score in scores if score is not None)) or "task accuracy"


def _point(group: Mapping[str, Any], attribute: str) -> tuple[float, float]:
    return group["attributes"][attribute]["leakage_bits"]["mean"], group["score"]["mean"]


def _said(group: Mapping[str, Any], attribute: str) -> str:
    leakage, accuracy = _point(group, attribute)
    best = ", on the frontier" if group["attributes"][attribute].get("on_frontier") else ""
    return f"{leakage:.3f} bits at {100 * accuracy:.1f} per cent{best}"


def _run(axes: Axes, run: Mapping[str, Any], attribute: str) -> None:
    for side, colour, marker, size in (("before", BEFORE, "s", 4.5), ("after", AFTER, "o", 3.0)):
        found, score = run["attributes"][attribute][side], run["score"][side]
        if found is not None and score is not None and score["estimate"] is not None:
            x, y = found["leakage_bits"]["estimate"], 100 * score["estimate"]
            face = "none" if side == "before" else colour
            axes.plot([x], [y], marker=marker, markersize=size, color=colour, markerfacecolor=face, linestyle="none")


def _group(axes: Axes, group: Mapping[str, Any], attribute: str, runs: list[Mapping[str, Any]]) -> None:
    (left, right), (low, high) = _bars(group, attribute, runs)
    x, y = _point(group, attribute)
    colour = MUTED if group["collapsed"] else AFTER
    axes.plot([left, right], [100 * y, 100 * y], color=colour, linewidth=1.0, zorder=3)
    axes.plot([x, x], [100 * low, 100 * high], color=colour, linewidth=1.0, zorder=3)
    axes.plot([x], [100 * y], marker="o", markersize=13, color=colour, zorder=4, linestyle="none")
    axes.text(x, 100 * y, str(group["number"]), color=PAPER, fontsize=8, ha="center", va="center", zorder=5)
    if group["collapsed"]:
        axes.plot([x], [100 * y], marker="x", markersize=18, color=INK, zorder=6, linestyle="none")


def _bars(
    group: Mapping[str, Any], attribute: str, runs: list[Mapping[str, Any]]
) -> tuple[tuple[float, float], tuple[float, float]]:
    """From the least to the greatest of the group's runs, or the interval of its only run."""
    leakage, accuracy = group["attributes"][attribute]["leakage_bits"], group["score"]
    if len(group["runs"]) > 1:
        return (leakage["min"], leakage["max"]), (accuracy["min"], accuracy["max"])
    run = next(run for run in runs if run["name"] == group["runs"][0])
    x, y = run["attributes"][attribute]["after"]["leakage_bits"], run["score"]["after"]
    y_low = y["estimate"] if y["lower"] is None else y["lower"]
    y_high = y["estimate"] if y["upper"] is None else y["upper"]
    return (x["lower"], x["upper"]), (y_low, y_high)
